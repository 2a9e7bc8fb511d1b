/** A run as JUnit XML, which CI systems read: a suite per target, a test case per contract, canaries as a suite. */

import { escapeXml } from './escape.ts';
import type { ContractReport, ContractResult, Report } from './report.ts';

/** The text of `junit.xml`. */
export function junitXml(report: Report): string {
  const targets = Object.keys(report.summary.targets);
  const suites = [
    ...targets.map((target) => targetSuite(report, target)),
    canarySuite(report),
    gateSuite(report),
  ];
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="mockvirt conformance">\n${suites.join('')}</testsuites>\n`;
}

interface TestCase {
  readonly name: string;
  readonly classname: string;
  readonly seconds: number;
  readonly inner: string;
}

function targetSuite({ contracts }: Report, target: string): string {
  const cases = contracts.flatMap((contract) => {
    const result = contract.results[target];
    return result ? [contractCase(contract, result, target)] : [];
  });
  return suite(target, cases);
}

function contractCase({ id, title }: ContractReport, result: ContractResult, target: string): TestCase {
  return { name: `${id}: ${title}`, classname: target, seconds: result.ms / 1000, inner: outcome(result) };
}

function outcome({ status, reason = '', failure, deviation }: ContractResult): string {
  if (status === 'pass') return '';
  if (status === 'skip') return `<skipped message="${escapeXml(reason)}"/>`;
  if (deviation !== undefined) return `<skipped message="${escapeXml(`known failure: ${deviation}`)}"/>`;
  const replay = failure?.replay === undefined ? '' : `\nreplay: ${failure.replay}`;
  return `<failure message="${escapeXml(failure?.message ?? reason)}">${escapeXml(reason + replay)}</failure>`;
}

function canarySuite({ canaries }: Report): string {
  return suite(
    'canaries',
    canaries.map(({ id, contract, caught }) => ({
      name: id,
      classname: 'canaries',
      seconds: 0,
      inner: caught ? '' : `<failure message="${escapeXml(`${contract} did not fail`)}"/>`,
    })),
  );
}

function gateSuite({ gate = [] }: Report): string {
  return suite(
    'baseline',
    gate.map((finding) => ({
      name: finding,
      classname: 'baseline',
      seconds: 0,
      inner: `<failure message="${escapeXml(finding)}"/>`,
    })),
  );
}

function suite(name: string, cases: readonly TestCase[]): string {
  if (cases.length === 0) return '';
  const count = (element: string) => cases.filter(({ inner }) => inner.startsWith(`<${element}`)).length;
  const seconds = cases.reduce((sum, each) => sum + each.seconds, 0);
  const lines = cases.map(
    ({ name: text, classname, seconds: time, inner }) =>
      `    <testcase name="${escapeXml(text)}" classname="${escapeXml(classname)}" time="${time.toFixed(3)}">${inner}</testcase>\n`,
  );
  const head =
    `name="${escapeXml(name)}" tests="${cases.length}" failures="${count('failure')}" ` +
    `skipped="${count('skipped')}" time="${seconds.toFixed(3)}"`;
  return `  <testsuite ${head}>\n${lines.join('')}  </testsuite>\n`;
}
