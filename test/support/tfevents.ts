import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What a reader finds in an event. */
export interface ReadEvent {
  readonly wallTime: number;
  readonly step: number;
  readonly version?: string;
  readonly starts: boolean;
  readonly scalars: Record<string, number>;
  readonly texts: Record<string, string>;
}

type Field = { readonly number: number } & ({ readonly value: bigint } | { readonly bytes: Buffer });

/**
 * A reader of event files made from the description of the format alone. @throws Error where a checksum or a length is
 * wrong.
 */
export function readEvents(file: Buffer): ReadEvent[] {
  const events: ReadEvent[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(file.readBigUInt64LE(at));
    const data = file.subarray(at + 12, at + 12 + length);
    if (data.length !== length) throw new Error('cut short');
    if (unmasked(file.readUInt32LE(at + 8)) !== bitwiseCrc(file.subarray(at, at + 8)))
      throw new Error('checksum of a length');
    if (unmasked(file.readUInt32LE(at + 12 + length)) !== bitwiseCrc(data)) throw new Error('checksum of data');
    events.push(readEvent(data));
    at += 16 + length;
  }
  return events;
}

/** The events of all files in a folder, file after file. */
export async function readEventFolder(folder: string): Promise<ReadEvent[]> {
  const names = (await readdir(folder)).sort();
  for (const name of names)
    if (!/^events\.out\.tfevents\.\d{10}\.[\w.-]+$/.test(name)) throw new Error(`${name}: no name of an event file`);
  return (await Promise.all(names.map(async (name) => readEvents(await readFile(join(folder, name)))))).flat();
}

/** [step, value] of a tag. */
export function scalarOf(events: readonly ReadEvent[], tag: string): [number, number][] {
  return events.flatMap(({ step, scalars }): [number, number][] =>
    scalars[tag] === undefined ? [] : [[step, scalars[tag]]],
  );
}

/** CRC-32C as the remainder of a division, bit by bit. */
export function bitwiseCrc(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  return Number(crc ^ 0xffffffffn);
}

/** The other way round than it is written: minus the constant, then turned left by 15. */
function unmasked(masked: number): number {
  const turned = (BigInt(masked) + (1n << 32n) - 0xa282ead8n) & 0xffffffffn;
  return Number(((turned << 15n) | (turned >> 17n)) & 0xffffffffn);
}

function readEvent(data: Buffer): ReadEvent {
  const fields = readFields(data);
  const values = all(fields, 5).flatMap((summary) => all(readFields(summary), 1).map(readFields));
  const version = all(fields, 3)[0]?.toString();
  return {
    wallTime: (all(fields, 1)[0] as Buffer).readDoubleLE(0),
    step: number(fields, 2),
    ...(version === undefined ? {} : { version }),
    starts: all(fields, 7).some((log) => number(readFields(log), 1) === 1),
    scalars: Object.fromEntries(
      values.flatMap((value) => all(value, 2).map((float) => [tagOf(value), float.readFloatLE(0)])),
    ),
    texts: Object.fromEntries(
      values.flatMap((value) =>
        plugin(value) === 'text'
          ? [[tagOf(value), all(readFields(all(value, 8)[0] as Buffer), 8)[0]?.toString() ?? '']]
          : [],
      ),
    ),
  };
}

function tagOf(value: readonly Field[]): string {
  return all(value, 1)[0]?.toString() ?? '';
}

function plugin(value: readonly Field[]): string | undefined {
  const [metadata] = all(value, 9);
  const [data] = metadata === undefined ? [] : all(readFields(metadata), 1);
  return data === undefined ? undefined : all(readFields(data), 1)[0]?.toString();
}

function readFields(data: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = data.readUInt8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < data.length) {
    const key = Number(varint());
    const type = key & 7;
    if (type === 0) {
      fields.push({ number: key >> 3, value: varint() });
      continue;
    }
    const size = type === 1 ? 8 : type === 5 ? 4 : type === 2 ? Number(varint()) : NaN;
    if (!(at + size <= data.length)) throw new Error(`field ${key >> 3} of wire type ${type}`);
    fields.push({ number: key >> 3, bytes: data.subarray(at, at + size) });
    at += size;
  }
  return fields;
}

function all(fields: readonly Field[], wanted: number): Buffer[] {
  return fields.flatMap((field) => (field.number === wanted && 'bytes' in field ? [field.bytes] : []));
}

function number(fields: readonly Field[], wanted: number): number {
  return fields.reduce(
    (found, field) => (field.number === wanted && 'value' in field ? Number(field.value) : found),
    0,
  );
}
