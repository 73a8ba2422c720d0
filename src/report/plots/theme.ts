/**
 * Colours of series: those of Okabe and Ito, made darker on white and lighter on black until 3:1 is held against the
 * ground.
 */
const LIGHT = ['#0072b2', '#d55e00', '#00815d', '#b0528a', '#8a6a00', '#2b7fb8', '#555555', '#a33b00'];
const DARK = ['#56b4e9', '#ff9b52', '#2bd1a0', '#e79bc7', '#f0e442', '#9ad0f5', '#bbbbbb', '#ffc08a'];

/** What tells series apart where colours do not. */
const DASHES = ['none', '7 3', '2 3', '9 3 2 3', '12 4', '4 4', '1 4', '6 2 1 2 1 2'];
const SYMBOLS = ['circle', 'triangle', 'square', 'diamond', 'star', 'wye', 'cross', 'hexagon'] as const;

export interface SeriesStyle {
  readonly color: string;
  readonly dash: string;
  readonly symbol: (typeof SYMBOLS)[number];
}

/** The look of the `index`-th series; colours come round later than dashes do. */
export function seriesStyle(index: number): SeriesStyle {
  const turn = Math.floor(index / LIGHT.length);
  return {
    color: `var(--series-${index % LIGHT.length})`,
    dash: DASHES[(index + turn) % DASHES.length] as string,
    symbol: SYMBOLS[(index + turn) % SYMBOLS.length] as (typeof SYMBOLS)[number],
  };
}

const variables = (colors: readonly string[], ink: string, ground: string, faint: string): string =>
  [
    `--ink: ${ink}`,
    `--ground: ${ground}`,
    `--faint: ${faint}`,
    ...colors.map((color, i) => `--series-${i}: ${color}`),
  ].join('; ');

const LIGHT_VARIABLES = variables(LIGHT, '#1b1f24', '#ffffff', '#d5d9de');
const DARK_VARIABLES = variables(DARK, '#e6e8eb', '#14171b', '#3b4148');

/** Custom properties of the element `root` in both modes; paper is white. */
export function themeStyle(root: string): string {
  return [
    `${root} { color-scheme: light dark; ${LIGHT_VARIABLES} }`,
    `@media screen and (prefers-color-scheme: dark) { ${root} { ${DARK_VARIABLES} } }`,
  ].join('\n');
}

/** Plot has a background of its own behind halos of text. */
export const PLOT_STYLE = 'svg { color: var(--ink); --plot-background: var(--ground) }';

/** A drawing as a file that stands alone. */
export function standalone(svg: string): string {
  const style = `<style>${themeStyle('svg')}\n${PLOT_STYLE}\nsvg { background: var(--ground) }</style>`;
  return `${svg.replace(/^<svg/, '<svg xmlns="http://www.w3.org/2000/svg"').replace('>', `>${style}`)}\n`;
}
