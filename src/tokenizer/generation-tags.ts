/** Macro name that stands for the `generation` tag, which the engine would drop. */
export const GENERATION = '__lowrank_generation__';

const TAG = /^([-+]?)\s*(end)?generation\s*([-+]?)$/;

/**
 * Spells `{% generation %}` … `{% endgeneration %}` (transformers' marks of what an assistant writes) as a call block,
 * which the engine parses with the same white space rules. Comments and texts within tags stay as they are.
 */
export function spellGenerationTags(source: string): string {
  let result = '';
  let copied = 0;
  let at = source.indexOf('{');
  while (at >= 0) {
    const opening = source.slice(at, at + 2);
    const end =
      opening === '{#'
        ? closing(source, source.indexOf('#}', at + 2))
        : opening === '{%'
          ? tagEnd(source, at + 2, '%}')
          : opening === '{{'
            ? tagEnd(source, at + 2, '}}')
            : at + 1;
    if (opening === '{%') {
      const tag = TAG.exec(source.slice(at + 2, end - 2));
      if (tag !== null) {
        const [, before = '', closes, after = ''] = tag;
        result += `${source.slice(copied, at)}{%${before} ${closes === undefined ? `call ${GENERATION}()` : 'endcall'} ${after}%}`;
        copied = end;
      }
    }
    at = source.indexOf('{', end);
  }
  return result + source.slice(copied);
}

function closing(source: string, at: number): number {
  return at < 0 ? source.length : at + 2;
}

/** Behind the end of a tag; texts in it may have the same letters. */
function tagEnd(source: string, from: number, end: string): number {
  for (let at = from; at < source.length; at++) {
    const char = source[at];
    if (char === "'" || char === '"') {
      at++;
      while (at < source.length && source[at] !== char) at += source[at] === '\\' ? 2 : 1;
    } else if (source.startsWith(end, at)) {
      return at + 2;
    }
  }
  return source.length;
}
