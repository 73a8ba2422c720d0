import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

type Fields = (writer: BinaryWriter) => unknown;

function message(field: number, content: Fields): Fields {
  return (writer) => {
    writer.tag(field, WireType.LengthDelimited).fork();
    content(writer);
    return writer.join();
  };
}
const all =
  (...parts: Fields[]): Fields =>
  (writer) =>
    parts.forEach((part) => part(writer));
const text =
  (field: number, value: string): Fields =>
  (writer) =>
    writer.tag(field, WireType.LengthDelimited).string(value);
const integer =
  (field: number, value: number): Fields =>
  (writer) =>
    writer.tag(field, WireType.Varint).int64(value);
const bytes =
  (field: number, value: Uint8Array): Fields =>
  (writer) =>
    writer.tag(field, WireType.LengthDelimited).bytes(value);

// Field numbers of onnx.proto.
const attribute = (name: string, type: number, field: number, value: number): Fields =>
  message(5, all(text(1, name), integer(field, value), integer(20, type)));
const node = (op: string, inputs: readonly string[], output: string, ...attributes: Fields[]): Fields =>
  message(1, all(...inputs.map((name) => text(1, name)), text(2, output), text(4, op), ...attributes));
const tensorType = (field: number, name: string, type: number, dims: readonly (string | number)[]): Fields =>
  message(
    field,
    all(
      text(1, name),
      message(
        2,
        message(
          1,
          all(
            integer(1, type),
            message(2, all(...dims.map((dim) => message(1, typeof dim === 'string' ? text(2, dim) : integer(1, dim))))),
          ),
        ),
      ),
    ),
  );

/**
 * Writes an encoder of words in ONNX: layer 1 is the vector of each token, layer 2, the last, adds the mean over the
 * text.
 * @param words their vectors; [UNK], [CLS] and [SEP] among them.
 */
export async function writeTinyEncoder(
  folder: string,
  words: Readonly<Record<string, readonly number[]>>,
): Promise<void> {
  const vectors = Object.values(words);
  const dim = vectors[0]?.length ?? 0;
  const [FLOAT, INT64, INT, INTS] = [1, 7, 2, 7];
  const hidden = ['batch', 'sequence', dim];
  const graph = all(
    node('Gather', ['embedding', 'input_ids'], 'hidden_states.1'),
    node('ReduceMean', ['hidden_states.1'], 'mean', attribute('axes', INTS, 8, 1), attribute('keepdims', INT, 3, 1)),
    node('Add', ['hidden_states.1', 'mean'], 'last_hidden_state'),
    text(2, 'encoder'),
    message(
      5,
      all(
        integer(1, vectors.length),
        integer(1, dim),
        integer(2, FLOAT),
        text(8, 'embedding'),
        bytes(9, new Uint8Array(Float32Array.from(vectors.flat()).buffer)),
      ),
    ),
    tensorType(11, 'input_ids', INT64, ['batch', 'sequence']),
    tensorType(12, 'hidden_states.1', FLOAT, hidden),
    tensorType(12, 'last_hidden_state', FLOAT, hidden),
  );
  const writer = new BinaryWriter();
  all(integer(1, 8), message(7, graph), message(8, integer(2, 13)))(writer);
  const vocab = Object.fromEntries(Object.keys(words).map((word, id) => [word, id]));
  const special = ['[UNK]', '[CLS]', '[SEP]'];
  const tokenizer = {
    version: '1.0',
    added_tokens: special.map((content) => ({
      id: vocab[content],
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: { type: 'BertProcessing', sep: ['[SEP]', vocab['[SEP]']], cls: ['[CLS]', vocab['[CLS]']] },
    decoder: null,
    model: { type: 'WordLevel', vocab, unk_token: '[UNK]' },
  };
  await mkdir(join(folder, 'onnx'), { recursive: true });
  await writeFile(join(folder, 'onnx/model.onnx'), writer.finish());
  await writeFile(
    join(folder, 'config.json'),
    JSON.stringify({ model_type: 'bert', num_hidden_layers: 2, hidden_size: dim }),
  );
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  await writeFile(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({
      tokenizer_class: 'PreTrainedTokenizerFast',
      model_max_length: 64,
      unk_token: '[UNK]',
      cls_token: '[CLS]',
      sep_token: '[SEP]',
    }),
  );
}
