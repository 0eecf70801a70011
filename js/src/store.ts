/**
 * Everything the kernel has told this page: runs and their series. No DOM, and no opinion on drawing.
 *
 * Frames may come twice, late or not at all. Points are written by index, so a gap or an overlap heals; facts
 * about a run only move forward in its own time.
 */
import { Drops } from "./drops";
import { RATE } from "./panels";
import { Series } from "./series";
import { Smoothed } from "./smoothing";
import type { Frame, Granularity, Mark, RunFacts, RunFrame, SeriesSpec, Span } from "./wire";

// The seconds over which the pace of a run is measured.
const PACE = 10;

/** The points of one series, as plain lists. */
export interface Points {
  steps: number[];
  values: number[];
  /** Only for series of granularity "epoch"; counted from 0. */
  epochs?: number[];
}

/** One run as far as the page knows it. */
export class Run {
  facts: RunFacts;
  /** The epochs begun. An entry the page has not been told yet is undefined. */
  readonly spans: (Span | undefined)[] = [];
  readonly marks: (Mark | undefined)[] = [];
  readonly series = new Map<number, Series>();
  /** The clock series: seconds from the run's start to the end of each batch. */
  clock: Series | null = null;
  /** When the facts arrived, on the page's monotonic clock in milliseconds; null if they were restored. */
  heard: number | null = null;
  /** The highest step of any point. */
  lastStep = 0;
  readonly #smoothed = new Map<Series, Smoothed>();
  readonly #drops = new Map<Series, Drops>();

  constructor(facts: RunFacts) {
    this.facts = facts;
  }

  apply(frame: RunFrame, heard: number | null): void {
    const { spans, marks, series, columns, ...facts } = frame;
    if (facts.generation < this.facts.generation) return;
    const dropped = facts.generation > this.facts.generation;
    if (dropped) this.#forget();
    // A snapshot made before the last append may arrive after it.
    const ended = this.facts.status !== "running";
    const resumed = facts.resumed.length - this.facts.resumed.length;
    const later = facts.elapsed >= this.facts.elapsed && !(ended && facts.status === "running");
    const current = dropped || resumed > 0 || (resumed === 0 && later);
    if (current) {
      this.facts = facts;
      this.heard = heard;
    }
    write(this.spans, spans.start, spans.items, current);
    write(this.marks, marks.start, marks.items, current);
    for (const spec of series) this.#declare(spec);
    for (const column of columns) {
      // Unknown when the frame that introduced the series was lost; the next snapshot brings both.
      const target = this.series.get(column.series);
      if (target === undefined) continue;
      target.write(column);
      if (target.end > 0) this.lastStep = Math.max(this.lastStep, target.step(target.end - 1));
    }
    const span = this.spans.at(-1);
    if (span !== undefined && this.facts.epoch === span[0]) {
      this.lastStep = Math.max(this.lastStep, span[1] + this.facts.batch);
    }
  }

  /** The run went on from an earlier epoch: what was dropped is sent no more, and all else is sent again. */
  #forget(): void {
    this.spans.length = this.marks.length = this.lastStep = 0;
    this.clock = null;
    for (const map of [this.series, this.#smoothed, this.#drops]) map.clear();
  }

  /** The average over a series' values, up to date. */
  smoothed(series: Series, weight: number): Series {
    let found = this.#smoothed.get(series);
    if (found === undefined) {
      found = new Smoothed(series, weight);
      this.#smoothed.set(series, found);
    }
    return found.update(weight);
  }

  /** What is marked on the axis: by the person, by a framework, and where a learning rate dropped. */
  allMarks(): Mark[] {
    const marks = known(this.marks);
    for (const series of this.series.values()) {
      if (series.spec.panel !== RATE || series.spec.granularity !== "batch") continue;
      let drops = this.#drops.get(series);
      if (drops === undefined) {
        drops = new Drops(series);
        this.#drops.set(series, drops);
      }
      marks.push(...drops.marks());
    }
    return marks;
  }

  /** The first step at which a value was NaN or infinite, and which; null if all were finite. */
  firstFault(): { step: number; what: string; panel: string } | null {
    const faults = [...this.series.values()].flatMap((series) =>
      series.faults().map((fault) => ({ ...fault, panel: series.spec.panel })),
    );
    return faults.sort((a, b) => a.step - b.step)[0] ?? null;
  }

  /** Batches a second of late; null where nobody knows. */
  get pace(): number | null {
    const { clock } = this;
    if (clock === null || clock.count < 3) return null;
    const end = clock.end - 1;
    // The first batch is left out: frameworks compile and warm up in it.
    const since = Math.max(clock.value(0), clock.value(end) - PACE);
    const from = this.facts.status === "running" ? clock.nearest(since, (i) => clock.value(i)) : 0;
    const [steps, seconds] = [clock.step(end) - clock.step(from), clock.value(end) - clock.value(from)];
    return steps > 0 && seconds > 0 ? steps / seconds : null;
  }

  #declare(spec: SeriesSpec): void {
    if (this.series.has(spec.id)) return;
    const series = new Series(spec);
    // Not every host keeps messages for a page that is yet to load: the first series may come last, with a snapshot.
    const later = [...this.series].filter(([id]) => id > spec.id);
    this.series.set(spec.id, series);
    for (const [id, one] of later) {
      this.series.delete(id);
      this.series.set(id, one);
    }
    if (spec.kind === "clock") this.clock = series;
  }

  /** The learning rates over which the loss is to be drawn, in a run that searches for one; else null. */
  get searched(): Series | null {
    if (this.facts.purpose !== "lr search") return null;
    for (const series of this.series.values()) {
      if (series.spec.panel === RATE && series.count > 0) return series;
    }
    return null;
  }
}

/** All runs of one widget. Every view of the widget reads the same store. */
export class Store {
  readonly runs = new Map<string, Run>();
  /** What was wrong with the first frame that could not be read; null if all were well. */
  fault: string | null = null;
  readonly #listeners = new Set<() => void>();

  /**
   * Takes in a frame.
   *
   * @param heard - the page's monotonic clock in milliseconds when the frame came from a living kernel;
   *   null for a frame restored from a saved page, whose time stands still
   */
  apply(frame: Frame, heard: number | null = null): void {
    for (const part of frame.runs) {
      let run = this.runs.get(part.id);
      if (run === undefined) {
        run = new Run(part);
        this.runs.set(part.id, run);
      }
      run.apply(part, heard);
    }
    this.#changed();
  }

  /** Notes that a frame could not be read. */
  reject(reason: string): void {
    this.fault ??= reason;
    this.#changed();
  }

  /** Calls `listener` after every change, until the function returned is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The runs, first those that began, or went on, last. */
  newestFirst(): Run[] {
    const since = ({ facts }: Run) => facts.resumed.at(-1)?.[2] ?? facts.started;
    return [...this.runs.values()].reverse().sort((a, b) => since(b) - since(a));
  }

  /** The runs' ids in this order, for tests and the browser's console. */
  ids(): string[] {
    return this.newestFirst().map(({ facts }) => facts.id);
  }

  /** The runs in the order in which they began. */
  oldestFirst(): Run[] {
    return [...this.runs.values()].sort((a, b) => a.facts.started - b.facts.started);
  }

  /** The run with this id; the newest if the id is empty or unknown; null if there is none. */
  choose(id: string): Run | null {
    return this.runs.get(id) ?? this.newestFirst()[0] ?? null;
  }

  /**
   * The points of a series, for tests and the browser's console. Holes are left out.
   *
   * @returns null if there is no such run or series
   */
  points(runId: string, granularity: Granularity, name: string): Points | null {
    for (const series of this.runs.get(runId)?.series.values() ?? []) {
      if (series.spec.granularity !== granularity || series.spec.name !== name) continue;
      const points: Points = { steps: [], values: [] };
      if (granularity === "epoch") points.epochs = [];
      for (let i = 0; i < series.end; i++) {
        if (!series.has(i)) continue;
        points.steps.push(series.step(i));
        points.values.push(series.value(i));
        points.epochs?.push(series.epoch(i));
      }
      return points;
    }
    return null;
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** The entries of a list that the page has been told. */
export function known<T>(list: readonly (T | undefined)[]): T[] {
  return list.filter((item) => item !== undefined);
}

function write<T>(target: (T | undefined)[], start: number, items: readonly T[], replace: boolean): void {
  while (target.length < start) target.push(undefined);
  items.forEach((item, k) => {
    if (replace || target[start + k] === undefined) target[start + k] = item;
  });
}
