const BEAM_WIDTH = 25;

/**
 * What happens to a word of the hypothesis (`delete`, `substitute`, `keep`), or a word of the reference that is put in.
 */
export type Edit = 'keep' | 'substitute' | 'delete' | 'insert';

/**
 * Levenshtein distance from hypothesis to reference with one of its shortest paths, searched within a band around the
 * diagonal. Among equal costs a substitution goes before a deletion before an insertion: the order decides which shifts
 * TER tries.
 */
export function editTrace(
  hypothesis: readonly string[],
  reference: readonly string[],
): { distance: number; edits: Edit[] } {
  const [rows, columns] = [hypothesis.length, reference.length];
  const width = columns + 1;
  const cost = new Float64Array((rows + 1) * width).fill(Infinity);
  const step = new Array<Edit>((rows + 1) * width).fill('insert');
  for (let j = 0; j <= columns; j++) cost[j] = j;
  const slope = rows > 0 ? columns / rows : 1;
  const beam = BEAM_WIDTH < slope / 2 ? Math.ceil(slope / 2 + BEAM_WIDTH) : BEAM_WIDTH;
  for (let i = 1; i <= rows; i++) {
    const diagonal = Math.floor(i * slope);
    const end = i === rows ? columns + 1 : Math.min(columns + 1, diagonal + beam);
    for (let j = Math.max(0, diagonal - beam); j < end; j++) {
      const at = i * width + j;
      const consider = (value: number, edit: Edit): void => {
        if (value >= (cost[at] as number)) return;
        cost[at] = value;
        step[at] = edit;
      };
      const same = hypothesis[i - 1] === reference[j - 1];
      if (j > 0) consider((cost[at - width - 1] as number) + (same ? 0 : 1), same ? 'keep' : 'substitute');
      consider((cost[at - width] as number) + 1, 'delete');
      if (j > 0) consider((cost[at - 1] as number) + 1, 'insert');
    }
  }
  const edits: Edit[] = [];
  for (let [i, j] = [rows, columns]; i > 0 || j > 0;) {
    const edit = i === 0 ? 'insert' : (step[i * width + j] as Edit);
    edits.push(edit);
    if (edit !== 'insert') i--;
    if (edit !== 'delete') j--;
  }
  return { distance: cost[rows * width + columns] as number, edits: edits.reverse() };
}
