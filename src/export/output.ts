/** A file to write, relative to the folder that is exported to. Large ones come in parts, made as they are written. */
export interface OutputFile {
  readonly path: string;
  readonly content: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Of content that comes in parts, near enough to know whether there is room. */
  readonly bytes?: number;
}
