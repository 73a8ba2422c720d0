import type { Command } from 'commander';
import type { InspectFlags } from '../actions/inspect.js';

export function registerInspect(program: Command): void {
  program
    .command('inspect')
    .description('what a model directory, an adapter directory or a safetensors file holds')
    .argument('<path>', 'folder, Hub id or .safetensors file')
    .option('--model <folder or id>', 'check that the adapter fits this model (default: the base model that it names)')
    .option('--tensors', 'list every tensor of a directory too')
    .option('--json', 'print one JSON object')
    .action(async (path: string, flags: InspectFlags) => {
      await checkThere(path);
      const { runInspect } = await import('../actions/inspect.js');
      await runInspect(path, flags);
    });
}

/** What is nowhere is refused before the packages that compute are loaded. @throws ConfigError */
async function checkThere(path: string): Promise<void> {
  const { isDirectory, isFile } = await import('../../io/node.js');
  if ((await isFile(path)) || (await isDirectory(path))) return;
  const { openDirectory } = await import('../../io/open-directory.js');
  await openDirectory(path, { weights: false });
}
