import type { Tokenizer } from '../tokenizer/tokenizer.js';

/**
 * Turns tokens into text as they come. All tokens so far are decoded each time, since a token's text depends on its
 * neighbours, and what may still change is held back: the bytes of an unfinished character.
 */
export class TextStream {
  private readonly tokens: number[] = [];
  private shown: string;

  /** @param prompt tokens before the first one; they are not shown again. */
  constructor(
    private readonly tokenizer: Pick<Tokenizer, 'decode'>,
    private readonly prompt: readonly number[] = [],
  ) {
    this.shown = this.decode();
  }

  /** The text that the token adds, possibly none yet. */
  push(token: number): string {
    this.tokens.push(token);
    const text = this.decode();
    return text.endsWith('\ufffd') ? '' : this.advance(text);
  }

  /** What was held back. */
  end(): string {
    return this.advance(this.decode());
  }

  private advance(text: string): string {
    const added = text.slice(this.shown.length);
    this.shown = text;
    return added;
  }

  private decode(): string {
    return this.tokenizer.decode([...this.prompt, ...this.tokens], { skipSpecialTokens: true });
  }
}

/** The text of generated tokens as it follows on their prompt: decoders strip a blank at the start of a text. */
export function decodeContinuation(
  tokenizer: Pick<Tokenizer, 'decode'>,
  prompt: readonly number[],
  tokens: readonly number[],
): string {
  const stream = new TextStream(tokenizer, prompt);
  return tokens.map((token) => stream.push(token)).join('') + stream.end();
}
