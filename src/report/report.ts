import Papa from 'papaparse';
import type { Directory } from '../io/directory.js';
import { VERSION } from '../version.js';
import { plotPath, type PlotBlock, type Report } from './document.js';
import { renderHtml } from './html.js';
import { renderMarkdown } from './markdown.js';
import { openCanvas, type Canvas } from './plots/canvas.js';
import { standalone } from './plots/theme.js';
import { readInputs, type ReportInputs } from './read.js';
import { ablationReport } from './sections/ablation.js';
import { evaluationReport } from './sections/evaluation.js';
import { recordedSamples } from './sections/samples.js';
import { trainingReport } from './sections/training.js';

export interface ReportOptions {
  /** Turns the token ids that a training run recorded into text; without it they are shown as they are. */
  readonly decode?: (ids: readonly number[]) => string;
}

/**
 * The files of a report on what `train`, `ablate` or `eval --output` left in a folder: report.html, report.md,
 * report.csv, report.json and plots/*.svg, by name.
 * @throws ConfigError for a folder that holds nothing of the kind; FormatError for files that are not as they should
 * be.
 */
export async function makeReport(directory: Directory, options: ReportOptions = {}): Promise<Record<string, string>> {
  const inputs = await readInputs(directory);
  const report = composeReport(inputs, await openCanvas(), options);
  const plots = report.sections.flatMap(({ blocks }) =>
    blocks.filter((block): block is PlotBlock => block.type === 'plot'),
  );
  return {
    'report.html': renderHtml(report, VERSION),
    'report.md': renderMarkdown(report),
    'report.csv': renderCsv(report),
    'report.json': `${JSON.stringify({ format: 1, version: VERSION, title: report.title, ...report.data, plots: plots.map(({ name, title, description }) => ({ file: plotPath({ name }), title, description })) }, null, 1)}\n`,
    ...Object.fromEntries(plots.map((plot) => [plotPath(plot), standalone(plot.svg)])),
  };
}

function composeReport(
  inputs: ReportInputs,
  canvas: Canvas,
  { decode = (ids) => ids.join(' ') }: ReportOptions,
): Report {
  switch (inputs.kind) {
    case 'train':
      return trainingReport(inputs, canvas, recordedSamples({ answer: inputs.record }, decode));
    case 'ablation':
      return ablationReport(inputs, canvas, (records) => recordedSamples(records, decode));
    case 'eval':
      return evaluationReport(inputs, canvas);
  }
}

/** Every row with all columns that any of them has. Source: RFC 4180, but for line ends. */
function renderCsv({ rows }: Report): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return `${Papa.unparse({ fields: columns, data: rows.map((row) => columns.map((name) => row[name] ?? '')) }, { newline: '\n' })}\n`;
}
