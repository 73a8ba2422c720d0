import { readPeftAdapter, peftAdapterFiles, type PeftAdapter } from '../../adapters/peft/document.js';
import type { DeviceChoice } from '../../device/device.js';
import { ConfigError, FormatError } from '../../errors.js';
import type { Divergence } from '../../eval/divergence.js';
import { copiedFiles } from '../../export/copied-files.js';
import { FLOAT_NAMES, type FloatName } from '../../export/floats.js';
import { fusionOf } from '../../export/weight-merge.js';
import { ggufAdapter } from '../../export/gguf/lora.js';
import { modelfile } from '../../export/gguf/modelfile.js';
import { mergedFiles } from '../../export/merge.js';
import { requireMethod, requirePeft } from '../../export/methods.js';
import { mlxFiles } from '../../export/mlx.js';
import type { OutputFile } from '../../export/output.js';
import { portableAdapter } from '../../export/portable.js';
import { openCheckpoint } from '../../io/weights-file.js';
import { readJson, readText, type Directory } from '../../io/directory.js';
import { isRecord } from '../../io/json.js';
import { localDirectory, openDirectory } from '../../node.js';
import { readRunFolder, type RunFolder } from '../../finetune/run-folder.js';
import { besideAdapter } from '../../tokenizer/added-tokens.js';
import { withChatTemplate } from '../../tokenizer/model-chat-template.js';
import { loadTokenizer } from '../../tokenizer/tokenizer.js';
import { baseDifference, findBase } from '../../workspace/open-run.js';
import { chatTemplateText } from '../../workspace/chat-template-files.js';
import { planExport, planExportFile } from '../../workspace/export/export-output.js';
import { outputChange, requantized } from '../../workspace/export/merged-model.js';
import { describeDevice, tell } from '../options.js';
import { print } from '../view/terminal.js';
import { printWritten } from '../view/written-files.js';
import { formatNumber } from '../../format.js';
import { checkModel } from '../../workspace/export/read-back.js';

/** What commander gives the action. */
export interface ExportFlags {
  readonly format: 'peft' | 'merged' | 'gguf' | 'mlx';
  readonly output: string;
  readonly model?: string;
  readonly revision?: string;
  readonly chatTemplate?: string;
  readonly portable?: true;
  readonly dtype?: FloatName;
  readonly maxShardSize?: number;
  readonly from?: string;
  readonly requantize?: 'nf4' | 'fp4';
  readonly text?: string;
  readonly device: DeviceChoice;
  readonly overwrite?: true;
}

/** The flags that mean something to a format, besides --output and --overwrite. */
const FLAGS_OF: Readonly<Record<ExportFlags['format'], readonly (keyof ExportFlags)[]>> = {
  peft: ['portable', 'chatTemplate'],
  merged: ['model', 'revision', 'chatTemplate', 'dtype', 'maxShardSize', 'requantize', 'text'],
  gguf: ['model', 'revision', 'chatTemplate', 'dtype', 'from'],
  mlx: ['model', 'revision'],
};

const GGUF_FILE = 'adapter.gguf';

/**
 * Writes an adapter in another form. Everything is read and checked before the first file is written, but for the
 * weights of a merge.
 * @throws ConfigError for flags that do not go together; FormatError listing everything that the form cannot hold.
 */
export async function runExport(path: string, flags: ExportFlags): Promise<void> {
  checkFlags(flags);
  const run = await readRunFolder(await openDirectory(path, { onMessage: tell }));
  const { adapter: found, chatTemplate } = run;
  if (found === undefined)
    throw new ConfigError(`${path}: is a model, not an adapter: there is nothing to merge or convert`);
  const template = flags.chatTemplate === undefined ? chatTemplate : await chatTemplateText(flags.chatTemplate);
  const directory = template === undefined ? found : await withChatTemplate(found, template);
  const adapter = await readPeftAdapter(directory);
  if (flags.format === 'peft') requirePeft(adapter);
  if (flags.format !== 'peft' || flags.portable === true)
    requireMethod(adapter, flags.format === 'merged' ? 'merge' : 'export');
  const options = { overwrite: flags.overwrite === true, onMessage: tell, onWritten: printWritten };
  if (flags.format === 'gguf' && flags.output.endsWith('.gguf')) {
    const output = await planExportFile(flags.output, options);
    const { bytes } = await ggufOf(adapter, await baseOf(run, flags), flags);
    return output.write(bytes);
  }
  const base =
    flags.format === 'peft' || (flags.format === 'mlx' && flags.model === undefined)
      ? undefined
      : await baseOf(run, flags);
  const output = await planExport(flags.output, {
    ...options,
    inputs: [directory.name, ...(base === undefined ? [] : [base.name])],
  });
  switch (flags.format) {
    case 'peft':
      return output.write([
        ...asFiles(peftAdapterFiles(flags.portable === true ? portableAdapter(adapter) : adapter)),
        ...(await copiedFiles(directory, ['README.md'])),
      ]);
    case 'mlx':
      return output.write(mlxFiles(adapter, base === undefined ? undefined : await layersOf(base)));
    case 'gguf':
      return output.write(await ggufFolder(adapter, directory, base as Directory, flags));
    case 'merged': {
      const { requantize, text } = flags;
      const check = (written: Directory): Promise<void> =>
        checkModel({
          base: base as Directory,
          adapter: directory,
          written,
          same: requantize === undefined,
          device: flags.device,
          onMessage: tell,
        });
      const write = (files: readonly OutputFile[]): Promise<void> => output.write(files, check);
      if (requantize === undefined) await merge(adapter, directory, base as Directory, flags, write);
      else
        await requantized(
          flags.output,
          requantize,
          (floats) => merge(adapter, directory, base as Directory, flags, floats),
          write,
          () => tell('stopped: nothing was written'),
        );
      if (text !== undefined)
        printChange(
          text,
          await outputChange({
            text,
            base: base as Directory,
            adapter: directory,
            merged: localDirectory(flags.output),
            device: flags.device,
            onDevice: (device) => tell(describeDevice(device)),
          }),
        );
      return;
    }
  }
}

function printChange(text: string, { meanKl, maxKl, changedTop, positions }: Divergence): void {
  print(
    `change in output over ${positions} tokens of ${text}: mean KL ${formatNumber(meanKl)} nats, at most ${formatNumber(maxKl)}; another likeliest token at ${formatNumber(100 * changedTop)} %\n`,
  );
}

async function merge(
  adapter: PeftAdapter,
  directory: Directory,
  base: Directory,
  flags: ExportFlags,
  write: (files: readonly OutputFile[]) => Promise<void>,
): Promise<void> {
  const fusion = fusionOf(adapter);
  const checkpoint = await openCheckpoint(base);
  try {
    const files = await mergedFiles(base, checkpoint, fusion, {
      dtype: flags.dtype === undefined ? undefined : FLOAT_NAMES[flags.dtype],
      maxShardBytes: flags.maxShardSize,
    });
    // The tokenizer that lies beside the adapter is the one it was trained with.
    const own = await copiedFiles(await besideAdapter(base, directory));
    await write([...files.filter(({ path }) => !own.some((file) => file.path === path)), ...own]);
  } finally {
    await checkpoint.close();
  }
}

async function ggufOf(adapter: PeftAdapter, base: Directory, flags: ExportFlags): Promise<{ bytes: Uint8Array }> {
  const config = await readJson(base, 'config.json');
  if (!isRecord(config))
    throw new FormatError(
      `${base.name}/config.json: ${config === undefined ? 'there is none' : 'must be a JSON object'}`,
    );
  return { bytes: ggufAdapter(adapter, config, { dtype: flags.dtype === 'float16' ? 'F16' : 'F32' }) };
}

async function ggufFolder(
  adapter: PeftAdapter,
  directory: Directory,
  base: Directory,
  flags: ExportFlags,
): Promise<OutputFile[]> {
  const { bytes } = await ggufOf(adapter, base, flags);
  // The tokenizer that lies beside the adapter is the one it was trained with.
  const tokenizer = await loadTokenizer(await besideAdapter(base, directory));
  const chat = tokenizer && {
    chatTemplate: tokenizer.chatTemplate,
    bosToken: tokenizer.bosTokenId === undefined ? undefined : tokenizer.idToToken(tokenizer.bosTokenId),
    applyChatTemplate: tokenizer.applyChatTemplate.bind(tokenizer),
  };
  const { text, notes } = modelfile(flags.from ?? flags.model ?? base.name, GGUF_FILE, chat);
  for (const note of notes) tell(`note: Modelfile: ${note}`);
  if (flags.from === undefined)
    tell(
      'note: Modelfile: FROM names the Hugging Face model; --from names it as Ollama does, such as llama3.2:1b or a GGUF file',
    );
  return [
    { path: GGUF_FILE, content: bytes },
    { path: 'Modelfile', content: text },
  ];
}

async function layersOf(base: Directory): Promise<number> {
  const text = await readText(base, 'config.json');
  const config: unknown = text === undefined ? undefined : JSON.parse(text);
  const count = isRecord(config) ? (config['num_hidden_layers'] ?? config['n_layer']) : undefined;
  if (typeof count !== 'number')
    throw new FormatError(
      `${base.name}/config.json: num_hidden_layers: found ${JSON.stringify(count) ?? 'nothing'}, allowed a number`,
    );
  return count;
}

/** The model that is named, or that of the run. */
async function baseOf(run: RunFolder, flags: ExportFlags): Promise<Directory> {
  if (flags.model !== undefined) {
    const model = await openDirectory(flags.model, { revision: flags.revision, onMessage: tell });
    const difference = await baseDifference(run, model);
    if (difference !== undefined) tell(`warning: ${difference}`);
    return model;
  }
  const base = await findBase(run);
  if (base === undefined) throw new ConfigError(`${run.directory.name}: names no base model: give it with --model`);
  tell(`base model: ${base.model}, from ${run.directory.name}`);
  return openDirectory(base.model, { revision: flags.revision ?? base.revision, onMessage: tell });
}

function checkFlags(flags: ExportFlags): void {
  const all: readonly (keyof ExportFlags)[] = [
    'model',
    'revision',
    'chatTemplate',
    'portable',
    'dtype',
    'maxShardSize',
    'from',
    'requantize',
    'text',
  ];
  const problems = all
    .filter((flag) => flags[flag] !== undefined && !FLAGS_OF[flags.format].includes(flag))
    .map(
      (flag) =>
        `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} means nothing to --format ${flags.format}`,
    );
  if (flags.format === 'gguf' && flags.dtype === 'bfloat16')
    problems.push('--dtype bfloat16: a GGUF adapter is float32 or float16');
  if (flags.from !== undefined && flags.output.endsWith('.gguf'))
    problems.push('--from is for a Modelfile, which needs a folder as --output');
  if (problems.length > 0) throw new ConfigError(problems.join('; '));
}

function asFiles(files: Readonly<Record<string, string | Uint8Array>>): OutputFile[] {
  return Object.entries(files).map(([path, content]) => ({ path, content }));
}
