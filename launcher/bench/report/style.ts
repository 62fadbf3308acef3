// How the report looks: light and dark by what the reader prefers, on paper always light; from phone width upwards.

/** The page's style sheet. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #fbfbf9; --card: #ffffff; --ink: #1d2329; --soft: #57606a; --rule: #dfe2e6; --track: #eceef1;
  --linux: #c2500a; --osv: #00795b; --host: #1f62b5; --mpirun: #7b5aa6; --mpiexec: #a8336b;
  --good: #0b6b43; --good-back: #e2f3ea; --bad: #a3341f; --bad-back: #fbe9e4; --calm: #4d5761; --calm-back: #eceff2;
  --warn: #7a4b00; --warn-back: #fdf2dc; --warn-rule: #e8c98a;
  --s1: #8d99a8; --s2: #c9a227; --s3: #1f77b4; --s4: #2f9e77; --s5: #b8c2cc; --s6: #6c7a89;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --card: #1b2026; --ink: #e6e9ec; --soft: #9fa9b4; --rule: #323a43; --track: #2a3139;
    --linux: #ff9a57; --osv: #4fd1a5; --host: #7db4ff; --mpirun: #c3a5ec; --mpiexec: #f29bc1;
    --good: #7fe0b0; --good-back: #173528; --bad: #ffab97; --bad-back: #40221b; --calm: #c0c8d0; --calm-back: #2a3139;
    --warn: #ffd386; --warn-back: #33290f; --warn-rule: #6a5421;
    --s1: #8d99a8; --s2: #d9b84a; --s3: #5aa7e0; --s4: #56c49b; --s5: #55606c; --s6: #a3b0bd;
  }
}
@media print {
  :root {
    color-scheme: light;
    --page: #fff; --card: #fff; --ink: #111; --soft: #444; --rule: #ccc; --track: #eee;
    --linux: #c2500a; --osv: #00795b; --host: #1f62b5; --mpirun: #7b5aa6; --mpiexec: #a8336b;
    --good: #0b6b43; --good-back: #e2f3ea; --bad: #a3341f; --bad-back: #fbe9e4; --calm: #4d5761; --calm-back: #eceff2;
    --warn: #7a4b00; --warn-back: #fdf2dc; --warn-rule: #e8c98a;
    --s1: #8d99a8; --s2: #c9a227; --s3: #1f77b4; --s4: #2f9e77; --s5: #b8c2cc; --s6: #6c7a89;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.25rem clamp(0.9rem, 3vw, 2rem) 3rem; }
h1 { font-size: clamp(1.25rem, 1rem + 1.3vw, 1.75rem); line-height: 1.25; margin: 0.2rem 0 0.4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 0 0 0.2rem; }
p { margin: 0.3rem 0; }
.facts { color: var(--soft); font-size: 0.9rem; display: flex; flex-wrap: wrap; gap: 0.15rem 1rem; margin: 0 0 1rem; padding: 0; list-style: none; }
.soft { color: var(--soft); font-size: 0.9rem; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 1rem 1.1rem; min-width: 0; }
.first { display: grid; grid-template-columns: minmax(0, 1.75fr) minmax(0, 1fr); gap: 1rem; align-items: start; }
.how-much { margin: 0 0 0.8rem; } .how-much a { color: inherit; text-decoration-color: var(--rule); text-underline-offset: 0.2em; }
.headline { font-size: clamp(1.1rem, 0.95rem + 0.9vw, 1.45rem); line-height: 1.35; font-weight: 650; margin: 0 0 0.4rem; text-wrap: pretty; }
.contest { display: grid; grid-template-columns: max-content minmax(3rem, 1fr) max-content max-content; gap: 0.45rem 0.8rem; align-items: center; }
.contest > div { display: contents; } .contest h3 { grid-column: 1 / -1; color: var(--soft); font-size: 0.9rem; margin-top: 0.5rem; }
.contest .value { font-variant-numeric: tabular-nums; font-weight: 600; text-align: right; }
.chip { display: inline-block; border-radius: 999px; padding: 0.05rem 0.6rem; font-size: 0.85rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.chip.better { color: var(--good); background: var(--good-back); }
.chip.worse { color: var(--bad); background: var(--bad-back); }
.chip.noise, .chip.unknown, .chip.base { color: var(--calm); background: var(--calm-back); }
.meter { display: block; width: 100%; height: 0.8rem; } .meter .track { fill: var(--track); } .meter .fill { fill: var(--k); }
.trust { border-left: 5px solid var(--good); } .trust.grave { border-left-color: var(--warn-rule); }
.trust h2 { margin: 0; font-size: 1.05rem; } .trust .verdict { font-weight: 650; margin: 0.15rem 0 0.4rem; }
.trust ul { margin: 0.3rem 0 0; padding-left: 1.1rem; font-size: 0.92rem; } .trust li { margin: 0.3rem 0; }
.trust li.grave { color: var(--warn); }
.kind { display: inline-flex; align-items: center; gap: 0.4rem; white-space: nowrap; }
.key { width: 0.8rem; height: 0.8rem; fill: var(--k); flex: none; }
.k-linux { --k: var(--linux); } .k-osv { --k: var(--osv); } .k-host { --k: var(--host); } .k-mpirun { --k: var(--mpirun); } .k-mpiexec { --k: var(--mpiexec); }
.kind.m-openmpi, .kind.m-mpich { --k: var(--ink); } .key.wide { width: 2.4rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; font-size: 0.9rem; margin: 0.4rem 0; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 0.9rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.38rem 0.7rem 0.38rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { font-weight: 600; } thead th { color: var(--soft); white-space: nowrap; }
table.all th[scope=rowgroup] { min-width: 8.5rem; } table.all th[scope=row] { white-space: nowrap; }
table.all .chip { white-space: normal; border-radius: 0.7rem; }
td .value { font-weight: 600; white-space: nowrap; } td .chip { margin-top: 0.1rem; }
.environment td { overflow-wrap: anywhere; width: 40%; }
td.number, th.number { text-align: right; white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1rem; align-items: start; }
.plots.three { grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figure > .soft { margin-bottom: 0.5rem; }
details { margin-top: 0.6rem; font-size: 0.92rem; } summary { cursor: pointer; color: var(--soft); }
summary:focus-visible { outline: 2px solid var(--host); outline-offset: 2px; }
svg.area { display: block; width: 100%; overflow: visible; }
.grid { stroke: var(--rule); stroke-width: 1; }
.plane { display: grid; grid-template-columns: 3.9rem minmax(0, 1fr); grid-template-rows: 15rem 1.5rem; margin: 0.8rem 1.2rem 0 0; }
.plane svg.area { height: 100%; } .plane .x-axis { grid-column: 2; }
.x-axis, .y-axis { position: relative; font-size: 0.75rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.x-axis { height: 1.5rem; } .x-axis span { position: absolute; top: 0.3rem; transform: translateX(-50%); white-space: nowrap; }
.y-axis span { position: absolute; right: 0.5rem; transform: translateY(-50%); white-space: nowrap; }
.line { fill: none; stroke: var(--k); stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.k-mpirun .line, .k-mpiexec .line { stroke-dasharray: 5 3; }
.m-openmpi .line { stroke-dasharray: none; } .m-mpich .line { stroke-dasharray: 5 3; }
.m-openmpi .band, .m-mpich .band { opacity: 0.09; }
.m-mpich .mark { fill: var(--card); stroke: var(--k); stroke-width: 1.6; }
.band { fill: var(--k); opacity: 0.17; } .mark { fill: var(--k); overflow: visible; }
.strips { margin-top: 0.6rem; }
.strips .row { display: grid; grid-template-columns: 7.6rem minmax(0, 1fr) 5rem; align-items: stretch; column-gap: 0.6rem; }
.strips .label { align-self: center; font-size: 0.88rem; line-height: 1.2; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.strips .value { align-self: center; font-size: 0.88rem; font-weight: 600; white-space: nowrap; font-variant-numeric: tabular-nums; }
.strips svg.area { height: 2.3rem; }
.strips .label .soft { font-size: 0.78rem; } .strips .split svg.area { height: 2.8rem; }
.timeline .row { grid-template-columns: 7.6rem minmax(0, 1fr); margin-right: 1.2rem; } .timeline svg.area { height: 1.7rem; overflow: hidden; }
.timeline .group { padding-top: 0.2rem; }
.bar { fill: var(--k); opacity: 0.16; } .box { fill: var(--k); opacity: 0.28; } .dot { fill: var(--k); opacity: 0.75; }
.factors .row { grid-template-columns: 15rem minmax(0, 1fr); margin-right: 1.2rem; } .factors svg.area { height: 2.9rem; }
.factors .label { line-height: 1.25; white-space: normal; }
.whisker { stroke: var(--k); stroke-width: 3; } .unity { stroke: var(--soft); stroke-width: 1.5; }
.dot.outlier { fill: var(--card); stroke: var(--k); stroke-width: 1.8; opacity: 1; }
.median { stroke: var(--k); stroke-width: 2.5; }
.stage, .swatch { fill: var(--s); } .swatch { width: 0.8rem; height: 0.8rem; }
.s-start, .s-hypervisor { --s: var(--s1); } .s-image, .s-kernel { --s: var(--s2); } .s-boot, .s-set-up { --s: var(--s3); }
.s-launch, .s-control { --s: var(--s4); } .s-run { --s: var(--s5); } .s-clean-up { --s: var(--s6); }
pre { overflow-x: auto; background: var(--calm-back); border-radius: 8px; padding: 0.7rem 0.9rem; font-size: 0.82rem; margin: 0.4rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.25rem 1.2rem; font-size: 0.92rem; margin: 0.4rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 56rem) { .first { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 34rem) {
  .contest { grid-template-columns: minmax(0, 1fr) max-content; gap: 0.2rem 0.6rem; }
  .contest .meter { grid-column: 1 / -1; grid-row: auto; order: 0; }
  .contest > div { display: grid; grid-template-columns: subgrid; grid-column: 1 / -1; gap: 0.2rem 0.6rem; margin-bottom: 0.55rem; }
  .contest .kind { grid-row: 1; } .contest .value { grid-row: 1; grid-column: 2; } .contest .meter { grid-row: 2; }
  .contest .said { grid-row: 3; grid-column: 1 / -1; }
  .card { padding: 0.8rem 0.8rem; }
  .strips .row { grid-template-columns: 6.6rem minmax(0, 1fr) 4.4rem; column-gap: 0.4rem; } .timeline .row { grid-template-columns: 6.6rem minmax(0, 1fr); }
  .factors .row { grid-template-columns: 8.6rem minmax(0, 1fr); }
  .strips .x-axis span:nth-child(even) { display: none; }
  .strips .label, .strips .value { font-size: 0.8rem; }
  .plane { grid-template-columns: 3.4rem minmax(0, 1fr); margin-right: 0.9rem; }
  dl { grid-template-columns: minmax(0, 1fr); } dd { margin-bottom: 0.35rem; }
}
@media print {
  @page { margin: 14mm; }
  body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  .card { break-inside: avoid; } h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
  section.long, section.long .card { break-inside: auto; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  h2 + .soft { break-after: avoid; }
  table { font-size: 7.5pt; } th, td, thead th, th.number { padding-right: 0.3rem; white-space: normal; } td.number { white-space: nowrap; }
  .plots.three { grid-template-columns: minmax(0, 1fr); } .plots.three figure { break-inside: auto; } .plots.three .plane { break-inside: avoid; }
  table .chip { font-size: 7.5pt; padding: 0 0.35rem; }
  summary { list-style: none; } .scroll { overflow: visible; }
}
`
