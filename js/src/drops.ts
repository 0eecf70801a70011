/** The steps at which a learning rate dropped, found as the points come. */
import { rate } from "./format";
import type { Series } from "./series";
import type { Mark } from "./wire";

// A smaller step down is part of a schedule's slope,
const DROP = 0.75;
// and so is one of many.
const MOST = 12;

/** Finds the drops of one series. */
export class Drops {
  readonly #series: Series;
  #marks: Mark[] = [];
  #done = 1;
  #version = 0;

  constructor(series: Series) {
    this.#series = series;
  }

  /** A mark at each drop; none if there are so many that they are the schedule itself. */
  marks(): readonly Mark[] {
    const series = this.#series;
    if (series.rewritten !== this.#version) {
      this.#version = series.rewritten;
      this.#done = 1;
      this.#marks = [];
    }
    for (; this.#done < series.end; this.#done++) {
      const i = this.#done;
      if (!series.has(i) || !series.has(i - 1)) continue;
      const [before, now] = [series.value(i - 1), series.value(i)];
      if (now > 0 && now < DROP * before && this.#marks.length <= MOST)
        this.#marks.push({ step: series.step(i), text: `lr ${rate(before)} → ${rate(now)}`, epoch: null });
    }
    return this.#marks.length > MOST ? [] : this.#marks;
  }
}
