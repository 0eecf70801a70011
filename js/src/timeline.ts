/**
 * Where points stand on the x axis.
 *
 * On the axis "step" a batch stands at its step. On the axis "epoch" a batch at step `s` of the epoch `e` that
 * began after `first` batches stands at `e + (s - first) / batches`: the epoch's last batch at `e + 1`.
 * A mean over an epoch stands at the epoch's middle, for that is what it stands for, or at its end if asked to.
 * On the axes "time" and "wall" a batch stands where the clock was when it ended: in seconds since the run began, or
 * since 1970.
 * A run that searches for a learning rate has the axis "learning rate" instead: a batch stands at the decimal
 * logarithm of the rate it used.
 */
import { standsForEpoch } from "./panels";
import type { Series } from "./series";
import type { XAxis } from "./settings";
import { known, type Run } from "./store";
import type { Mark, Resumed } from "./wire";

/** What an x axis counts. */
export type Axis = XAxis | "learning rate";

/** What of a run a timeline needs. */
export type Timed = Pick<Run, "spans" | "lastStep"> &
  Partial<Pick<Run, "searched" | "clock">> & { facts?: Pick<Run["facts"], "started" | "resumed"> };

/** The x axis of one run at one moment. */
export class Timeline {
  readonly axis: Axis;
  /** Where the axis begins, and the place of the newest point. */
  readonly start: number;
  readonly end: number;
  readonly #epochs: number[] = [];
  readonly #firsts: number[] = [];
  readonly #lengths: number[] = [];
  readonly #byEpoch = new Map<number, number>();
  readonly #rates: Series | null;
  readonly #clock: Series | null;
  /** Where the run began and went on: batches ended, seconds on its clock, and when that was on the axis. */
  readonly #starts: readonly Resumed[];
  readonly #meansAtEnd: boolean;
  /** How often what the clock or the rates say of former steps had changed. */
  readonly #moved: number;
  // Points are asked for in order, so the answer is mostly the span of the last question, or the next.
  #at = 0;

  constructor(run: Timed, axis: XAxis, meansAt: "middle" | "end" = "middle") {
    const spans = known(run.spans);
    this.#rates = run.searched ?? null;
    this.#meansAtEnd = meansAt === "end";
    const timed = axis === "time" || axis === "wall";
    this.#clock = timed && run.clock != null && run.clock.count > 0 ? run.clock : null;
    this.#moved = (this.#clock?.rewritten ?? 0) + (this.#rates?.rewritten ?? 0);
    this.#starts =
      axis === "wall" ? [[0, 0, run.facts?.started ?? 0], ...(run.facts?.resumed ?? [])] : [[0, 0, 0]];
    // A run that tells of epochs alone has no steps to stand at.
    const epochsAlone = run.lastStep === 0 && spans.length > 0;
    // Of a run that was read from a file nobody may know when anything was.
    const clockless = timed && this.#clock === null && run.lastStep > 0;
    this.axis = epochsAlone ? "epoch" : clockless ? "step" : axis;
    if (spans.length === 0) spans.push([0, 0, null]);
    spans.forEach(([epoch, first, batches], k) => {
      const next = spans[k + 1];
      const seen = (next === undefined ? run.lastStep : next[1]) - first;
      // Nobody knows how long the present epoch will be: as long as the one before, or what has been seen.
      const guess = next === undefined ? (this.#lengths[k - 1] ?? seen) : seen;
      this.#byEpoch.set(epoch, k);
      this.#epochs.push(epoch);
      this.#firsts.push(first);
      this.#lengths.push(Math.max(batches ?? guess, seen, 0));
    });
    const last = this.#epochs.length - 1;
    if (this.#rates !== null) {
      this.axis = "learning rate";
      this.start = this.position(0);
      this.end = this.position(run.lastStep);
      return;
    }
    if (this.axis !== "epoch" && timed) {
      this.start = this.#starts[0]![2];
      this.end = this.position(run.lastStep);
      return;
    }
    this.start = this.axis === "step" ? 0 : this.#epochs[0]!;
    // Epochs of which only results are logged have no batches; they still take their room.
    const whole = this.#lengths[last] === 0 && run.spans.length > 0 ? this.#epochs[last]! + 1 : this.start;
    this.end = this.axis === "step" ? run.lastStep : Math.max(this.position(run.lastStep), whole);
  }

  /** Whether every point stands where it stands on another timeline. */
  placesAs(other: Timeline): boolean {
    const alike = (a: readonly unknown[], b: readonly unknown[]) =>
      a.length === b.length && a.every((each, k) => each === b[k]);
    return (
      this === other ||
      (this.axis === other.axis &&
        this.#meansAtEnd === other.#meansAtEnd &&
        this.#clock === other.#clock &&
        this.#rates === other.#rates &&
        this.#moved === other.#moved &&
        alike(this.#starts.flat(), other.#starts.flat()) &&
        alike(this.#epochs, other.#epochs) &&
        alike(this.#firsts, other.#firsts) &&
        alike(this.#lengths, other.#lengths))
    );
  }

  /** The place of a step. */
  position(step: number): number {
    const rates = this.#rates;
    if (rates !== null) return Math.log10(rates.value(rates.nearest(step)));
    if (this.axis === "epoch") return this.#epochAt(step);
    if (this.axis === "step") return step;
    const clock = this.#clock;
    const seconds = clock === null || step === 0 ? 0 : clock.value(clock.nearest(step));
    return this.#moment(step, seconds);
  }

  /** Where a time on the run's clock stands: pauses between its parts are on no clock but the wall's. */
  #moment(step: number, seconds: number): number {
    let [, time, at] = this.#starts[0]!;
    for (const [first, until, when] of this.#starts) if (first < step) [time, at] = [until, when];
    return at + seconds - time;
  }

  #epochAt(step: number): number {
    const k = this.#find(step);
    const length = this.#lengths[k]!;
    return this.#epochs[k]! + (length > 0 ? (step - this.#firsts[k]!) / length : 0);
  }

  /** Whether the run was at a place. */
  reaches(place: number): boolean {
    const slack = (this.end - this.start) * 1e-9;
    return place >= this.start - slack && place <= this.end + slack;
  }

  /** The place of a mark. */
  markPlace({ step, epoch }: Mark): number {
    return this.axis === "epoch" && epoch !== null ? epoch : this.position(step);
  }

  /** The step at a place. */
  step(place: number): number {
    const rates = this.#rates;
    if (rates !== null) return rates.step(rates.nearest(place, (i) => Math.log10(rates.value(i))));
    if (this.axis === "step") return Math.round(place);
    if (this.axis !== "epoch") {
      const clock = this.#clock;
      if (clock === null) return 0;
      return clock.step(clock.nearest(place, (i) => this.#moment(clock.step(i), clock.value(i))));
    }
    let k = this.#epochs.length - 1;
    while (k > 0 && this.#epochs[k]! >= place) k--;
    return Math.round(this.#firsts[k]! + (place - this.#epochs[k]!) * this.#lengths[k]!);
  }

  /** The place in epochs, whatever the axis. */
  epoch(place: number): number {
    return this.axis === "epoch" ? place : this.#epochAt(this.axis === "step" ? place : this.step(place));
  }

  /** The place of each point of a series, by index. */
  placement(series: Series): (i: number) => number {
    if (series.spec.granularity === "batch") return (i) => this.position(series.step(i));
    if (standsForEpoch(series.spec)) return (i) => this.#middle(series.epoch(i), series.step(i));
    return (i) => this.#finish(series.epoch(i), series.step(i));
  }

  /** Where epochs meet: the place at which each epoch but the first began. */
  borders(): number[] {
    if (this.#rates !== null) return [];
    return this.axis === "epoch"
      ? this.#epochs.slice(1)
      : this.#firsts.slice(1).map((step) => this.position(step));
  }

  #middle(epoch: number, step: number): number {
    const k = this.#byEpoch.get(epoch);
    if (k === undefined || this.#rates !== null || this.#meansAtEnd) return this.#finish(epoch, step);
    return this.axis === "epoch" ? epoch + 0.5 : this.position(this.#firsts[k]! + this.#lengths[k]! / 2);
  }

  #finish(epoch: number, step: number): number {
    const k = this.#byEpoch.get(epoch);
    if (this.axis === "epoch" && k !== undefined && this.#lengths[k] === 0) return epoch + 1;
    return this.position(step);
  }

  /** The span of a step: it belongs to the epoch in which its batch ended. */
  #find(step: number): number {
    const firsts = this.#firsts;
    const fits = (k: number) =>
      (k === 0 || firsts[k]! < step) && (k + 1 >= firsts.length || step <= firsts[k + 1]!);
    if (fits(this.#at)) return this.#at;
    if (this.#at + 1 < firsts.length && fits(this.#at + 1)) return ++this.#at;
    let low = 0;
    let high = firsts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (firsts[middle]! < step) low = middle;
      else high = middle - 1;
    }
    this.#at = low;
    return low;
  }
}
