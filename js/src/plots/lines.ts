/**
 * The shape of a line, at a cost that follows the plot's width and not the number of points.
 *
 * Points that share a column of pixels become one stroke from their lowest to their highest, so a spike of a
 * single batch stays visible among a million. Blocks narrower than a pixel are taken from their summary.
 */
import { BLOCK, type Series } from "../series";

/** Where points stand on the canvas, in its own pixels. */
export interface Frame {
  x(i: number): number;
  /** NaN for a value that cannot be shown. */
  y(value: number): number;
  /** Whether values at or below zero cannot be shown. */
  readonly log: boolean;
}

/** The part of a canvas path that a line needs. */
export type Pen = Pick<Path2D, "moveTo" | "lineTo">;

/** Draws the line of a series. */
export function trace(series: Series, frame: Frame, pen: Pen): void {
  const columns = new Columns(pen);
  const point = (i: number): void => {
    if (series.has(i)) columns.point(frame.x(i), frame.y(series.value(i)));
    else if (series.isHole(i)) columns.lift();
  };
  for (let block = 0; block < series.blocks; block++) {
    const from = block * BLOCK;
    const end = Math.min(series.end, from + BLOCK);
    const state = series.blockState(block);
    if (state === "hole") {
      columns.lift();
      continue;
    }
    if (state === "left out") continue;
    const left = frame.x(from);
    const right = frame.x(end - 1);
    // Epochs of very different length make blocks of very different width, so this is asked of each block.
    if (!(right - left < 1) || end - from < BLOCK) {
      for (let i = from; i < end; i++) point(i);
      continue;
    }
    const low = frame.log ? series.blockLowPositive(block) : series.blockLow(block);
    const high = series.blockHigh(block);
    if (!(low <= high)) {
      columns.lift();
      continue;
    }
    const bottom = frame.y(low);
    const top = frame.y(high);
    const edge = (i: number): number => {
      const y = series.has(i) ? frame.y(series.value(i)) : Number.NaN;
      return Number.isFinite(y) ? y : bottom;
    };
    columns.stretch(left, edge(from), bottom, top, edge(end - 1));
  }
  columns.finish();
}

/** Joins the points of each column of pixels. */
class Columns {
  readonly #pen: Pen;
  #open = false;
  #column = Number.NaN;
  #x = 0;
  #first = 0;
  #low = 0;
  #high = 0;
  #last = 0;
  /** Points drawn since the pen was lifted: a single one would otherwise leave no trace. */
  #drawn = 0;

  constructor(pen: Pen) {
    this.#pen = pen;
  }

  point(x: number, y: number): void {
    if (Number.isFinite(y)) this.stretch(x, y, y, y, y);
    else this.lift();
  }

  stretch(x: number, first: number, low: number, high: number, last: number): void {
    const column = Math.round(x);
    if (column === this.#column) {
      this.#low = Math.max(this.#low, low);
      this.#high = Math.min(this.#high, high);
      this.#last = last;
      return;
    }
    this.#flush();
    this.#column = column;
    this.#x = x;
    this.#first = first;
    this.#low = low;
    this.#high = high;
    this.#last = last;
  }

  lift(): void {
    this.#flush();
    if (this.#drawn === 1) this.#pen.lineTo(this.#x + 1, this.#last);
    this.#open = false;
    this.#column = Number.NaN;
    this.#drawn = 0;
  }

  finish(): void {
    this.lift();
  }

  #flush(): void {
    if (Number.isNaN(this.#column)) return;
    if (this.#open) this.#pen.lineTo(this.#x, this.#first);
    else this.#pen.moveTo(this.#x, this.#first);
    this.#open = true;
    this.#drawn++;
    if (this.#low === this.#high) return;
    // Canvas pixels grow downwards: the lowest value has the largest y.
    this.#pen.lineTo(this.#x, this.#low);
    this.#pen.lineTo(this.#x, this.#high);
    this.#pen.lineTo(this.#x, this.#last);
    this.#drawn++;
  }
}
