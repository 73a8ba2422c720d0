import { plotPath, shown, type Block, type Cell, type Report } from './document.js';

/** The report as Markdown, with the plots beside it. */
export function renderMarkdown({ title, lead, sections }: Report): string {
  const parts = [`# ${title}`, ...lead, ...sections.flatMap((section) => [`## ${section.title}`, ...section.blocks.map(renderBlock)])];
  return `${parts.join('\n\n')}\n`;
}

function renderBlock(block: Block): string {
  switch (block.type) {
    case 'text':
      return block.text;
    case 'plot':
      return `![${escape(block.title)}](${plotPath(block)})\n\n${block.description}`;
    case 'code': {
      // Longer than any fence in the text.
      const longest = Math.max(2, ...[...block.text.matchAll(/`+/g)].map(([run]) => run.length));
      const fence = '`'.repeat(longest + 1);
      return `${block.caption}:\n\n${fence}\n${block.text}\n${fence}`;
    }
    case 'table': {
      const line = (cells: readonly Cell[]): string => `| ${cells.map((cell) => escape(shown(cell))).join(' | ')} |`;
      return [`${block.caption}:`, '', line(block.columns), line(block.columns.map((_, i) => (i > 0 && block.rows.every((row) => typeof row[i] !== 'string') ? '---:' : '---'))), ...block.rows.map(line)].join('\n');
    }
  }
}

/** Of a cell: a line break or a bar would end it. */
function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('|', '\\|').replaceAll('<', '&lt;').replace(/\r?\n/g, '<br>');
}
