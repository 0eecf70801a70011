/**
 * Ranges and ticks.
 *
 * uPlot's scales stay linear; a log axis is made here, by placing every value at its logarithm. So one scale
 * serves both, and switching costs a redraw, not a new plot.
 */
import { count } from "../format";

/** A tick: where it stands on the scale, and its label. */
export interface Tick {
  readonly at: number;
  readonly label: string;
}

/** The vertical axis of a panel. */
export interface ValueAxis {
  /** The scale's ends. */
  readonly min: number;
  readonly max: number;
  /** Where a value stands on the scale; NaN if the axis cannot show it. */
  place(value: number): number;
  /** Ticks for a plot of this height in pixels. */
  ticks(height: number): Tick[];
}

// The least room between two ticks, in pixels.
const ROOM_Y = 25;
const ROOM_X = 56;
// Part of the range left free above and below the lines.
const MARGIN = 0.05;

/** A linear axis over the values from `low` to `high`. */
export function linearAxis(low: number, high: number): ValueAxis {
  const [min, max] = widened(low, high, Math.abs(low) * 0.05 || 0.5);
  return {
    min,
    max,
    place: (value) => value,
    ticks: (height) => {
      const step = niceStep((max - min) / Math.max(1, height / ROOM_Y));
      return multiples(min, max, step).map((at) => ({ at, label: decimal(at, step) }));
    },
  };
}

/** A logarithmic axis over the values from `low`, which is above zero, to `high`. */
export function logAxis(low: number, high: number): ValueAxis {
  const [min, max] = widened(Math.log10(low), Math.log10(high), 0.15);
  return {
    min,
    max,
    place: (value) => (value > 0 ? Math.log10(value) : Number.NaN),
    ticks: (height) => {
      const pixels = (decades: number) => (decades / (max - min)) * height;
      const label = (value: number) => logLabel(value, 10 ** max);
      if (max - min < 0.8) {
        // Within one decade, round numbers at even distances read better than 1, 2, 5.
        const step = niceStep((10 ** max - 10 ** min) / Math.max(2, height / ROOM_Y));
        return multiples(10 ** min, 10 ** max, step)
          .filter((value) => value > 0)
          .map((value) => ({ at: Math.log10(value), label: decimal(value, step) }));
      }
      for (const mantissas of [[1, 2, 5], [1]]) {
        // The closest pair of 1, 2, 5 is log10(2) apart.
        if (pixels(mantissas.length > 1 ? 0.3 : 1) < ROOM_Y * 0.7) continue;
        const ticks: Tick[] = [];
        for (let exponent = Math.floor(min); exponent <= max; exponent++) {
          for (const mantissa of mantissas) {
            const value = Number(`${mantissa}e${exponent}`);
            const at = Math.log10(value);
            if (at >= min && at <= max) ticks.push({ at, label: label(value) });
          }
        }
        return ticks;
      }
      const step = Math.ceil(ROOM_Y / pixels(1));
      return multiples(min, max, step).map((at) => ({ at, label: label(Number(`1e${Math.round(at)}`)) }));
    },
  };
}

/** Ticks of the x axis: whole numbers, unless the range is too short for them. */
export function placeTicks(min: number, max: number, width: number): Tick[] {
  let step = niceStep((max - min) / Math.max(1, Math.floor(width / ROOM_X)));
  if (max - min >= 2) step = Math.max(1, step);
  return multiples(min, max, step).map((at) => ({ at, label: decimal(at, step) }));
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

function widened(low: number, high: number, ifFlat: number): [number, number] {
  // Closer than this, values differ by rounding alone, and ticks between them would have no labels of their own.
  const flat = high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high));
  const room = flat ? ifFlat : (high - low) * MARGIN;
  return [low - room, high + room];
}

/** The smallest of 1, 2, 5, 10 ... that is not below `least`. */
function niceStep(least: number): number {
  const power = Math.floor(Math.log10(least));
  for (const mantissa of [1, 2, 5]) {
    const step = Number(`${mantissa}e${power}`);
    if (step >= least * (1 - 1e-9)) return step;
  }
  return Number(`1e${power + 1}`);
}

function multiples(min: number, max: number, step: number): number[] {
  const found: number[] = [];
  const slack = step * 1e-6;
  // Counted in whole steps, so that 0.3 does not become 0.30000000000000004. The limit guards against a
  // range too narrow for its numbers, where adding a step changes nothing.
  const first = Math.ceil((min - slack) / step);
  for (let k = first; k * step <= max + slack && found.length < 100; k++) {
    found.push(Number((k * step).toPrecision(15)));
  }
  return found;
}

function decimal(value: number, step: number): string {
  const size = Math.abs(value);
  if (value !== 0 && (size >= 1e6 || step < 1e-3)) {
    return value
      .toExponential(2)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  }
  if (step >= 1) return count(value);
  return value.toFixed(Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
}

function logLabel(value: number, top: number): string {
  if (value < 0.01 || value >= 1e5) return value.toExponential(0).replace("e+", "e");
  return value >= 1 && top < 20 ? value.toFixed(1) : count1(value);
}

function count1(value: number): string {
  return value >= 1 ? count(value) : String(value);
}
