import { crc32c } from './crc32c.js';

/** Bytes of a record beside its data: length and its checksum before it, the checksum of the data behind. */
const [HEADER, FOOTER] = [12, 4];

/**
 * Data as a TFRecord: its length (uint64), the masked CRC-32C of the length, the data, its masked CRC-32C; all
 * little-endian. Source: TensorFlow's guide "TFRecord and tf.train.Example", section "TFRecords format details".
 */
export function tfRecord(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(HEADER + data.length + FOOTER);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc(record.subarray(0, 8)), true);
  record.set(data, HEADER);
  view.setUint32(HEADER + data.length, maskedCrc(data), true);
  return record;
}

/**
 * The data of the records of a file, up to the first that is cut short or not what its checksums say: what a crash
 * leaves is its end.
 */
export function readTfRecords(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const records: Uint8Array[] = [];
  for (let at = 0; at + HEADER + FOOTER <= file.length;) {
    const length = Number(view.getBigUint64(at, true));
    const end = at + HEADER + length;
    if (view.getUint32(at + 8, true) !== maskedCrc(file.subarray(at, at + 8)) || end + FOOTER > file.length) break;
    const data = file.subarray(at + HEADER, end);
    if (view.getUint32(end, true) !== maskedCrc(data)) break;
    records.push(data);
    at = end + FOOTER;
  }
  return records;
}

/** ((crc ≫ 15) | (crc ≪ 17)) + 0xA282EAD8 mod 2³²: a checksum of data that holds checksums would be weak. */
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
