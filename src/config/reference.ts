import { optionSections, type Option } from './options.js';

const INTRODUCTION = `# Configuration

A run is described by one YAML or JSON file. An unknown key is an error; a key that holds \`null\` counts as absent.

- \`--set option=value\` on the command line replaces an option of the file; the value is YAML
  (\`--set training.learning_rate=1e-4\`, \`--set 'adapter.target_modules=[q_proj, v_proj]'\`).
- A relative path is relative to where it is written: in a file, to the folder of that file; in \`--set\`, to the current
  folder. \`model\` is a path only when it starts with \`./\`, \`../\` or is absolute; otherwise it is an id on the Hub. Data is a path
  unless it reads \`org/name\`, without the ending of a data file, or \`hub:…\`.

This page is printed by \`lowrank config-reference\`.
`;

/** The reference page in Markdown: every option with its type, default and meaning. */
export function renderConfigReference(): string {
  const sections = optionSections.map(({ name, description, options }) => {
    const title = name === '' ? 'Top level' : `\`${name}\``;
    // Options that take entries take nearly the same: one table serves them.
    const [first] = options.filter((option) => option.entries !== undefined);
    const entries =
      first?.entries === undefined
        ? ''
        : `\nKeys of ${first.entries[0]?.path.includes('[]') === true ? 'an entry of ' : ''}\`${first.path}\`:\n\n${table(first.entries)}`;
    return `\n## ${title}\n\n${description}\n\n${table(options)}${entries}`;
  });
  return INTRODUCTION + sections.join('');
}

function table(options: readonly Option[]): string {
  const rows = options.map((option) => {
    const cells = [`\`${option.path}\``, option.type, defaultOf(option), option.description];
    return `| ${cells.map(escapeCell).join(' | ')} |`;
  });
  return `| option | type | default | meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

/** The options as aligned plain text, for `--help` of the commands that take a config. */
export function renderConfigHelp(): string {
  const lines = optionSections.flatMap(({ name, options }) => [
    '',
    name === '' ? 'Options of a config:' : `${name}:`,
    ...options.map((option) => {
      const value = option.required ? 'required' : defaultText(option);
      return `  ${option.path.padEnd(38)} ${option.type}${value === undefined ? '' : ` (${value})`}`;
    }),
  ]);
  return lines.join('\n');
}

function defaultOf(option: Option): string {
  if (option.required) return '*required*';
  const text = defaultText(option);
  return text === undefined ? '' : `\`${text}\``;
}

/** Undefined where there is no default. */
function defaultText(option: Option): string | undefined {
  return typeof option.default === 'string' ? option.default : JSON.stringify(option.default);
}

function escapeCell(cell: string): string {
  return cell.replaceAll('|', '\\|');
}
