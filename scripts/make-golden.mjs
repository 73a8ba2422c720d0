#!/usr/bin/env node
/**
 * Copies the compact part of the reference numbers into test/golden, so that a clone is tested without the rest.
 * Usage: node scripts/make-golden.mjs <folder with the references> [part …]
 *
 * Small files are copied; of large outputs only the SHA-256 is kept (digests.json): these are numbers that must be met
 * bit for bit, and a digest says that as well as the bytes do.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * from: folder below the references; about: lines for the README beside the copy; copy(path, bytes): whether the file
 * is carried; digest(path): whether its SHA-256 is kept otherwise. Files that answer no to both are left out. keep: of
 * a safetensors file of that name only these tensors are carried.
 */
const PARTS = [
  {
    name: 'bitsandbytes',
    from: 'bitsandbytes',
    about: [
      'Quantised vectors, tables and serialised weights, made by running bitsandbytes 95f9af3 (MIT) on the CPU',
      'with torch 1.13 in float32. golden/index.json says what the vectors are. digests.json has the SHA-256 of larger outputs.',
    ],
    copy: (path, bytes) =>
      /(^|\/)input\.f32$|^golden\/[^/]+\.json$|^thresholds\.json$/.test(path) ||
      (!path.endsWith('.md') && !path.endsWith('.json') && bytes <= 12_500),
    digest: (path) => /\.(f32|bf16|u8)$/.test(path),
  },
  {
    name: 'transformers-peft',
    from: 'transformers-peft',
    about: [
      'Tiny random models with logits, losses, gradients and ten training steps, made by running transformers 5.18, peft 0.21',
      'and bitsandbytes 0.50 on the CPU in float32; generate.py made them. Other architectures and variants stay with the references.',
    ],
    copy: (path) =>
      path === 'generate.py' ||
      /^(gpt2|qwen3|llama_qlora\/hf4bit)\/(config|model)\.[a-z]+$/.test(path) ||
      (/^(gpt2|qwen3|llama_qlora)\/golden\/(base\.json|inputs|lora\/)/.test(path) &&
        !/micro_mean|unshifted|noclip|merged_layer0|bnb_merge|check_against/.test(path)),
    digest: () => false,
    keep: { 'outputs.safetensors': ['logits'] },
  },
];

const [references, ...chosen] = process.argv.slice(2);
if (references === undefined) {
  console.error('usage: node scripts/make-golden.mjs <folder with the references> [part …]');
  process.exit(2);
}
const golden = resolve(dirname(fileURLToPath(import.meta.url)), '../test/golden');
for (const part of PARTS.filter(({ name }) => chosen.length === 0 || chosen.includes(name))) {
  const from = join(references, part.from);
  const to = join(golden, part.name);
  rmSync(to, { recursive: true, force: true });
  const digests = {};
  let copied = 0;
  for (const path of filesBelow(from)) {
    const tensors = part.keep?.[basename(path)];
    const whole = readFileSync(join(from, path));
    const content = tensors === undefined ? whole : onlyTensors(whole, tensors);
    if (part.copy(path, content.length)) {
      mkdirSync(dirname(join(to, path)), { recursive: true });
      writeFileSync(join(to, path), content);
      copied += content.length;
    } else if (part.digest(path)) {
      digests[path] = createHash('sha256').update(content).digest('hex');
    }
  }
  writeFileSync(join(to, 'digests.json'), `${JSON.stringify(digests, null, 1)}\n`);
  const origin = `Made by \`node scripts/make-golden.mjs <references> ${part.name}\`; not to be edited.`;
  writeFileSync(join(to, 'README.md'), `# ${part.name}\n${[...part.about, '', origin].join('\n')}\n`);
  console.log(`${part.name}: ${copied} bytes copied, ${Object.keys(digests).length} digests`);
}

/** A safetensors file with some of another's tensors. */
function onlyTensors(file, names) {
  const headerBytes = Number(file.readBigUInt64LE(0));
  const { __metadata__, ...tensors } = JSON.parse(file.toString('utf8', 8, 8 + headerBytes));
  const data = [];
  const header = __metadata__ === undefined ? {} : { __metadata__ };
  let at = 0;
  for (const name of names) {
    const [begin, end] = tensors[name].data_offsets;
    header[name] = { ...tensors[name], data_offsets: [at, at + end - begin] };
    data.push(file.subarray(8 + headerBytes + begin, 8 + headerBytes + end));
    at += end - begin;
  }
  const json = JSON.stringify(header);
  const padded = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([size, padded, ...data]);
}

function filesBelow(folder, top = folder) {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? filesBelow(path, top) : [relative(top, path)];
    });
}
