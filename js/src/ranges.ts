/** What of a line's values the y axis shows: all of them, or all but a few far away. Pure functions. */

/** The ends of what is shown, and how many values lie beyond each. */
export interface Shown {
  readonly low: number;
  readonly high: number;
  readonly below: number;
  readonly above: number;
}

// Of fewer values none can be told to be exceptional.
const ENOUGH = 5;
// Of fewer than this one alone, and only if it is very far away: the first epoch of ten is often far from the others.
const MANY = 20;
const VERY_FAR = 30;
// The part of the values, at each end, that may be left out,
const FEW = 0.01;
// and how far they have to be away from all others, as multiples of the others' range.
const FAR = 1.5;
// What lies within this distance is no outlier.
const NEAR = 0.5;

/**
 * The range of a line that a few outliers do not ruin: at most one value in a hundred is left out at each end, and
 * only if it is farther away from the other 98 than one and a half times their range. Of 5 to 19 values one at each end
 * may be left out, if it is thirty times as far away. On a log scale distances are ratios.
 *
 * @param values - finite, and above zero if `log`; in any order
 */
export function robust(values: readonly number[], log: boolean): Shown {
  const sorted = Float64Array.from(values).sort();
  const n = sorted.length;
  const all = { low: sorted[0] ?? Infinity, high: sorted[n - 1] ?? -Infinity, below: 0, above: 0 };
  if (n < ENOUGH) return all;
  const far = n < MANY ? VERY_FAR : FAR;
  const scale = (value: number) => (log ? Math.log10(value) : value);
  const few = Math.max(1, Math.floor(n * FEW));
  const bottom = scale(sorted[few]!);
  const top = scale(sorted[n - 1 - few]!);
  const range = top - bottom;
  if (!(range > 0)) return all;
  let below = 0;
  let above = 0;
  if (bottom - scale(all.low) > far * range) while (scale(sorted[below]!) < bottom - NEAR * range) below++;
  if (scale(all.high) - top > far * range) while (scale(sorted[n - 1 - above]!) > top + NEAR * range) above++;
  return { low: sorted[below]!, high: sorted[n - 1 - above]!, below, above };
}
