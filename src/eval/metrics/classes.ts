/**
 * F1 of one class, 2·TP / (2·TP + FP + FN), in [0, 1]; 0 where it is neither predicted nor true.
 * What GLUE reports of MRPC and QQP.
 */
export function classF1<T>(predictions: readonly T[], labels: readonly T[], positive: T): number {
  if (predictions.length !== labels.length)
    throw new RangeError(`${predictions.length} predictions for ${labels.length} labels`);
  let [both, predicted, actual] = [0, 0, 0];
  labels.forEach((label, i) => {
    if (predictions[i] === positive) predicted++;
    if (label === positive) actual++;
    if (label === positive && predictions[i] === positive) both++;
  });
  return both === 0 ? 0 : (2 * both) / (predicted + actual);
}

/**
 * The mean of the F1 of every class that is predicted or true, each with the same weight, in [0, 1]; NaN for no items.
 * A prediction that is no class (undefined) is wrong, and has no F1 of its own. What SuperGLUE reports of CB.
 */
export function macroF1<T>(predictions: readonly (T | undefined)[], labels: readonly (T | undefined)[]): number {
  const classes = [...new Set([...predictions, ...labels])].filter((value) => value !== undefined);
  return classes.reduce((sum, value) => sum + classF1(predictions, labels, value), 0) / classes.length;
}
