import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/io/crc32c.js';
import { encodeEvent } from '../../src/io/tensorboard.js';
import { readTfRecords, tfRecord } from '../../src/io/tfrecord.js';
import { bitwiseCrc, readEvents } from '../support/tfevents.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('CRC-32C', () => {
  it('has the values of RFC 3720 and of the usual check', () => {
    expect(crc32c(bytes('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(0))).toBe(0);
    // RFC 3720, B.4: zeros, ones, rising and falling bytes.
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
  });

  it('equals a division bit by bit', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (data) => crc32c(data) === bitwiseCrc(data)));
  });
});

describe('TFRecords', () => {
  it('are read back up to what a crash has cut off, or something has changed', () => {
    const records = [bytes('one'), new Uint8Array(0), bytes('three')];
    const file = Buffer.concat(records.map(tfRecord));
    const text = (read: readonly Uint8Array[]): string[] => read.map((data) => new TextDecoder().decode(data));
    expect(text(readTfRecords(file))).toEqual(['one', '', 'three']);
    for (let length = 0; length < file.length; length++) {
      const whole = [19, 35].filter((end) => end <= length).length;
      expect(readTfRecords(file.subarray(0, length))).toHaveLength(whole);
    }
    const changed = Buffer.from(file);
    changed[12] = 0;
    expect(readTfRecords(changed)).toEqual([]);
    // A length that is wrong is not believed.
    changed.set(file);
    changed[0] = 2;
    expect(readTfRecords(changed)).toEqual([]);
  });
});

describe('events', () => {
  it('hold steps, scalars and texts where their definition says', () => {
    const events = [
      { wallTime: 1.5e9, fileVersion: 'brain.Event:2' },
      { wallTime: 1.5e9 + 0.25, step: 2 ** 40, scalars: { 'train/loss': 0.5, 'eval/loss': -2 } },
      { wallTime: 1.6e9, step: 7, texts: { 'args/text_summary': '    r: 8\n    ü: 1' } },
      { wallTime: 1.7e9, step: 8, restarts: true },
    ];
    const none = { step: 0, starts: false, scalars: {}, texts: {} };
    expect(readEvents(Buffer.concat(events.map((event) => tfRecord(encodeEvent(event)))))).toEqual([
      { ...none, wallTime: 1.5e9, version: 'brain.Event:2' },
      { ...none, wallTime: 1.5e9 + 0.25, step: 2 ** 40, scalars: { 'train/loss': 0.5, 'eval/loss': -2 } },
      { ...none, wallTime: 1.6e9, step: 7, texts: { 'args/text_summary': '    r: 8\n    ü: 1' } },
      { ...none, wallTime: 1.7e9, step: 8, starts: true },
    ]);
  });
});
