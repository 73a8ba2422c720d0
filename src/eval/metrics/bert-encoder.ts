import { ConfigError } from '../../errors.js';
import { TOKENIZER_FILES } from '../../tokenizer/tokenizer.js';
import type { TextEncoderModel } from './bertscore.js';

/** What an encoder is made of; its weights may lie in a second file. */
export const ENCODER_FILES: readonly string[] = [
  'config.json',
  ...TOKENIZER_FILES,
  'onnx/model.onnx',
  'onnx/model.onnx_data',
];

const PACKAGE = '@huggingface/transformers';

// Of the package as much as is used here: it is optional, and its types may be absent.
interface Tensor {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number | bigint>;
}
type Outputs = Readonly<Record<string, Tensor | undefined>>;
interface Loader<T> {
  from_pretrained(name: string, options: object): Promise<T>;
}
interface Transformers {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly AutoTokenizer: Loader<(text: string, options: object) => Readonly<Record<'input_ids', Tensor>>>;
  readonly AutoModel: Loader<
    ((inputs: object) => Promise<Outputs>) & { readonly config: { readonly num_hidden_layers?: number } }
  >;
}

export interface EncoderSettings {
  /** Folder with config.json, tokenizer.json and onnx/model.onnx. */
  readonly model: string;
  /** The layer whose hidden states are taken; the last where absent. */
  readonly num_layers?: number | undefined;
}

/** Evaluations come one after the other, and each would load the model again. */
const opened = new Map<string, Promise<TextEncoderModel>>();

/**
 * An encoder of texts from a folder, run by the optional package @huggingface/transformers.
 * @throws ConfigError without the package, or for a folder that it cannot load.
 */
export function openEncoder(settings: EncoderSettings): Promise<TextEncoderModel> {
  const key = JSON.stringify([settings.model, settings.num_layers]);
  const encoder = opened.get(key) ?? load(settings);
  opened.set(key, encoder);
  // What failed may be mended.
  encoder.catch(() => opened.delete(key));
  return encoder;
}

async function load({ model: folder, num_layers: layer }: EncoderSettings): Promise<TextEncoderModel> {
  const { env, AutoTokenizer, AutoModel } = await importPackage();
  const [, parent = './', name = folder] = /^(.*[\\/])([^\\/]+)[\\/]*$/.exec(folder) ?? [];
  const before = { ...env };
  Object.assign(env, { allowRemoteModels: false, localModelPath: parent });
  try {
    const tokenizer = await AutoTokenizer.from_pretrained(name, {});
    const model = await AutoModel.from_pretrained(name, { dtype: 'fp32' });
    const output =
      layer === undefined || layer === model.config.num_hidden_layers ? 'last_hidden_state' : `hidden_states.${layer}`;
    return {
      async encode(text) {
        const inputs = tokenizer(text, { truncation: true });
        const outputs = await model(inputs);
        const found = outputs[output];
        if (found === undefined)
          throw new ConfigError(
            `metric bertscore: ${folder}: the ONNX model has no output ${output}, but ${Object.keys(outputs).join(', ')}`,
          );
        return {
          ids: Array.from(inputs.input_ids.data, Number),
          vectors: Float32Array.from(found.data, Number),
          dim: found.dims.at(-1) ?? 0,
        };
      },
    };
  } catch (error) {
    throw new ConfigError(`metric bertscore: ${folder}: ${(error as Error).message}`, { cause: error });
  } finally {
    Object.assign(env, { allowRemoteModels: before.allowRemoteModels, localModelPath: before.localModelPath });
  }
}

async function importPackage(): Promise<Transformers> {
  // In a variable: compilers and bundlers then do not ask for it.
  const name: string = PACKAGE;
  try {
    return (await import(/* @vite-ignore */ name)) as Transformers;
  } catch (error) {
    throw new ConfigError(
      `metric bertscore needs the package ${PACKAGE}, which is not installed or does not load: npm install ${PACKAGE}`,
      { cause: error },
    );
  }
}
