import type { Command } from 'commander';
import type { GenerateFlags } from '../actions/generate.js';
import { numberOption } from '../options.js';
import { takesRun } from '../run-session.js';

export function registerGenerate(program: Command): void {
  takesRun(program.command('generate').description('continue a prompt or answer a conversation'))
    .option('--prompt <text>', 'text to continue, as it is')
    .option(
      '--messages <file>',
      'JSON file of a conversation: a list of {role, content}, or an object with it as `messages`',
    )
    .option(
      '--row <json>',
      'fields of a row as JSON, or a file of it: its prompt is written as in training, with data.template or the format of the rows; it needs no completion',
    )
    .option('--prompt-tokens <ids>', 'token ids to continue, separated by commas', tokenList)
    .option(
      '--requests <file>',
      'JSONL file of prompts (prompt, messages, row or prompt_tokens), each with the name of its adapter (adapter; null for none); answers come as JSONL',
    )
    .option(
      '--batch-size <rows>',
      'requests that are answered together',
      numberOption('batch-size', { min: 1, integer: true }),
      8,
    )
    .option(
      '--max-new-tokens <count>',
      'tokens at most',
      numberOption('max-new-tokens', { min: 1, integer: true }),
      128,
    )
    .option('--temperature <value>', '0 takes the likeliest token', numberOption('temperature', { min: 0 }), 0)
    .option(
      '--top-k <count>',
      'draw among so many likeliest tokens; 0 means all',
      numberOption('top-k', { min: 0, integer: true }),
      0,
    )
    .option(
      '--top-p <share>',
      'draw among the likeliest tokens that hold this share',
      numberOption('top-p', { min: 0, max: 1 }),
      1,
    )
    .option('--seed <number>', 'seed of the draw', numberOption('seed', { min: 0, integer: true }), 0)
    .option('--json', 'print one JSON object at the end instead of the text as it comes')
    .action(async (run: string | undefined, flags: GenerateFlags) => {
      const { runGenerate } = await import('../actions/generate.js');
      await runGenerate({ ...flags, run });
    });
}

function tokenList(text: string): number[] {
  return text.split(',').map(numberOption('prompt-tokens', { min: 0, integer: true }));
}
