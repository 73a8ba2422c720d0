const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [OPEN_LIST, CLOSE_LIST, OPEN, CLOSE] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Follows strings and brackets of JSON, byte by byte. */
export class JsonStructure {
  /** Brackets that are open. */
  depth = 0;
  inString = false;
  private escaped = false;

  /** @returns whether the byte belongs to no string, nor is a quote. */
  step(byte: number): boolean {
    if (this.inString) {
      if (this.escaped) this.escaped = false;
      else if (byte === BACKSLASH) this.escaped = true;
      else if (byte === QUOTE) this.inString = false;
      return false;
    }
    if (byte === QUOTE) {
      this.inString = true;
      return false;
    }
    if (byte === OPEN || byte === OPEN_LIST) this.depth++;
    else if (byte === CLOSE || byte === CLOSE_LIST) this.depth--;
    return true;
  }
}
