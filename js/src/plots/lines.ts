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
  y(value: number): number;
  /** Whether values at or below zero cannot be shown. */
  readonly log: boolean;
}

/** The part of a canvas path that a line needs. */
export type Pen = Pick<Path2D, "moveTo" | "lineTo">;

/** Draws the line of a series. */
export function trace(series: Series, frame: Frame, pen: Pen): void {
  const columns = new Columns(pen, frame);
  const { blocks, end } = series;
  let right = blocks > 0 ? frame.x(0) : 0;
  for (let block = 0; block < blocks; block++) {
    const from = block * BLOCK;
    const next = Math.min(end, from + BLOCK);
    const left = right;
    right = frame.x(Math.min(next, end - 1));
    const state = series.blockState(block);
    if (state === "hole") {
      columns.lift();
      continue;
    }
    if (state === "left out") continue;
    // Epochs of very different length make blocks of very different width, so this is asked of each block.
    if (right - left < 1 && next - from === BLOCK) {
      const low = frame.log ? series.blockLowPositive(block) : series.blockLow(block);
      const high = series.blockHigh(block);
      if (low <= high) columns.stretch(left, low, high, edge(series, from, low), edge(series, next - 1, low));
      else columns.lift();
      continue;
    }
    for (let i = from; i < next; i++) {
      if (series.has(i)) columns.point(frame.x(i), series.value(i));
      else if (series.isHole(i)) columns.lift();
    }
  }
  columns.lift();
}

/** The value at a block's end, or another where there is none to draw. */
function edge(series: Series, i: number, otherwise: number): number {
  const value = series.has(i) ? series.value(i) : otherwise;
  return value >= otherwise && value < Number.POSITIVE_INFINITY ? value : otherwise;
}

/** Joins the points of each column of pixels. Values become pixels only when a column is drawn. */
class Columns {
  readonly #pen: Pen;
  readonly #frame: Frame;
  #open = false;
  #column = Number.NaN;
  #x = 0;
  #first = 0;
  #low = 0;
  #high = 0;
  #last = 0;
  /** Columns drawn since the pen was lifted: a lone point would otherwise leave no trace. */
  #drawn = 0;

  constructor(pen: Pen, frame: Frame) {
    this.#pen = pen;
    this.#frame = frame;
  }

  point(x: number, value: number): void {
    if (Number.isFinite(value) && !(this.#frame.log && value <= 0))
      this.stretch(x, value, value, value, value);
    else this.lift();
  }

  stretch(x: number, low: number, high: number, first: number, last: number): void {
    const column = Math.round(x);
    if (column === this.#column) {
      if (low < this.#low) this.#low = low;
      if (high > this.#high) this.#high = high;
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
    if (this.#drawn === 1) this.#pen.lineTo(this.#x + 1, this.#frame.y(this.#last));
    this.#open = false;
    this.#column = Number.NaN;
    this.#drawn = 0;
  }

  #flush(): void {
    if (Number.isNaN(this.#column)) return;
    const y = this.#frame.y(this.#first);
    if (this.#open) this.#pen.lineTo(this.#x, y);
    else this.#pen.moveTo(this.#x, y);
    this.#open = true;
    this.#drawn++;
    if (this.#low === this.#high) return;
    this.#pen.lineTo(this.#x, this.#frame.y(this.#low));
    this.#pen.lineTo(this.#x, this.#frame.y(this.#high));
    this.#pen.lineTo(this.#x, this.#frame.y(this.#last));
    this.#drawn++;
  }
}
