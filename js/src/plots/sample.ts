/**
 * The points of a series that a plot of some width needs, at a cost that follows the width.
 *
 * Few points are all taken. Of many, each column of pixels keeps its lowest and its highest, so a spike of a
 * single batch stays visible among a million. What is taken is exact: every point stands where it was measured.
 */
import { BLOCK, FACTOR, LEVELS, type Series } from "../series";

/** Points to draw, in order; a null breaks the line. */
export type Sample = [places: number[], values: (number | null)[]];

/** What a plot shows of the x axis. */
export interface Window {
  readonly start: number;
  readonly end: number;
  /** Columns of pixels. */
  readonly columns: number;
}

/**
 * Takes a series' points for drawing.
 *
 * @param place - the place of each point, by index; it never falls
 * @param log - whether values at or below zero cannot be shown
 */
export function sample(series: Series, place: (i: number) => number, window: Window, log: boolean): Sample {
  const places: number[] = [];
  const values: (number | null)[] = [];
  const scale = window.columns / (window.end - window.start);
  const exact = series.count <= 2 * window.columns;

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

  // One point beyond each end, so that the line leaves the plot instead of ending in it.
  const from = Math.max(0, series.nearest(window.start, place) - 1);
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
  if (!Number.isNaN(column)) flush();
  return [places, values];
}
