/**
 * Whether an expression may backtrack more than linearly often; true where it only looks so: a repeat within a repeated
 * group, a back-reference or three repeats in a row, `(a+)+$` say.
 */
export function mayBacktrack(source: string): boolean {
  if (/\\[1-9k]/.test(source)) return true;
  const atoms = source.replace(/\\[pP]\{[^{}]*\}|\\[\s\S]/g, 'x').replace(/\[[^[\]]*\]/g, 'x');
  if (/\)(?:[*+]|\{[\d,]+\})/.test(atoms)) return true;
  return atoms.split('|').some((alternative) => (alternative.match(/[*+]|\{\d+,\d*\}/g) ?? []).length > 2);
}
