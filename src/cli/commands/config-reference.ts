import type { Command } from 'commander';
import { renderConfigReference } from '../../config/reference.js';
import { print } from '../view/terminal.js';

export function registerConfigReference(program: Command): void {
  program
    .command('config-reference')
    .description('print every option of a config with its type, default and meaning, as Markdown')
    .action(() => {
      print(renderConfigReference());
    });
}
