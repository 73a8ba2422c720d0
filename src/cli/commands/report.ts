import type { Command } from 'commander';
import type { ReportFlags } from '../actions/report.js';

export function registerReport(program: Command): void {
  program
    .command('report')
    .description('curves, tables and settings of a finished run, an ablation or an evaluation, as one HTML file')
    .argument('<folder>', 'what train, ablate or eval --output wrote')
    .option('-o, --output <folder>', 'where the report goes; the folder itself unless given')
    .action(async (folder: string, flags: ReportFlags) => {
      const { runReport } = await import('../actions/report.js');
      await runReport(folder, flags);
    });
}
