/** Scales: the room around the lines, the ticks, and their labels. Pure functions. */
import { count, duration } from "../format";

// The least room between two ticks of the y axis, in pixels.
export const ROOM_Y = 25;
// The same for the x axis, whose labels stand side by side.
export const ROOM_X = 56;
// Part of the range left free above and below the lines.
const MARGIN = 0.05;

/** The ends of a scale. */
export type Range = readonly [from: number, to: number];

/** The ends of a scale that shows the values from `low` to `high`. */
export function padded(low: number, high: number, log: boolean): Range {
  // Where there is nothing to show, an axis that can be drawn.
  if (!(low <= high)) return log ? [0.1, 1] : [0, 1];
  if (log) {
    const [min, max] = widened(Math.log10(low), Math.log10(high), 0.15);
    // A loss that runs away passes through 1e300 on its way to infinity.
    return [Math.max(10 ** min, Number.MIN_VALUE), Math.min(10 ** max, Number.MAX_VALUE)];
  }
  return widened(low, high, Math.abs(low) * 0.05 || 0.5);
}

function widened(low: number, high: number, ifFlat: number): Range {
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

/** The smallest of 1, 2, 5, 10 ... times a power of ten that is not below `least`. */
export function niceStep(least: number): number {
  const exponent = Math.floor(Math.log10(least));
  for (const mantissa of [1, 2, 5]) {
    const step = Number(`${mantissa}e${exponent}`);
    if (step >= least * (1 - 1e-9)) return step;
  }
  return Number(`1e${exponent + 1}`);
}

/**
 * Ticks of a linear scale, at multiples of a round step.
 *
 * @param length - of the axis in pixels
 * @param room - the least distance of two ticks in pixels
 * @param least - the least step, 1 for an axis that counts
 */
export function linearTicks([min, max]: Range, length: number, room: number, least = 0): number[] {
  const step = niceStep(Math.max(((max - min) * room) / length, least));
  return multiples(min, max, step);
}

function multiples(min: number, max: number, step: number, offset = 0): number[] {
  const ticks: number[] = [];
  for (let k = Math.ceil((min - offset) / step - 1e-9); k * step + offset <= max + step * 1e-9; k++) {
    ticks.push(Number((k * step + offset).toPrecision(15)));
  }
  return ticks;
}

const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200];
const DAY = 86_400;

/** Ticks of an axis of seconds, at multiples that a clock has; of the time of day if `wall`. */
export function timeTicks([min, max]: Range, length: number, room: number, wall: boolean): number[] {
  const least = ((max - min) * room) / length;
  const step =
    least < 1 && !wall
      ? niceStep(least)
      : (SECONDS.find((each) => each >= least) ?? DAY * niceStep(Math.max(1, least / DAY)));
  // Days begin at midnight here, not in Greenwich.
  return multiples(min, max, step, wall ? new Date(min * 1000).getTimezoneOffset() * 60 : 0);
}

/** The labels of an axis of seconds. */
export function timeLabels(ticks: readonly number[], wall: boolean): string[] {
  if (!wall) {
    const parts = ticks.some((tick) => tick % 1 !== 0);
    return parts ? tickLabels(ticks).map((label) => `${label} s`) : ticks.map(duration);
  }
  const whole = ticks.every((tick) => tick % 60 === 0);
  return ticks.map((tick) => clockTime(tick, !whole));
}

/** A time of day: 14:02, or 14:02:31; the date as well at midnight. */
export function clockTime(seconds: number, exact: boolean): string {
  const date = new Date(seconds * 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (time === "00:00" && date.getSeconds() === 0) return `${date.getMonth() + 1}/${date.getDate()}`;
  return exact ? `${time}:${two(date.getSeconds())}` : time;
}

/**
 * Ticks of a log scale.
 *
 * @param height - of the plot in pixels
 */
export function logTicks([min, max]: Range, height: number): number[] {
  const ticks: number[] = [];
  const room = height / (Math.log10(max) - Math.log10(min));
  // Within one decade, round numbers at even distances read better than 1, 2, 5.
  if (height < 0.8 * room) return linearTicks([min, max], height, ROOM_Y);
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
