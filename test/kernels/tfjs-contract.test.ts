import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import '../../kernels/index.js';
import { withTape, type TapeNode } from '../../kernels/tfjs/engine.js';
import { describeBackends, type TestBackend } from '../support/backends.js';
import { TFJS_MEMBERS } from '../../scripts/eslint-tfjs.js';

type Owner = keyof typeof TFJS_MEMBERS;

const MEMBERS: Readonly<Record<Owner, Readonly<Record<string, readonly string[]>>>> = TFJS_MEMBERS;

/** A sentence for each member that `owner` lacks, or that has another type. */
function missingMembers(name: Owner, owner: object): string[] {
  return Object.entries(MEMBERS[name]).flatMap(([member, [type = '', user]]) => {
    const value: unknown = Reflect.get(owner, member);
    const absent = value === undefined || value === null;
    if (type.endsWith('?') ? isDeclared(owner, member) : !absent && typeof value === type) return [];
    const found = absent ? 'is missing' : `is of type ${typeof value} and not ${type}`;
    return [`\`${member}\` of tfjs's ${name} ${found} in version ${tf.version_core}; it is used for ${user}.`];
  });
}

/** Whether an object has a member, or its class's methods use one that has no value yet. */
function isDeclared(owner: object, member: string): boolean {
  if (member in owner) return true;
  const prototype = Object.getPrototypeOf(owner) as object;
  const methods = Object.values(Object.getOwnPropertyDescriptors(prototype)).map(({ value }) => String(value));
  return methods.some((text) => text.includes(`this.${member}`));
}

/** A tape with the node of an op that saves its inputs. */
function tapeNode(): TapeNode {
  const tape: TapeNode[] = [];
  withTape(tape, () => tf.tidy(() => tf.mul(tf.ones([2]), tf.ones([2])))).dispose();
  const node = tape.find(({ kernelName }) => kernelName === tf.Multiply);
  for (const { saved } of tape) tf.dispose(saved ?? []);
  if (node === undefined) throw new Error("tfjs's engine records no operation on the tape that is active");
  return node;
}

/** The entry of a tensor that `make` makes in a backend's map of tensors. */
function entryOf(backend: object, map: string, make: () => tf.Tensor): object {
  const tensor = tf.tidy(make);
  const entry = { ...(Reflect.get(backend, map) as Map<object, object>).get(tensor.dataId) };
  tensor.dispose();
  return entry;
}

const OWNERS: Readonly<Record<Exclude<TestBackend, 'tiles'>, (backend: object) => Partial<Record<Owner, object>>>> = {
  cpu: () => ({}),
  wasm: (backend) => ({
    wasm: backend,
    'wasm.wasm': Reflect.get(backend, 'wasm') as object,
    'wasm.dataIdMap entry': entryOf(backend, 'dataIdMap', () => tf.ones([2])),
  }),
  webgpu: (backend) => ({
    webgpu: backend,
    'webgpu.bufferManager': Reflect.get(backend, 'bufferManager') as object,
    'webgpu.tensorMap entry': entryOf(backend, 'tensorMap', () => tf.add(tf.ones([2]), 1)),
  }),
};

describeBackends('private members of TensorFlow.js', ['cpu', 'wasm', 'webgpu'], (backend) => {
  it('are all there', () => {
    const engine = tf.engine();
    const owners: Partial<Record<Owner, object>> = {
      engine,
      'engine.state': engine.state,
      'tape node': tapeNode(),
      ...OWNERS[backend](tf.backend()),
    };
    const sentences = Object.entries(owners).flatMap(([name, owner]) => missingMembers(name as Owner, owner));
    expect(sentences).toEqual([]);
  });
});

it('a missing member is named with its user in one sentence', () => {
  expect(missingMembers('wasm.dataIdMap entry', {})).toEqual([
    `\`memoryOffset\` of tfjs's wasm.dataIdMap entry is missing in version ${tf.version_core}; it is used for addresses of tensors for WASM kernels (wasm.ts).`,
  ]);
});

it('docs/tensorflow.md names every member', () => {
  const page = readFileSync('docs/tensorflow.md', 'utf8');
  const names = Object.values(MEMBERS).flatMap((members) => Object.keys(members));
  expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
});
