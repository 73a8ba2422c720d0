/** How the values of a metric are written for people. Files that programs read keep the values as they are. */
export interface MetricScale {
  /** A share of 1, shown in percent; a percentage already; or a scale of its own, shown as it is. */
  readonly unit: 'share' | 'percent' | 'own';
  readonly lowerIsBetter: boolean;
}

const share: MetricScale = { unit: 'share', lowerIsBetter: false };
const percent: MetricScale = { unit: 'percent', lowerIsBetter: false };
const own: MetricScale = { unit: 'own', lowerIsBetter: false };
const lower = (scale: MetricScale): MetricScale => ({ ...scale, lowerIsBetter: true });

/** The scale of every metric of evaluation tasks and of the loss on retained rows. */
export const METRIC_SCALES: Readonly<Record<string, MetricScale>> = {
  rouge1: share,
  rouge2: share,
  rougeL: share,
  rougeLsum: share,
  rouge1_stem: share,
  rouge2_stem: share,
  rougeL_stem: share,
  rougeLsum_stem: share,
  bleu: percent,
  chrf: percent,
  'chrf++': percent,
  ter: lower(percent),
  e2e_bleu: share,
  e2e_nist: own,
  e2e_rougeL: share,
  e2e_cider: own,
  meteor: share,
  exact_match: share,
  token_f1: share,
  number_match: share,
  accuracy: share,
  matthews: own,
  macro_f1: share,
  pearson: own,
  spearman: own,
  bertscore_precision: share,
  bertscore_recall: share,
  bertscore_f1: share,
  accuracy_norm: share,
  mc1: share,
  mc2: share,
  calibration_error: lower(share),
  loss: lower(own),
  perplexity: lower(own),
  bits_per_byte: lower(own),
  retain_loss: lower(own),
};

/** The F1 of a class has the label in its name. */
const CLASS_F1 = /(?:^|\/)f1_/;

/** @param metric its name, or `task/name`. One that is not in the table is shown as it is. */
export function scaleOf(metric: string): MetricScale {
  const name = metric.slice(metric.lastIndexOf('/') + 1);
  return Object.hasOwn(METRIC_SCALES, name)
    ? (METRIC_SCALES[name] as MetricScale)
    : CLASS_F1.test(metric)
      ? share
      : own;
}

/** Which way is better, by the name of the metric. */
export function lowerIsBetter(metric: string): boolean {
  return scaleOf(metric).lowerIsBetter;
}

/** A value or a difference as it is shown: shares in percent, their differences in percentage points. */
export function onShownScale(metric: string, value: number): number {
  return scaleOf(metric).unit === 'share' ? 100 * value : value;
}

/** The title of what holds its values: `rouge1 (%)`, `ter (%) ↓`, `loss ↓`; the arrow where lower is better. */
export function metricTitle(metric: string): string {
  const { unit, lowerIsBetter: isLower } = scaleOf(metric);
  return `${metric}${unit === 'own' ? '' : ' (%)'}${isLower ? ' ↓' : ''}`;
}
