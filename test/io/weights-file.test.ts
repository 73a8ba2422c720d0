import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/errors.js';
import { openCheckpoint } from '../../src/io/weights-file.js';
import { memoryDirectory } from '../../src/io/directory.js';
import { localDirectory } from '../../src/io/node.js';
import { encodeSafetensors, float32Tensor } from '../../src/io/safetensors.js';
import { describeReferences, referencePath } from '../support/references.js';

const INDEX = 'model.safetensors.index.json';
const shard = (names: string[], value: number, metadata?: Record<string, string>) =>
  encodeSafetensors(new Map(names.map((name) => [name, float32Tensor([1], Float32Array.of(value))])), metadata);
const index = (weightMap: unknown) => JSON.stringify({ metadata: { total_size: 12 }, weight_map: weightMap });

describe('openCheckpoint', () => {
  it('reads a single file', async () => {
    const checkpoint = await openCheckpoint(
      memoryDirectory('m', { 'model.safetensors': shard(['a', 'b'], 5, { format: 'pt' }) }),
    );
    expect(checkpoint.names()).toEqual(['a', 'b']);
    expect(checkpoint.info('a')).toEqual({ dtype: 'F32', shape: [1] });
    expect(checkpoint.has('c')).toBe(false);
    expect(checkpoint.metadata).toEqual({ format: 'pt' });
    expect([...(await checkpoint.readFloat32('b'))]).toEqual([5]);
    await expect(checkpoint.read('c')).rejects.toThrow(/m: no tensor "c"/);
    expect(() => checkpoint.info('c')).toThrow(FormatError);
    await checkpoint.close();
  });

  it('reads shards behind one interface', async () => {
    const checkpoint = await openCheckpoint(
      memoryDirectory('m', {
        [INDEX]: index({ a: '1.safetensors', b: '2.safetensors', c: '1.safetensors' }),
        '1.safetensors': shard(['a', 'c'], 1),
        '2.safetensors': shard(['b', 'unlisted'], 2, { format: 'pt' }),
      }),
    );
    expect(checkpoint.names()).toEqual(['a', 'b', 'c']);
    expect([...(await checkpoint.readFloat32('c'))]).toEqual([1]);
    expect([...(await checkpoint.readFloat32('b'))]).toEqual([2]);
    expect(checkpoint.metadata).toEqual({ format: 'pt' });
  });

  it('names missing shards and misplaced tensors, all at once', async () => {
    const opening = openCheckpoint(
      memoryDirectory('m', {
        [INDEX]: index({ a: '1.safetensors', b: '1.safetensors', c: '3.safetensors' }),
        '1.safetensors': shard(['a'], 1),
      }),
    );
    await expect(opening).rejects.toThrow(
      /m\/model\.safetensors\.index\.json[^]*shard 3\.safetensors: missing[^]*tensor "b": not in shard 1\.safetensors/,
    );
  });

  it.each([
    '../secret.safetensors',
    '/etc/x.safetensors',
    'a/../../x.safetensors',
    'C:\\x.safetensors',
    '..\\x.safetensors',
    'a//x.safetensors',
    './x.safetensors',
    'weights.bin',
    7,
  ])('refuses the path %s', async (path) => {
    const opening = openCheckpoint(memoryDirectory('m', { [INDEX]: index({ a: path }) }));
    await expect(opening).rejects.toThrow(FormatError);
    await expect(opening).rejects.toThrow(/weight_map\.a: found .*, allowed a \.safetensors file inside the folder/);
  });

  it('refuses broken indices', async () => {
    const opening = (text: string) => openCheckpoint(memoryDirectory('m', { [INDEX]: text }));
    await expect(opening('{"weight_map":')).rejects.toThrow(/index\.json:1:15: not JSON: the file ends/);
    await expect(opening('{}')).rejects.toThrow(/weight_map: found none/);
    await expect(opening('{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}')).rejects.toThrow(
      /key "a": occurs twice/,
    );
  });

  it('says what it looked for, and that a pickle is no help', async () => {
    await expect(openCheckpoint(memoryDirectory('m', {}))).rejects.toThrow(/m: found neither model\.safetensors nor/);
    await expect(openCheckpoint(memoryDirectory('m', { 'pytorch_model.bin': '' }))).rejects.toThrow(
      /pytorch_model\.bin is a pickle/,
    );
  });
});

describeReferences('real models', 'models', () => {
  it('shows the alias of a model that stores only its output layer', async () => {
    const checkpoint = await openCheckpoint(localDirectory(referencePath('models/tinystories-656k')));
    expect(checkpoint.has('model.embed_tokens.weight')).toBe(false);
    expect(checkpoint.metadata['model.embed_tokens.weight']).toBe('lm_head.weight');
    expect(checkpoint.info('lm_head.weight')).toEqual({ dtype: 'F32', shape: [2048, 128] });
    expect(await checkpoint.readFloat32('lm_head.weight')).toHaveLength(2048 * 128);
    await checkpoint.close();
  });
});
