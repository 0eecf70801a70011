/** What uPlot lacks in scales: room around the lines, ticks at 1, 2, 5 of a log scale, one format for an axis. */
import { count } from "../format";

// The least room between two ticks of the y axis, in pixels.
export const ROOM_Y = 25;
// Part of the range left free above and below the lines.
const MARGIN = 0.05;

/** The distances that ticks may have: 1, 2, 5, 10 ..., from 1e-32 on, which is as small as uPlot's arithmetic goes. */
export const STEPS: number[] = Array.from({ length: 3 * 340 }, (_, k) =>
  Number(`${[1, 2, 5][k % 3]}e${Math.floor(k / 3) - 32}`),
);
export const WHOLE_STEPS = STEPS.filter((step) => step >= 1);

/** The ends of a scale that shows the values from `low` to `high`. */
export function padded(low: number, high: number, log: boolean): [number, number] {
  if (!(low <= high)) return [0, 1];
  if (log) {
    const [min, max] = widened(Math.log10(low), Math.log10(high), 0.15);
    // A loss that runs away passes through 1e300 on its way to infinity.
    return [Math.max(10 ** min, Number.MIN_VALUE), Math.min(10 ** max, Number.MAX_VALUE)];
  }
  return widened(low, high, Math.abs(low) * 0.05 || 0.5);
}

function widened(low: number, high: number, ifFlat: number): [number, number] {
  // Closer than this, values differ by rounding alone, and ticks between them would have no labels of their own.
  const flat = high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high));
  const room = flat ? ifFlat : (high - low) * MARGIN;
  return [low - room, high + room];
}

/**
 * The end of the x axis of a run that goes on: a little ahead of the newest point, in eighths of the range's
 * power of two. The plot then rests between its steps instead of creeping with every batch.
 */
export function roomAhead(start: number, end: number): number {
  const span = end - start;
  if (!(span > 0)) return start + 1;
  const quantum = 2 ** Math.floor(Math.log2(span)) / 8;
  return start + Math.ceil(span / quantum - 1e-9) * quantum;
}

/**
 * Ticks of a log scale.
 *
 * @param height - of the plot in pixels
 * @param step - the distance that ticks of a linear scale would have here
 */
export function logTicks(min: number, max: number, height: number, step: number): number[] {
  const ticks: number[] = [];
  const room = height / (Math.log10(max) - Math.log10(min));
  if (height < 0.8 * room) {
    // Within one decade, round numbers at even distances read better than 1, 2, 5.
    for (let k = Math.ceil(min / step); k * step <= max; k++) ticks.push(Number((k * step).toPrecision(12)));
    return ticks;
  }
  // The closest pair of 1, 2, 5 is log10(2) apart.
  const mantissas = 0.3 * room >= 0.7 * ROOM_Y ? [1, 2, 5] : [1];
  const every = Math.ceil(ROOM_Y / room);
  for (let exponent = Math.floor(Math.log10(min)); 10 ** exponent <= max; exponent++) {
    if (exponent % every !== 0) continue;
    for (const mantissa of mantissas) {
      const tick = Number(`${mantissa}e${exponent}`);
      if (tick >= min && tick <= max) ticks.push(tick);
    }
  }
  return ticks;
}

/** The labels of one axis, all in one format: plain or with an exponent, with equally many decimals. */
export function tickLabels(ticks: readonly number[]): string[] {
  const sizes = ticks.filter((tick) => tick !== 0).map(Math.abs);
  const exponents = Math.max(...sizes) >= 1e6 || Math.min(...sizes) < 1e-3;
  const decimals = ticks.map((tick) => {
    const text = exponents ? tick.toExponential() : String(tick);
    return /\.(\d+)/.exec(text)?.[1]?.length ?? 0;
  });
  const most = Math.max(0, ...decimals);
  return ticks.map((tick) => {
    if (exponents) return tick === 0 ? "0" : tick.toExponential(most).replace("e+", "e");
    return most === 0 ? count(tick) : tick.toFixed(most);
  });
}
