import type { Adapter } from '../adapters/adapter.js';
import { describeFinding, markersInPieces, sampleChat, unwrittenCalls } from '../data/findings.js';
import { isExampleList } from '../data/examples.js';
import { withTokenRows } from '../adapters/lora/token-indices.js';
import { loadAdapter, readAdapterConfig } from '../adapters/peft/files.js';
import { definitionOf, type AdapterSettings } from '../adapters/registry.js';
import { adapterSettings, trainedBase } from '../adapters/settings.js';
import { completeConfig, isComplete } from '../config/load.js';
import type { RunConfigInput } from '../config/schema.js';
import { sourcesOf } from '../data/parts.js';
import { loadSplits, type DataSplits } from '../data/split.js';
import { ConfigError } from '../errors.js';
import type { Directory } from '../io/directory.js';
import type { ModelConfig } from '../model/config.js';
import type { Decoder } from '../model/decoder.js';
import { loadModel, readModelConfig } from '../model/load.js';
import { hashRunFiles, type RunInputs } from '../resume/inputs.js';
import { besideAdapter, withAddedTokens } from '../tokenizer/added-tokens.js';
import { takeBosNote } from '../tokenizer/doubled-bos.js';
import { withChatTemplate } from '../tokenizer/model-chat-template.js';
import { loadTokenizer } from '../tokenizer/tokenizer.js';
import { baseKeyOf, dataOptionsOf, inputsKeyOf, quantizationOf, rowOptionsOf } from './options.js';
import type { CheckedRequest, FinetuneRequest } from './request.js';
import type { SharedResources } from './shared-resources.js';

/** A request with a complete config, in which rows that are handed over have a name. @throws ConfigError */
export function checkedRequest(request: FinetuneRequest): CheckedRequest {
  const { config, data } = request;
  if (isComplete(config)) return { ...request, config };
  const names = (['train', 'validation', 'test'] as const).flatMap((part) => {
    const sources = config.data?.[part] === undefined ? data[part] : undefined;
    return sources === undefined || sources.length === 0
      ? []
      : [[part, sources.map((source, i) => source.name ?? `${part} ${i + 1}`)] as const];
  });
  const named = names.length === 0 ? config : { ...config, data: { ...config.data, ...Object.fromEntries(names) } };
  return { ...request, config: completeConfig(named as RunConfigInput) };
}

/** The run with the tokenizer that it will have: its chat template in place of the model's, and its tokens besides. */
export async function withTokenizer(request: CheckedRequest): Promise<CheckedRequest> {
  const grown = await withTokens(request);
  const { chat_template: template } = rowOptionsOf(request.config, request.callbacks?.onNote);
  return template === undefined ? grown : { ...grown, model: await withChatTemplate(grown.model, template) };
}

/** That of the adapter that it goes on from, or the model's with the added tokens, whose rows are trained. */
async function withTokens(request: CheckedRequest): Promise<CheckedRequest> {
  const { config, model, initFrom } = request;
  if (initFrom !== undefined) return { ...request, model: await besideAdapter(model, initFrom) };
  const { added_tokens: tokens } = config.adapter;
  if (tokens === undefined) return request;
  const { directory, ids } = await withAddedTokens(model, tokens);
  const rows = withTokenRows(await readModelConfig(model), config.adapter.trainable_token_indices, ids);
  return {
    ...request,
    model: directory,
    config: {
      ...config,
      adapter: {
        ...config.adapter,
        trainable_token_indices: rows as NonNullable<typeof config.adapter.trainable_token_indices>,
      },
    },
  };
}

const tokenizers = new WeakMap<Directory, ReturnType<typeof loadTokenizer>>();

/** The tokenizer of a folder, which is read once: a large vocabulary takes a moment. */
export function tokenizerOf(directory: Directory): ReturnType<typeof loadTokenizer> {
  const tokenizer = tokenizers.get(directory) ?? loadTokenizer(directory);
  tokenizers.set(directory, tokenizer);
  return tokenizer;
}

/** What is trained. @throws ConfigError when it does not go with the adapter to go on from. */
export async function settingsOf({
  config,
  initFrom,
}: Pick<CheckedRequest, 'config' | 'initFrom'>): Promise<AdapterSettings> {
  return adapterSettings(config.adapter, initFrom === undefined ? undefined : await readAdapterConfig(initFrom));
}

/** The base model of a run; with `shared` it is that one's, and not to be disposed of. */
export async function loadBase(
  request: CheckedRequest,
  model: ModelConfig,
  shared?: SharedResources,
): Promise<Decoder> {
  const { config, model: directory, callbacks } = request;
  const quantization = quantizationOf(config);
  const trainable = trainedBase(model, await settingsOf(request));
  const onLoad = callbacks?.onLoad;
  const load = (): Promise<Decoder> =>
    loadModel(directory, { quantization, trainable, ...(onLoad === undefined ? {} : { onProgress: onLoad }) });
  return shared?.decoder(baseKeyOf(config, trainable !== undefined), load) ?? load();
}

/** The rows of a run as tokens. @throws DataError listing what cannot be used. */
export async function loadData(
  request: CheckedRequest,
  model: ModelConfig,
  shared?: SharedResources,
): Promise<DataSplits> {
  const { config, data, model: directory, callbacks } = request;
  const settings = await settingsOf(request);
  const options = dataOptionsOf(config, model, settings, callbacks?.onNote);
  const tokenizer = await tokenizerOf(directory);
  const vocabSize = definitionOf(settings.method).vocabularySize?.(model, settings) ?? model.vocabSize;
  const load = async (): Promise<DataSplits> => {
    const splits = await loadSplits({ ...data, tokenizer, options, vocabSize });
    const { examples } = splits.train;
    const findings = isExampleList(examples)
      ? [
          ...markersInPieces(examples, { tokenizer, written: sampleChat(tokenizer, options) }),
          ...unwrittenCalls(examples),
        ]
      : [];
    for (const finding of findings) callbacks?.onNote?.(`data: ${describeFinding(finding)}`);
    return splits;
  };
  const splits = await (shared?.data(JSON.stringify([inputsKeyOf(config), options, vocabSize]), load) ?? load());
  const note = takeBosNote(tokenizer);
  if (note !== undefined) callbacks?.onNote?.(note);
  return splits;
}

/** The adapter of a run, fresh or as it was saved, on its base model. */
export async function openAdapter(request: CheckedRequest, decoder: Decoder): Promise<Adapter> {
  const { config, initFrom, model, callbacks } = request;
  const { init_from: named } = config.adapter;
  const settings = await settingsOf(request);
  const definition = definitionOf(settings.method);
  if ((named === undefined) !== (initFrom === undefined))
    throw new ConfigError('adapter.init_from names a folder that was not handed over, or the other way round');
  if (initFrom === undefined) {
    const fresh = definition.create(decoder, settings, config.training.seed);
    const tokenizer = await tokenizerOf(model);
    await fresh.initialize?.(
      tokenizer === undefined ? undefined : (text) => Promise.resolve(tokenizer.encodeText(text)),
    );
    const note = definition.note?.(settings);
    if (note !== undefined) callbacks?.onNote?.(note);
    return fresh;
  }
  const adapter = await loadAdapter(decoder, initFrom, {
    settings: config.adapter,
    ...(callbacks?.onNote === undefined ? {} : { onNote: callbacks.onNote }),
  });
  callbacks?.onNote?.(`going on from ${initFrom.name}: ${definition.describe(settings)}, as that adapter has it`);
  return adapter;
}

/** SHA-256 of the files that a run reads. */
export async function hashRequest(
  request: Pick<CheckedRequest, 'config' | 'model' | 'data' | 'initFrom'>,
  shared?: SharedResources,
): Promise<RunInputs['files']> {
  const { config, model, data, initFrom } = request;
  const sources = (part: 'validation' | 'test') => (data[part] === undefined ? undefined : sourcesOf(data[part]));
  const files = { train: sourcesOf(data.train), validation: sources('validation'), test: sources('test') };
  const hash = (): Promise<RunInputs['files']> => hashRunFiles({ model, data: files, initFrom });
  return shared?.hashes(inputsKeyOf(config), hash) ?? hash();
}
