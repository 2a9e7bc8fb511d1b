/** The files of a report: `report.json` for programs, `junit.xml` for CI, `index.html` for people. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { htmlReport } from './html.ts';
import { junitXml } from './junit.ts';
import type { Report } from './report.ts';

const FILE = 'report.json';

/** Writes all of them into a directory that exists. */
export async function writeReportFiles(directory: string, report: Report): Promise<void> {
  await writeFile(join(directory, FILE), `${JSON.stringify(report, undefined, 2)}\n`);
  await writeFile(join(directory, 'junit.xml'), junitXml(report));
  await writeFile(join(directory, 'index.html'), htmlReport(report));
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`${file} is no JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** Reads a report back, by the path of its file or of its directory; throws an Error for anything else. */
export async function readReport(path: string): Promise<Report> {
  const isDirectory = (await stat(path)).isDirectory();
  const file = isDirectory ? join(path, FILE) : path;
  const value: unknown = parseJson(await readFile(file, 'utf8'), file);
  const report = value as Partial<Report> | null;
  const isReport = Array.isArray(report?.contracts) && Array.isArray(report.canaries) && report.summary;
  if (!isReport) throw new Error(`${path} is not a report of a conformance run`);
  return report as Report;
}
