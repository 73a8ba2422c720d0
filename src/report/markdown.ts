import { markdownCell, markdownFence, markdownText } from '../text.js';
import { plotPath, shown, type Block, type Cell, type Report } from './document.js';

/** The report as Markdown, with the plots beside it. */
export function renderMarkdown({ title, lead, sections }: Report): string {
  const parts = [
    `# ${markdownText(title)}`,
    ...lead.map(markdownText),
    ...sections.flatMap((section) => [`## ${markdownText(section.title)}`, ...section.blocks.map(renderBlock)]),
  ];
  return `${parts.join('\n\n')}\n`;
}

function renderBlock(block: Block): string {
  switch (block.type) {
    case 'text':
      return markdownText(block.text);
    case 'plot':
      return `![${markdownText(block.title)}](${plotPath(block)})\n\n${markdownText(block.description)}`;
    case 'code':
      return `${markdownText(block.caption)}:\n\n${markdownFence(block.text)}`;
    case 'table': {
      const line = (cells: readonly Cell[]): string =>
        `| ${cells.map((cell) => markdownCell(shown(cell))).join(' | ')} |`;
      return [
        `${markdownText(block.caption)}:`,
        '',
        line(block.columns),
        line(
          block.columns.map((_, i) =>
            i > 0 && block.rows.every((row) => typeof row[i] !== 'string') ? '---:' : '---',
          ),
        ),
        ...block.rows.map(line),
      ].join('\n');
    }
  }
}
