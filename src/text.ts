/**
 * What a terminal acts on instead of showing it: C0 but for tabs and line feeds, DEL, C1, and what turns the direction
 * of text around. A carriage return counts too: what follows it overwrites the line.
 */
const ACTIVE = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]|\p{Bidi_Control}/gu;

/**
 * Text with control characters as JSON writes them (`\u001b`, `\r`): data, models, file names and servers can contain
 * any, and a terminal would obey. JSON that contains such characters stays the same JSON.
 */
export function visible(text: string): string {
  return text.replace(ACTIVE, (character) =>
    character === '\r' ? '\\r' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The same for a cell of a table or a name within a line: line feeds and tabs are shown too. */
export function visibleLine(text: string): string {
  return visible(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t');
}

/**
 * Text as one line of Markdown that shows it as it is: no markup, no link, no HTML. Underscores within words stay,
 * where they mean nothing. Source: CommonMark 0.31, sections 2.4, 6; GitHub Flavored Markdown for `~`.
 */
export function markdownText(text: string): string {
  return visible(text.replaceAll('\r\n', '\n'))
    .replace(/[\\`*~|]/g, '\\$&')
    .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, '\\_')
    .replace(/\](?=[([:])|!(?=\[)/g, '\\$&')
    .replace(/&(?=#|[A-Za-z])/g, '&amp;')
    .replaceAll('<', '&lt;')
    .split('\n')
    .map((line) => line.trim())
    .join(' ')
    .trim()
    .replace(/^(?:#|>|[+-](?=\s|-|$))/, '\\$&')
    .replace(/^(\d+)(?=[.)](?:\s|$))/, '$1\\');
}

/** The same for a cell of a table, with its line breaks. */
export function markdownCell(text: string): string {
  return text.split(/\r?\n/).map(markdownText).join('<br>');
}

/** A fenced block, its fence longer than any in the text. */
export function markdownFence(text: string, language = ''): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${visible(text)}\n${fence}`;
}
