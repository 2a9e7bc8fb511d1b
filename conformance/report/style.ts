/** The look of `index.html`: light and dark, without any file besides the page. */

/** A style sheet. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1c2024; --soft: #60646c; --line: #e4e4e1; --wash: #f3f3f0;
  --pass: #18794e; --pass-wash: #e7f5ec; --fail: #c62a2f; --fail-wash: #fdeeee; --skip: #7c7f86; --skip-wash: #f1f1ef;
  --known: #ad5700; --known-wash: #fff3e0; --one: #2563c9; --two: #c2571a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131416; --card: #1b1d20; --ink: #eceef0; --soft: #9ba1a9; --line: #2e3136; --wash: #23262a;
    --pass: #4cc38a; --pass-wash: #14291f; --fail: #ff7b80; --fail-wash: #361a1c; --skip: #8b9098; --skip-wash: #24272b;
    --known: #f1a10d; --known-wash: #32230a; --one: #74a9ff; --two: #ff9a5c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 32px 24px 80px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 44px 0 12px; }
h3 { font-size: 16px; margin: 0 0 4px; }
h4 { font-size: 13px; margin: 20px 0 6px; color: var(--soft); font-weight: 600; }
p { margin: 4px 0; overflow-wrap: anywhere; }
h3, li, .pill { overflow-wrap: anywhere; white-space: normal; }
a { color: inherit; text-decoration-color: var(--line); text-underline-offset: 3px; }
a:hover { text-decoration-color: currentColor; }
code, pre, .mono { font: 12.5px/1.5 ui-monospace, 'DejaVu Sans Mono', monospace; }
pre { margin: 0; padding: 10px 12px; background: var(--wash); border-radius: 8px; white-space: pre-wrap; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.head { display: flex; gap: 14px; align-items: center; flex-wrap: wrap; }
.pill { display: inline-block; padding: 1px 10px; border-radius: 99px; font-size: 13px; font-weight: 600; }
.pass { color: var(--pass); background: var(--pass-wash); }
.fail { color: var(--fail); background: var(--fail-wash); }
.skip { color: var(--skip); background: var(--skip-wash); }
.known { color: var(--known); background: var(--known-wash); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 10px; margin: 22px 0 6px; padding: 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 12px 16px; }
.tile dt { color: var(--soft); font-size: 13px; }
.tile dd { margin: 0; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile.bad dd { color: var(--fail); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; margin: 0 0 16px; }
.card.failure { border-left: 4px solid var(--fail); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
.matrix th, .matrix td { padding: 5px 12px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
.matrix tr:last-child td { border-bottom: 0; }
.matrix thead th { position: sticky; top: 0; background: var(--card); font-size: 13px; color: var(--soft); z-index: 1; }
.matrix tbody th { padding-top: 16px; font-size: 13px; color: var(--soft); }
.matrix .what { min-width: 180px; overflow-wrap: anywhere; }
.matrix .what p { font-size: 13px; color: var(--soft); margin: 0; }
.matrix .cell { white-space: nowrap; font-variant-numeric: tabular-nums; }
.matrix .cell small { color: var(--soft); margin-left: 6px; font-size: 12px; }
.filter { display: flex; gap: 4px; margin: 0 0 10px; }
.filter input { position: absolute; opacity: 0; }
.filter label { padding: 3px 12px; border-radius: 99px; border: 1px solid var(--line); cursor: pointer; font-size: 13px; }
.filter input:checked + label { background: var(--ink); color: var(--paper); border-color: var(--ink); }
.filter input:focus-visible + label { outline: 2px solid var(--one); outline-offset: 2px; }
body:has(#only-fail:checked) .matrix tbody tr:not(.has-fail):not(.group) { display: none; }
body:has(#only-skip:checked) .matrix tbody tr:not(.has-skip):not(.group) { display: none; }
.timeline { table-layout: fixed; font: 12px/1.45 ui-monospace, 'DejaVu Sans Mono', monospace; min-width: 720px; }
.timeline th { text-align: left; padding: 4px 8px; color: var(--soft); font-weight: 600; }
.timeline td { padding: 2px 8px; vertical-align: top; overflow-wrap: anywhere; border-left: 2px solid transparent; }
.timeline td.time { color: var(--soft); text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.timeline col.time { width: 84px; }
.timeline .command { border-left-color: var(--one); }
.timeline .event { border-left-color: var(--known); }
.timeline .error { border-left-color: var(--fail); }
.timeline .reply { border-left-color: var(--line); }
.timeline .gap { background: repeating-linear-gradient(-45deg, transparent 0 5px, var(--wash) 5px 10px); }
.timeline .only { background: var(--wash); }
.timeline .differs td { background: var(--fail-wash); }
.timeline .mark td { color: var(--fail); font-weight: 700; padding-top: 8px; font-family: system-ui, 'DejaVu Sans', sans-serif; }
.timeline .rest { color: var(--soft); }
.legend { display: flex; gap: 16px; flex-wrap: wrap; font-size: 12px; color: var(--soft); margin: 4px 0; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
.legend .command i, .legend .one i { background: var(--one); }
.legend .reply i { background: var(--line); }
.legend .event i { background: var(--known); }
.legend .error i { background: var(--fail); }
.legend .two i { background: var(--two); }
details > summary { cursor: pointer; color: var(--soft); font-size: 13px; padding: 4px 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 14px; }
.plots .card { margin: 0; padding: 14px 16px; }
figure { margin: 0; }
.plot { max-width: 680px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 11px system-ui, 'DejaVu Sans', sans-serif; }
svg .axis { stroke: var(--line); fill: none; }
svg .one { stroke: var(--one); } svg .two { stroke: var(--two); stroke-dasharray: 5 4; }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .area { fill: var(--one); opacity: 0.1; stroke: none; }
.canaries { display: flex; flex-wrap: wrap; gap: 6px; list-style: none; padding: 0; margin: 0; }
.gate li { margin: 4px 0; }
@media (max-width: 720px) {
  main { padding: 20px 12px 60px; }
  .card { padding: 12px; overflow-x: auto; }
  .plots { grid-template-columns: 1fr; }
}
@media print { .filter { display: none; } .card { break-inside: avoid; } }
`;
