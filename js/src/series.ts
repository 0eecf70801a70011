/**
 * One line's points in typed arrays, written by index.
 *
 * Points are kept in full. Beside them stands a summary of every block of 64 points (lowest, highest, how
 * many are NaN ...), refreshed for the blocks that a write touches. Drawing a million points then reads some
 * fifteen thousand blocks, and an append costs what the append holds.
 */
import type { Column, SeriesSpec } from "./wire";

/** Points in one block of the summary. */
export const BLOCK = 64;

// What the page knows about an index.
const HOLE = 0; // Nothing: a frame that was lost, or has yet to come.
const HERE = 1;
const LEFT_OUT = 2; // The kernel has it, but the snapshot skipped it: a line may pass over it.

/** The summary of a series, or of one of its blocks. */
export interface Extent {
  /** The lowest finite value; +Infinity if there is none. */
  low: number;
  /** The highest finite value; -Infinity if there is none. */
  high: number;
  /** The lowest value above zero; +Infinity if there is none. */
  lowPositive: number;
  nan: number;
  infinite: number;
  /** Finite values that a log axis cannot show. */
  nonPositive: number;
}

/** The points of one series. */
export class Series {
  readonly spec: SeriesSpec;
  /** How many points the kernel has. */
  length = 0;
  /** How many points are here. */
  count = 0;
  /** One past the last index that is here. */
  end = 0;
  /** Grows with every write. */
  version = 0;

  #values = new Float64Array(0);
  #steps = new Float64Array(0);
  #epochs: Float64Array;
  #state = new Uint8Array(0);

  #low = new Float64Array(0);
  #high = new Float64Array(0);
  #lowPositive = new Float64Array(0);
  #here = new Uint8Array(0);
  #holes = new Uint8Array(0);
  #nan = new Uint8Array(0);
  #infinite = new Uint8Array(0);
  #nonPositive = new Uint8Array(0);

  #extent: Extent | null = null;

  constructor(spec: SeriesSpec) {
    this.spec = spec;
    this.#epochs = new Float64Array(0);
  }

  /** Whether every point that the kernel has is here. */
  get complete(): boolean {
    return this.count >= this.length;
  }

  /** Writes a stretch. What overlaps is written again, what lies between stays a hole. */
  write(column: Column): void {
    this.length = Math.max(this.length, column.length);
    const { count, values, steps, epochs, indices } = column;
    if (count === 0) return;
    const from = indices === null ? column.start : indices[0]!;
    const end = indices === null ? column.start + count : indices[count - 1]! + 1;
    const dirty = Math.min(from, this.end);
    this.#reserve(end, epochs !== null);
    const oldEnd = this.end;
    this.end = Math.max(oldEnd, end);
    if (from > oldEnd || indices !== null) this.#carry(oldEnd);
    for (let k = 0; k < count; k++) {
      const i = indices === null ? from + k : indices[k]!;
      if (this.#state[i] !== HERE) {
        this.#state[i] = HERE;
        this.count++;
      }
      this.#values[i] = values[k]!;
      this.#steps[i] = steps === null ? column.first + (i - from) : steps[k]!;
      if (epochs !== null) this.#epochs[i] = epochs[k]!;
      if (indices !== null && k + 1 < count) {
        for (let j = i + 1; j < indices[k + 1]!; j++) if (this.#state[j] === HOLE) this.#state[j] = LEFT_OUT;
        this.#carry(i + 1);
      }
    }
    const clean = this.#carry(end);
    for (let block = Math.floor(dirty / BLOCK); block * BLOCK < clean; block++) this.#summarise(block);
    this.#extent = null;
    this.version++;
  }

  /** Whether the point at this index is here. */
  has(i: number): boolean {
    return this.#state[i] === HERE;
  }

  /** Whether a line must break at this index. */
  isHole(i: number): boolean {
    return this.#state[i] === HOLE;
  }

  value(i: number): number {
    return this.#values[i]!;
  }

  /** The step of a point; of an index that is not here, the step of the last point before it. */
  step(i: number): number {
    return this.#steps[i]!;
  }

  /** The epoch of a point, counted from 0; as `step` for an index that is not here. */
  epoch(i: number): number {
    return this.#epochs[i] ?? 0;
  }

  /** The last value; NaN if there is none. */
  get last(): number {
    return this.end === 0 ? Number.NaN : this.#values[this.end - 1]!;
  }

  /** How many blocks the points fill. */
  get blocks(): number {
    return Math.ceil(this.end / BLOCK);
  }

  /** What a block holds: nothing to pass over, nothing that breaks the line, or points. */
  blockState(block: number): "points" | "hole" | "left out" {
    if (this.#here[block]! > 0) return "points";
    return this.#holes[block]! > 0 ? "hole" : "left out";
  }

  blockLow(block: number): number {
    return this.#low[block]!;
  }

  blockHigh(block: number): number {
    return this.#high[block]!;
  }

  blockLowPositive(block: number): number {
    return this.#lowPositive[block]!;
  }

  /** The summary of all points. */
  get extent(): Readonly<Extent> {
    if (this.#extent !== null) return this.#extent;
    const all: Extent = {
      low: Number.POSITIVE_INFINITY,
      high: Number.NEGATIVE_INFINITY,
      lowPositive: Number.POSITIVE_INFINITY,
      nan: 0,
      infinite: 0,
      nonPositive: 0,
    };
    for (let b = 0; b < this.blocks; b++) {
      if (this.#low[b]! < all.low) all.low = this.#low[b]!;
      if (this.#high[b]! > all.high) all.high = this.#high[b]!;
      if (this.#lowPositive[b]! < all.lowPositive) all.lowPositive = this.#lowPositive[b]!;
      all.nan += this.#nan[b]!;
      all.infinite += this.#infinite[b]!;
      all.nonPositive += this.#nonPositive[b]!;
    }
    this.#extent = all;
    return all;
  }

  /** Visits the points that are NaN or infinite. */
  eachNonFinite(visit: (i: number) => void): void {
    for (let b = 0; b < this.blocks; b++) {
      if (this.#nan[b]! + this.#infinite[b]! === 0) continue;
      const end = Math.min(this.end, (b + 1) * BLOCK);
      for (let i = b * BLOCK; i < end; i++) if (this.has(i) && !Number.isFinite(this.#values[i]!)) visit(i);
    }
  }

  /** The index of the first point that is NaN, or infinite; -1 if there is none. */
  firstNonFinite(which: "nan" | "infinite"): number {
    const counts = which === "nan" ? this.#nan : this.#infinite;
    for (let b = 0; b < this.blocks; b++) {
      if (counts[b] === 0) continue;
      for (let i = b * BLOCK; i < this.end; i++) {
        if (this.has(i) && isNonFinite(this.#values[i]!, which)) return i;
      }
    }
    return -1;
  }

  /** The index of the first point with the lowest finite value; -1 if there is none. */
  lowest(): number {
    const { low } = this.extent;
    if (low === Number.POSITIVE_INFINITY) return -1;
    let b = 0;
    while (this.#low[b] !== low) b++;
    for (let i = b * BLOCK; ; i++) if (this.has(i) && this.#values[i] === low) return i;
  }

  /** The index of the point nearest to `x`, given the place of every index; -1 if there is no point. */
  nearest(x: number, place: (i: number) => number): number {
    if (this.count === 0) return -1;
    let low = 0;
    let high = this.end - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (place(middle) < x) low = middle + 1;
      else high = middle;
    }
    let right = low;
    while (right < this.end && !this.has(right)) right++;
    let left = low - 1;
    while (left >= 0 && !this.has(left)) left--;
    if (left < 0) return right < this.end ? right : -1;
    if (right >= this.end) return left;
    return place(right) - x < x - place(left) ? right : left;
  }

  /** Gives indices that are not here the step before them, so that steps can be searched. */
  #carry(from: number): number {
    let i = from;
    for (; i < this.end && this.#state[i] !== HERE; i++) {
      this.#steps[i] = i === 0 ? 0 : this.#steps[i - 1]!;
      if (this.#epochs.length > 0) this.#epochs[i] = i === 0 ? 0 : this.#epochs[i - 1]!;
    }
    return i;
  }

  #summarise(block: number): void {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    let lowPositive = Number.POSITIVE_INFINITY;
    let here = 0;
    let holes = 0;
    let nan = 0;
    let infinite = 0;
    let nonPositive = 0;
    const end = Math.min(this.end, (block + 1) * BLOCK);
    for (let i = block * BLOCK; i < end; i++) {
      const state = this.#state[i];
      if (state !== HERE) {
        if (state === HOLE) holes++;
        continue;
      }
      here++;
      const value = this.#values[i]!;
      if (Number.isNaN(value)) nan++;
      else if (!Number.isFinite(value)) infinite++;
      else {
        if (value < low) low = value;
        if (value > high) high = value;
        if (value <= 0) nonPositive++;
        else if (value < lowPositive) lowPositive = value;
      }
    }
    this.#low[block] = low;
    this.#high[block] = high;
    this.#lowPositive[block] = lowPositive;
    this.#here[block] = here;
    this.#holes[block] = holes;
    this.#nan[block] = nan;
    this.#infinite[block] = infinite;
    this.#nonPositive[block] = nonPositive;
  }

  #reserve(end: number, withEpochs: boolean): void {
    let capacity = Math.max(BLOCK, this.#values.length);
    while (capacity < end) capacity *= 2;
    if (capacity !== this.#values.length) {
      const blocks = capacity / BLOCK;
      this.#values = grown(this.#values, new Float64Array(capacity));
      this.#steps = grown(this.#steps, new Float64Array(capacity));
      this.#state = grown(this.#state, new Uint8Array(capacity));
      this.#low = grown(this.#low, new Float64Array(blocks));
      this.#high = grown(this.#high, new Float64Array(blocks));
      this.#lowPositive = grown(this.#lowPositive, new Float64Array(blocks));
      this.#here = grown(this.#here, new Uint8Array(blocks));
      this.#holes = grown(this.#holes, new Uint8Array(blocks));
      this.#nan = grown(this.#nan, new Uint8Array(blocks));
      this.#infinite = grown(this.#infinite, new Uint8Array(blocks));
      this.#nonPositive = grown(this.#nonPositive, new Uint8Array(blocks));
    }
    // Batch series carry no epochs: eight bytes a point saved.
    if ((withEpochs || this.#epochs.length > 0) && this.#epochs.length !== capacity) {
      this.#epochs = grown(this.#epochs, new Float64Array(capacity));
    }
  }
}

function grown<T extends Float64Array | Uint8Array>(old: T, next: T): T {
  next.set(old);
  return next;
}

function isNonFinite(value: number, which: "nan" | "infinite"): boolean {
  return which === "nan" ? Number.isNaN(value) : !Number.isNaN(value) && !Number.isFinite(value);
}
