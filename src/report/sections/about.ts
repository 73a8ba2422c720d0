import { section, type Section } from '../document.js';

export interface About {
  /** As YAML. */
  readonly config: string | undefined;
  readonly versions: Readonly<Record<string, string>>;
  readonly card?: string | undefined;
}

/** What the numbers were made with. */
export function aboutSections({ config, versions, card }: About): Section[] {
  const rows = Object.entries(versions);
  return [
    ...section(
      'Configuration',
      config === undefined
        ? undefined
        : { type: 'code', caption: 'The settings in force; what was off is left out', text: config.trimEnd() },
    ),
    ...section(
      'Versions',
      rows.length === 0
        ? undefined
        : { type: 'table', caption: 'What the run was made with', columns: ['package', 'version'], rows },
    ),
    ...section(
      'Model card',
      card === undefined
        ? undefined
        : { type: 'code', caption: 'README.md of the result', text: card.trimEnd(), folded: true },
    ),
  ];
}
