/**
 * One line's points in typed arrays, written by index.
 *
 * Points are kept in full. Beside them stands a summary of every block of 64 points (lowest, highest, how many are
 * NaN ...), of every 8 such blocks, and so on, refreshed for the blocks that a write touches. Drawing a million points
 * then reads some two thousand blocks, and an append costs what the append holds.
 */
import type { Column, SeriesSpec } from "./wire";

/** Points in one block of the finest summary, and blocks in one of the next coarser. */
export const BLOCK = 64;
export const FACTOR = 8;
/** How many summaries there are, each coarser than the one before. */
export const LEVELS = 3;
const COARSEST = BLOCK * FACTOR ** (LEVELS - 1);
/** Points that are asked for at once; as many as `MESSAGE_POINTS` of `epochwidget/wire.py`. */
export const PIECE = 4 * COARSEST;

// What the page knows about an index.
const HOLE = 0; // Nothing: a frame that was lost, or has yet to come.
const HERE = 1;
const LEFT_OUT = 2; // The kernel has it, but the snapshot skipped it: a line may pass over it.

// The summary of a block: so many numbers side by side. Behind each extreme is the first index at which it stands.
const FIELDS = 10;
const LOW = 0;
const HIGH = 2;
const LOW_POSITIVE = 4;
const NAN = 6;
const INFINITE = 7;
const NON_POSITIVE = 8;
const POINTS = 9;

/** The summary of a series. */
export interface Extent {
  /** The lowest finite value, +Infinity if there is none, and the first index at which it stands, or -1. */
  readonly low: number;
  readonly lowest: number;
  /** The highest finite value, -Infinity if there is none, and the first index at which it stands, or -1. */
  readonly high: number;
  readonly highest: number;
  /** The lowest value above zero; +Infinity if there is none. */
  readonly lowPositive: number;
  readonly nan: number;
  readonly infinite: number;
  /** Finite values that a log axis cannot show. */
  readonly nonPositive: number;
}

/** The points of one series. */
export class Series {
  /** How many points the kernel has. */
  length = 0;
  /** How many points are here. */
  count = 0;
  /** One past the last index that is here. */
  end = 0;
  /** How often points before the end have come late, or changed. */
  rewritten = 0;

  #values = new Float64Array(0);
  #steps = new Float64Array(0);
  #epochs = new Float64Array(0);
  #state = new Uint8Array(0);

  readonly #summaries = Array.from({ length: LEVELS }, () => new Float64Array(0));
  #extent: Extent | null = null;

  readonly #of: Series | null;

  /** @param of - a series with points at the same indices and steps, for one that is computed of it */
  constructor(
    readonly spec: SeriesSpec,
    of: Series | null = null,
  ) {
    this.#of = of;
  }

  /** Whether every point that the kernel has is here. */
  get complete(): boolean {
    return this.count >= this.length;
  }

  /** How many points of a piece the kernel has and the page has not. */
  missing(piece: number): number {
    const [first, end] = [(piece * PIECE) / COARSEST, Math.ceil(this.end / COARSEST)];
    const here = this.#sum(LEVELS - 1, first, Math.min(end, first + PIECE / COARSEST))[POINTS]!;
    return Math.max(0, Math.min(PIECE, this.length - piece * PIECE) - here);
  }

  /** Writes a stretch. What overlaps is written again, what lies between stays a hole. */
  write(column: Column): void {
    this.length = Math.max(this.length, column.length);
    const { count, values, steps, epochs, indices } = column;
    if (count === 0) return;
    const from = indices === null ? column.start : indices[0]!;
    const end = indices === null ? column.start + count : indices[count - 1]! + 1;
    // A live page gets a snapshot every second, and has long had all that it sums up.
    if (indices !== null && end <= this.end && this.complete) return;
    this.#reserve(end, epochs !== null);
    const oldEnd = this.end;
    this.end = Math.max(oldEnd, end);
    this.#carry(oldEnd, from);
    let changed = false;
    for (let k = 0; k < count; k++) {
      const i = indices === null ? from + k : indices[k]!;
      if (i < oldEnd) changed ||= this.#state[i] !== HERE || !Object.is(this.#values[i], values[k]);
      if (this.#state[i] !== HERE) {
        this.#state[i] = HERE;
        this.count++;
      }
      this.#values[i] = values[k]!;
      if (this.#of === null) this.#steps[i] = steps === null ? column.first + (i - from) : steps[k]!;
      if (epochs !== null) this.#epochs[i] = epochs[k]!;
      if (indices !== null && k + 1 < count) {
        const next = indices[k + 1]!;
        const old = Math.min(next, oldEnd);
        for (let j = i + 1; j < old; j++) {
          if (this.#state[j] !== HOLE) continue;
          this.#state[j] = LEFT_OUT;
          changed = true;
        }
        // No farther: each of a summary's points would go over all that the summary leaves out.
        this.#carry(i + 1, old);
        // Where nothing was before, there is nothing to look at.
        const fresh = Math.max(i + 1, oldEnd);
        if (fresh < next) {
          this.#state.fill(LEFT_OUT, fresh, next);
          if (this.#of === null) this.#steps.fill(this.#steps[fresh - 1]!, fresh, next);
          if (epochs !== null) this.#epochs.fill(this.#epochs[fresh - 1]!, fresh, next);
        }
      }
    }
    if (changed) this.rewritten++;
    this.#carry(end, this.end);
    for (let level = 0, size = BLOCK; level < LEVELS; level++, size *= FACTOR) {
      let last = -1;
      const refresh = (block: number) => {
        if (block !== last) level === 0 ? this.#summarise(block) : this.#combine(level, block);
        last = block;
      };
      // A summary of a long run touches few of its blocks.
      if (indices !== null) for (const i of indices) refresh(Math.floor(i / size));
      else for (let block = Math.floor(from / size); block * size < end; block++) refresh(block);
    }
    this.#extent = null;
  }

  /** Whether the point at this index is here. */
  has(i: number): boolean {
    return this.#state[i] === HERE;
  }

  /** Whether a line must break at this index. */
  isHole(i: number): boolean {
    return this.#state[i] === HOLE;
  }

  /** The index from which on to look for points: `i`, where a block begins, or past blocks that were left out. */
  skip(i: number): number {
    const isOut = (j: number) => this.#state[j] === LEFT_OUT;
    for (let level = LEVELS - 1; level >= 0; ) {
      const size = BLOCK * FACTOR ** level;
      if (i % size === 0 && isOut(i) && isOut(i + size - 1) && !this.blockHas(i / size, level)) {
        i += size;
        level = LEVELS - 1;
      } else level--;
    }
    return i;
  }

  value(i: number): number {
    return this.#values[i]!;
  }

  /** The step of a point; of an index that is not here, the step of the last point before it. */
  step(i: number): number {
    return this.#of === null ? this.#steps[i]! : this.#of.step(i);
  }

  /** The epoch of a point, counted from 0; as `step` for an index that is not here. */
  epoch(i: number): number {
    return this.#epochs[i] ?? 0;
  }

  /** The last value; NaN if there is none. */
  get last(): number {
    return this.end === 0 ? Number.NaN : this.#values[this.end - 1]!;
  }

  /** How many of the finest blocks the points fill. */
  get blocks(): number {
    return Math.ceil(this.end / BLOCK);
  }

  /** Whether any point of a block is here. */
  blockHas(block: number, level: number): boolean {
    return this.#summaries[level]![block * FIELDS + POINTS]! > 0;
  }

  /** The index of the lowest finite value of a block, or of the lowest above zero; -1 if there is none. */
  blockLowest(block: number, positive: boolean, level: number): number {
    return this.#summaries[level]![block * FIELDS + (positive ? LOW_POSITIVE : LOW) + 1]!;
  }

  /** The index of the highest finite value of a block; -1 if there is none. */
  blockHighest(block: number, level: number): number {
    return this.#summaries[level]![block * FIELDS + HIGH + 1]!;
  }

  /** The summary of all points. */
  get extent(): Extent {
    if (this.#extent !== null) return this.#extent;
    const all = this.#sum(LEVELS - 1, 0, Math.ceil(this.end / COARSEST));
    this.#extent = {
      low: all[LOW]!,
      lowest: all[LOW + 1]!,
      high: all[HIGH]!,
      highest: all[HIGH + 1]!,
      lowPositive: all[LOW_POSITIVE]!,
      nan: all[NAN]!,
      infinite: all[INFINITE]!,
      nonPositive: all[NON_POSITIVE]!,
    };
    return this.#extent;
  }

  /** The indices of the points that are NaN or infinite. */
  *nonFinite(): Generator<number> {
    if (this.extent.nan + this.extent.infinite === 0) return;
    const summary = this.#summaries[0]!;
    for (let b = 0; b < this.blocks; b++) {
      const at = b * FIELDS;
      if (summary[at + NAN]! + summary[at + INFINITE]! === 0) continue;
      const end = Math.min(this.end, (b + 1) * BLOCK);
      for (let i = b * BLOCK; i < end; i++) if (this.has(i) && !Number.isFinite(this.#values[i]!)) yield i;
    }
  }

  /** The index of the first point that is NaN, or infinite; -1 if there is none. */
  firstNonFinite(which: "nan" | "infinite"): number {
    for (const i of this.nonFinite()) if (Number.isNaN(this.#values[i]!) === (which === "nan")) return i;
    return -1;
  }

  /** What of the values is no finite number: how often, and since which step. */
  faults(): { what: "NaN" | "infinite"; times: number; step: number }[] {
    return (["nan", "infinite"] as const)
      .filter((which) => this.extent[which] > 0)
      .map((which) => ({
        what: which === "nan" ? "NaN" : "infinite",
        times: this.extent[which],
        step: this.step(this.firstNonFinite(which)),
      }));
  }

  /** The index of the point nearest to `x`, given the place of every index, by default its step; -1 if there is none. */
  nearest(x: number, place: (i: number) => number = (i) => this.step(i)): number {
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
  #carry(from: number, end = this.end): number {
    let i = from;
    for (; i < end && this.#state[i] !== HERE; i++) {
      if (this.#of === null) this.#steps[i] = i === 0 ? 0 : this.#steps[i - 1]!;
      if (this.#epochs.length > 0) this.#epochs[i] = i === 0 ? 0 : this.#epochs[i - 1]!;
    }
    return i;
  }

  #summarise(block: number): void {
    const all = emptySummary();
    const end = Math.min(this.end, (block + 1) * BLOCK);
    for (let i = block * BLOCK; i < end; i++) {
      if (!this.has(i)) continue;
      all[POINTS]!++;
      const value = this.#values[i]!;
      if (Number.isNaN(value)) all[NAN]!++;
      else if (!Number.isFinite(value)) all[INFINITE]!++;
      else {
        if (value < all[LOW]!) put(all, LOW, value, i);
        if (value > all[HIGH]!) put(all, HIGH, value, i);
        if (value <= 0) all[NON_POSITIVE]!++;
        else if (value < all[LOW_POSITIVE]!) put(all, LOW_POSITIVE, value, i);
      }
    }
    this.#summaries[0]!.set(all, block * FIELDS);
  }

  /** Summarises a block of a coarser summary by those of the next finer that lie in it. */
  #combine(level: number, block: number): void {
    const finer = Math.ceil(this.end / (BLOCK * FACTOR ** (level - 1)));
    const all = this.#sum(level - 1, block * FACTOR, Math.min(finer, (block + 1) * FACTOR));
    this.#summaries[level]!.set(all, block * FIELDS);
  }

  #sum(level: number, from: number, to: number): number[] {
    const all = emptySummary();
    const summary = this.#summaries[level]!;
    for (let at = from * FIELDS; at < to * FIELDS; at += FIELDS) {
      for (const field of [LOW, LOW_POSITIVE])
        if (summary[at + field]! < all[field]!)
          put(all, field, summary[at + field]!, summary[at + field + 1]!);
      if (summary[at + HIGH]! > all[HIGH]!) put(all, HIGH, summary[at + HIGH]!, summary[at + HIGH + 1]!);
      for (let field = NAN; field < FIELDS; field++) all[field]! += summary[at + field]!;
    }
    return all;
  }

  #reserve(end: number, withEpochs: boolean): void {
    let capacity = Math.max(BLOCK, this.#values.length);
    while (capacity < end) capacity *= 2;
    if (capacity !== this.#values.length) {
      this.#values = grown(this.#values, new Float64Array(capacity));
      if (this.#of === null) this.#steps = grown(this.#steps, new Float64Array(capacity));
      this.#state = grown(this.#state, new Uint8Array(capacity));
      this.#summaries.forEach((summary, level) => {
        const blocks = new Float64Array(Math.ceil(capacity / (BLOCK * FACTOR ** level)) * FIELDS);
        blocks.set(emptySummary());
        for (let filled = FIELDS; filled < blocks.length; filled *= 2) blocks.copyWithin(filled, 0, filled);
        this.#summaries[level] = grown(summary, blocks);
      });
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

function emptySummary(): number[] {
  return [Infinity, -1, -Infinity, -1, Infinity, -1, 0, 0, 0, 0];
}

function put(summary: number[], field: number, value: number, i: number): void {
  summary[field] = value;
  summary[field + 1] = i;
}
