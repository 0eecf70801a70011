/**
 * The exponential average that is drawn over batch values, debiased as TensorBoard's: the first values are not pulled
 * towards zero.
 *
 * With the weight `w`, the average after the values `v[0] ... v[n]` of consecutive steps is
 * `sum(w^(n-k) v[k]) / sum(w^(n-k))`. The weight belongs to the step, not to the point: a value that is logged every
 * `d` steps counts as if it had been there `d` times. NaN and infinities are passed over, as gaps.
 *
 * What a snapshot of a long run keeps are spikes, and no average can be made of these. So it begins anew where points
 * are missing, and is there again once what came before them would hardly count any more.
 */
import { BLOCK, Series } from "./series";

/** The smoothed twin of a series, made as far as the series goes and carried on from there. */
export class Smoothed {
  /** The average at each point of the series, under the same index. */
  readonly series: Series;
  readonly #source: Series;
  #weight: number;
  #version = -1;
  #done = 0;
  #sum = 0;
  #norm = 0;
  #step = 0;
  /** How many points must come before there is an average again. */
  #wait = 0;

  constructor(source: Series, weight: number) {
    this.#source = source;
    this.#weight = weight;
    this.series = new Series(source.spec, source);
  }

  /** Takes in what has come since, with a new weight if it is another. */
  update(weight: number): Series {
    const source = this.#source;
    // Points that were written again, or late, change every average behind them.
    const again = weight !== this.#weight || source.rewritten !== this.#version;
    if (again) {
      this.#weight = weight;
      this.#version = source.rewritten;
      this.#done = this.#sum = this.#norm = this.#wait = 0;
    }
    if (this.#done < source.end) this.#carryOn();
    return this.series;
  }

  #carryOn(): void {
    const source = this.#source;
    const start = this.#done;
    // Of a summary of a long run few are here.
    const most = Math.min(source.end - start, source.count);
    const values = new Float64Array(most);
    const indices: number[] = [];
    for (let i = start; i < source.end; i++) {
      if (i % BLOCK === 0) i = source.skip(i);
      if (!source.has(i)) continue;
      const value = source.value(i);
      const step = source.step(i);
      const k = indices.length;
      values[k] = Number.NaN;
      if (i > 0 && !source.has(i - 1)) {
        this.#sum = this.#norm = 0;
        this.#wait = 2 / (1 - this.#weight);
      }
      if (Number.isFinite(value)) {
        const gap = this.#norm === 0 ? 1 : step - this.#step;
        // A power takes longer than all the rest.
        const kept = gap > 1 ? this.#weight ** gap : this.#weight;
        this.#sum = this.#sum * kept + value * (1 - kept);
        this.#norm = this.#norm * kept + (1 - kept);
        this.#step = step;
        if (this.#wait-- <= 0) values[k] = this.#sum / this.#norm;
      }
      indices.push(i);
    }
    this.#done = source.end;
    if (indices.length === 0) return;
    this.series.write({
      series: source.spec.id,
      start,
      count: indices.length,
      length: source.length,
      first: 0,
      values: values.subarray(0, indices.length),
      steps: null, // the source's
      epochs: null,
      // The line passes over what is not here: a frame that was lost comes again with the next snapshot.
      indices: indices.length === source.end - start ? null : Float64Array.from(indices),
    });
  }
}
