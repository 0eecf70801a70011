/**
 * The points of a series that a plot of some width needs, at a cost that follows the width.
 *
 * Few points are all taken. Of many, each column of pixels keeps its lowest and its highest, so a spike of a
 * single batch stays visible among a million. What is taken is exact: every point stands where it was measured.
 */
import { BLOCK, FACTOR, LEVELS, type Series } from "../series";
import type { Timeline } from "../timeline";

/** Points to draw, in order; a null breaks the line. */
export type Sample = readonly [places: number[], values: (number | null)[]];

/** What a plot shows of the x axis. */
export interface Window {
  readonly start: number;
  readonly end: number;
  /** Columns of pixels. */
  readonly columns: number;
}

/** A sample that can be carried on: no later point changes what lies before its last column. */
interface Taken {
  readonly sample: Sample;
  /** How much of the sample that is, and the index at which the last column begins. */
  readonly settled: number;
  readonly next: number;
}

const NOTHING: Taken = { sample: [[], []], settled: 0, next: 0 };

/** Samples series again and again while they grow, at the cost of what is new. */
export class Sampler {
  readonly #taken = new WeakMap<
    Series,
    Taken & { at: Timeline; window: Window; state: string; end: number; from: number }
  >();

  /**
   * Takes a series' points for drawing. What was returned before for the same series may be changed.
   *
   * @param at - where the points stand
   * @param place - the place of each point on it, by index; it never falls
   * @param log - whether values at or below zero cannot be shown
   */
  sample(series: Series, at: Timeline, place: (i: number) => number, window: Window, log: boolean): Sample {
    const state = `${log} ${series.rewritten} ${isExact(series, window)} ${beginning(series, place, window)}`;
    const before = this.#taken.get(series);
    const goesOn =
      before?.state === state &&
      before.window.start === window.start &&
      before.window.end === window.end &&
      before.window.columns === window.columns &&
      at.placesAs(before.at);
    const taken = carryOn(goesOn ? before : NOTHING, series, place, window, log);
    const { end } = series;
    // A line of fewer points than columns is drawn in another way, which may change as a whole.
    const isLong = goesOn && before.settled > window.columns;
    const from =
      goesOn && before.end === end ? Infinity : isLong ? taken.sample[0][before.settled - 1]! : -Infinity;
    this.#taken.set(series, { ...taken, at, window, state, end, from });
    return taken.sample;
  }

  /** From which place on the last sample of a series differs from the one before it: -Infinity if it may anywhere. */
  changedFrom(series: Series): number {
    return this.#taken.get(series)?.from ?? -Infinity;
  }
}

/** Takes a series' points for drawing, see `Sampler.sample`. */
export function sample(series: Series, place: (i: number) => number, window: Window, log: boolean): Sample {
  return carryOn(NOTHING, series, place, window, log).sample;
}

function isExact(series: Series, { columns }: Window): boolean {
  return series.count <= 2 * columns;
}

/** The first index that is taken: one point beyond the window, so that the line leaves it instead of ending in it. */
function beginning(series: Series, place: (i: number) => number, { start }: Window): number {
  return Math.max(0, series.nearest(start, place) - 1);
}

function carryOn(
  before: Taken,
  series: Series,
  place: (i: number) => number,
  window: Window,
  log: boolean,
): Taken {
  // Pictures that were made of it are shown no more, or show what is new as well.
  const [places, values] = before === NOTHING ? [[], []] : before.sample;
  places.length = values.length = before.settled;
  const scale = window.columns / (window.end - window.start);
  const exact = isExact(series, window);

  // The column being filled. Where every point is taken, each has a column of its own.
  let column = Number.NaN;
  let first = 0;
  let low = 0;
  let high = 0;
  let lowest = -1;
  let highest = -1;
  const take = (i: number) => {
    places.push(place(i));
    values.push(series.value(i));
  };
  const flush = () => {
    if (lowest >= 0) {
      take(Math.min(lowest, highest));
      if (lowest !== highest) take(Math.max(lowest, highest));
    } else {
      places.push(place(first));
      values.push(null);
    }
  };
  /** Adds what begins at index `i`: the index of its lowest and of its highest point, -1 if it has none to draw. */
  const add = (i: number, bottom: number, top: number) => {
    const next = exact ? i : Math.floor(place(i) * scale);
    if (next !== column) {
      if (!Number.isNaN(column)) flush();
      column = next;
      first = i;
      lowest = highest = -1;
    }
    if (bottom >= 0 && (lowest < 0 || series.value(bottom) < low)) {
      lowest = bottom;
      low = series.value(bottom);
    }
    if (top >= 0 && (highest < 0 || series.value(top) > high)) {
      highest = top;
      high = series.value(top);
    }
  };
  const gap = (i: number) => add(i, -1, -1);

  const from = Math.max(before.next, beginning(series, place, window));
  const to = Math.min(series.end, series.nearest(window.end, place) + 2);
  // The level of the last block taken: the next is mostly of the same.
  let last = 0;
  /** The level of the coarsest summary whose block begins here and is narrower than a column; -1 for none. */
  const coarsest = (begin: number): number => {
    if (exact) return -1;
    const start = place(begin);
    // Epochs of very different length make blocks of very different width, so this is asked of each block.
    const fits = (level: number) => {
      const size = BLOCK * FACTOR ** level;
      return begin % size === 0 && (place(Math.min(series.end, begin + size) - 1) - start) * scale < 1;
    };
    let level = last;
    if (fits(level)) while (level + 1 < LEVELS && fits(level + 1)) level++;
    else while (level >= 0 && !fits(level)) level--;
    last = Math.max(0, level);
    return level;
  };
  for (let begin = Math.floor(from / BLOCK) * BLOCK, size = BLOCK; begin < to; begin += size) {
    begin = series.skip(begin);
    const level = coarsest(begin);
    size = BLOCK * FACTOR ** Math.max(0, level);
    const end = Math.min(series.end, begin + size);
    if (level >= 0) {
      const block = begin / size;
      if (series.blockHas(block, level))
        add(begin, series.blockLowest(block, log, level), series.blockHighest(block, level));
      else if (series.isHole(begin) || series.isHole(end - 1)) gap(begin);
      continue;
    }
    for (let i = Math.max(from, begin); i < Math.min(to, end); i++) {
      const value = series.value(i);
      if (series.isHole(i)) gap(i);
      else if (!series.has(i)) continue;
      else if (Number.isFinite(value) && !(log && value <= 0)) add(i, i, i);
      else gap(i);
    }
  }
  const settled = places.length;
  if (!Number.isNaN(column)) flush();
  return { sample: [places, values], settled, next: Number.isNaN(column) ? before.next : first };
}
