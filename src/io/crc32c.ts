/** CRC-32C by byte, of Castagnoli's polynomial 0x1EDC6F41, bits reversed. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? 0x82f63b78 ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

/** The CRC-32C of some bytes, in [0, 2³²). Source: RFC 3720, appendix B.4. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
