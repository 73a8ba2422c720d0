import { visible } from '../text.js';
import {
  shown,
  type Block,
  type CodeBlock,
  type PlotBlock,
  type Report,
  type Section,
  type TableBlock,
} from './document.js';
import { PLOT_STYLE, themeStyle } from './plots/theme.js';

const STYLE = `${themeStyle(':root')}
${PLOT_STYLE}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 82rem; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
p { max-width: 60rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .5rem; border-top: 1px solid var(--faint) }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none }
a { color: var(--series-0) }
figure { margin: 1.25rem 0 }
figcaption, caption, summary { font-weight: 600; text-align: left; margin-bottom: .4rem; padding-bottom: .3rem }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 1.5rem }
.plots figure.wide { grid-column: 1 / -1 }
svg { display: block; max-width: 100%; height: auto }
.scroll { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .875rem }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--faint); text-align: left; vertical-align: top; font-weight: 400; overflow-wrap: anywhere; white-space: pre-wrap; min-width: 4.5rem }
thead th { font-weight: 600; overflow-wrap: normal }
td.number, thead th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tbody th:not(.long) { overflow-wrap: normal; white-space: nowrap; position: sticky; left: 0; background: var(--ground) }
td.long, th.long { min-width: 15rem }
pre { overflow-x: auto; padding: .8rem 1rem; border: 1px solid var(--faint); border-radius: .4rem; font: .8125rem/1.45 ui-monospace, monospace }
footer { margin-top: 3rem; font-size: .85rem }
@media screen and (min-width: 82rem) {
  .plots { grid-template-columns: repeat(6, 1fr) }
  .plots figure { grid-column: span 2 }
  .plots figure.wide { grid-column: span 3 }
}
@media screen and (max-width: 40rem) {
  .plots figure { overflow-x: auto }
  .plots svg[width="720"] { max-width: none; width: 36rem }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11pt }
  nav { display: none }
  figure, tr { break-inside: avoid }
  h2 { break-after: avoid }
  .scroll, pre { overflow: visible }
  pre { white-space: pre-wrap; overflow-wrap: anywhere }
  table { font-size: 8pt }
  th, td { min-width: 0; padding: .2rem .35rem }
  tbody th:not(.long) { white-space: normal }
  td.long, th.long { min-width: 30% }
  td.number, thead th.number { white-space: normal }
}`;

/**
 * Nothing runs and nothing is loaded, whatever text got into the page; the styles are those of the page and of its
 * drawings.
 */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** The report as one file that needs nothing else: no script, no font, nothing of the network. */
export function renderHtml({ title, lead, sections }: Report, version: string): string {
  const parts = [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    `<title>${escape(title)}</title>`,
    `<style>\n${STYLE}\n</style>`,
    '</head>',
    '<body>',
    `<header><h1>${escape(title)}</h1>${lead.map((text) => `<p>${escape(text)}</p>`).join('')}</header>`,
    `<nav aria-label="Sections"><ul>${sections.map((s, i) => `<li><a href="#section-${i + 1}">${escape(s.title)}</a></li>`).join('')}</ul></nav>`,
    '<main>',
    ...sections.map(renderSection),
    '</main>',
    `<footer>Made by lowrank ${escape(version)}. The same as report.md, report.csv and report.json, made together with it, and each plot as a file of its own in plots/.</footer>`,
    '</body>',
    '</html>',
  ];
  return `${parts.join('\n')}\n`;
}

function renderSection({ title, blocks }: Section, index: number): string {
  const id = `section-${index + 1}`;
  const parts: string[] = [];
  for (let at = 0; at < blocks.length; at++) {
    const block = blocks[at] as Block;
    if (block.type !== 'plot') {
      parts.push(
        block.type === 'text' ? `<p>${escape(block.text)}</p>` : block.type === 'table' ? table(block) : code(block),
      );
      continue;
    }
    const plots: PlotBlock[] = [block];
    for (let next = blocks[at + 1]; next?.type === 'plot'; next = blocks[at + 1]) {
      plots.push(next);
      at++;
    }
    parts.push(`<div class="plots">\n${plots.map(figure).join('\n')}\n</div>`);
  }
  return `<section aria-labelledby="${id}">\n<h2 id="${id}">${escape(title)}</h2>\n${parts.join('\n')}\n</section>`;
}

/** The drawing is part of the page: a link to its file would lead nowhere where the page alone was sent on. */
function figure(plot: PlotBlock): string {
  const width = Number(/width="([\d.]+)"/.exec(plot.svg)?.[1] ?? 0);
  return `<figure${width > 560 ? ' class="wide"' : ''}><figcaption>${escape(plot.title)}</figcaption>\n${plot.svg}\n</figure>`;
}

/** Characters of a cell that should have some width for them. */
const LONG_TEXT = 60;

/** As text: with a deviation, or with an interval. */
const NUMBER = /^-?[\d.,e+-]+(?: ± [\d.,e+-]+| \[[^\]]+\])?$/;

function table({ caption, columns, rows }: TableBlock): string {
  const numeric = columns.map(
    (_, i) =>
      i > 0 && rows.every((row) => row[i] === undefined || typeof row[i] === 'number' || NUMBER.test(String(row[i]))),
  );
  const long = columns.map((_, i) => rows.some((row) => shown(row[i]).length > LONG_TEXT));
  const attribute = (i: number): string =>
    numeric[i] === true ? ' class="number"' : long[i] === true ? ' class="long"' : '';
  const head = columns.map((name, i) => `<th scope="col"${attribute(i)}>${escape(name)}</th>`).join('');
  const cell = (text: string, i: number): string =>
    i === 0 ? `<th scope="row"${attribute(i)}>${text}</th>` : `<td${attribute(i)}>${text}</td>`;
  const body = rows.map((row) => `<tr>${row.map((value, i) => cell(escape(shown(value)), i)).join('')}</tr>`);
  // A region that scrolls can be reached with the keyboard.
  return `<div class="scroll" role="region" tabindex="0" aria-label="${escape(caption)}"><table>\n<caption>${escape(caption)}</caption>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body.join('\n')}\n</tbody>\n</table></div>`;
}

function code({ caption, text, folded = false }: CodeBlock): string {
  const content = `<pre tabindex="0"><code>${escape(text)}</code></pre>`;
  return folded
    ? `<details><summary>${escape(caption)}</summary>${content}</details>`
    : `<figure><figcaption>${escape(caption)}</figcaption>${content}</figure>`;
}

function escape(text: string): string {
  return visible(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
