/** For tests only: frames as the kernel would send them, and a model as anywidget would hand it over. */
import type { Colour, Shown } from "./panels";
import { DEFAULTS } from "./settings";
import type { Run } from "./store";
import { Timeline } from "./timeline";
import type { Model } from "./widget";
import type { Column, RunFrame, SeriesSpec } from "./wire";

/** A column in the making; arrays may be plain lists. */
export interface ColumnDraft extends Partial<Omit<Column, "values" | "steps" | "epochs" | "indices">> {
  series: number;
  values: ArrayLike<number>;
  steps?: ArrayLike<number> | null;
  epochs?: ArrayLike<number> | null;
  indices?: ArrayLike<number> | null;
}

/** A run in the making: what is left out is filled with something plain. */
export type RunDraft = Partial<Omit<RunFrame, "columns">> & { columns?: readonly ColumnDraft[] };

/** The bytes of a frame. */
export function encode(...runs: readonly RunDraft[]): DataView {
  const body: number[] = [];
  const put = (array: ArrayLike<number>): number => {
    const at = body.length;
    for (let i = 0; i < array.length; i++) body.push(array[i]!);
    return at;
  };
  const header = {
    runs: runs.map((run) => ({
      id: "r1",
      name: "run 1",
      status: "running",
      error: null,
      stoppable: null,
      stopping: null,
      purpose: "training",
      started: 1_700_000_000,
      elapsed: 0,
      remaining: null,
      generation: 0,
      resumed: [],
      watching: 0,
      validating: 0,
      epoch: null,
      epochs: null,
      batch: 0,
      batches: null,
      spans: { start: 0, items: [] },
      marks: { start: 0, items: [] },
      series: [],
      ...run,
      columns: (run.columns ?? []).map((column) => ({
        ...column,
        start: column.start ?? 0,
        count: column.values.length,
        length: column.length ?? (column.start ?? 0) + column.values.length,
        values: put(column.values),
        steps: column.steps ? put(column.steps) : null,
        ...(column.steps ? {} : { first: column.first ?? (column.start ?? 0) + 1 }),
        ...(column.epochs ? { epochs: put(column.epochs) } : {}),
        ...(column.indices ? { indices: put(column.indices) } : {}),
      })),
    })),
  };
  return pack(JSON.stringify(header), body);
}

/** Puts header text and body together. */
export function pack(json: string, body: ArrayLike<number> = [], version = 1): DataView {
  let text = new TextEncoder().encode(json);
  const size = Math.ceil(text.length / 8) * 8;
  const padded = new Uint8Array(size).fill(32);
  padded.set(text);
  text = padded;
  const bytes = new ArrayBuffer(8 + size + 8 * body.length);
  const view = new DataView(bytes);
  view.setUint32(0, version, true);
  view.setUint32(4, size, true);
  new Uint8Array(bytes, 8, size).set(text);
  for (let i = 0; i < body.length; i++) view.setFloat64(8 + size + 8 * i, body[i]!, true);
  return view;
}

/** A series of the loss; a patch makes it any other. */
export function series(patch: Partial<SeriesSpec> = {}): SeriesSpec {
  return {
    id: 0,
    name: "loss",
    panel: "loss",
    label: "train",
    split: "train",
    granularity: "batch",
    kind: "batch",
    ...patch,
  };
}

/** A run as it is drawn, over epochs. */
export function shownAs(run: Run, colour: Colour | null = null): Shown {
  return { run, name: run.facts.name, timeline: new Timeline(run, "epoch"), colour, round: 0 };
}

/** A model that keeps its traits in memory and notes what the page saved. */
export class FakeModel implements Model {
  readonly traits: Record<string, unknown>;
  readonly saved: Record<string, unknown>[] = [];
  #pending: Record<string, unknown> = {};
  readonly #listeners = new Map<string, Set<(...args: never[]) => void>>();

  constructor(traits: Record<string, unknown> = {}) {
    this.traits = { ...DEFAULTS, _snapshot: new DataView(new ArrayBuffer(0)), ...traits };
  }

  get(name: string): unknown {
    return this.traits[name];
  }

  set(name: string, value: unknown): void {
    this.traits[name] = value;
    this.#pending[name] = value;
    this.#emit(`change:${name}`);
  }

  save_changes(): void {
    this.saved.push(this.#pending);
    this.#pending = {};
  }

  on(event: string, callback: (...args: never[]) => void): void {
    const known = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, known.add(callback));
  }

  off(event: string, callback: (...args: never[]) => void): void {
    this.#listeners.get(event)?.delete(callback);
  }

  /** What the kernel does when it assigns a trait. */
  assign(name: string, value: unknown): void {
    this.traits[name] = value;
    this.#emit(`change:${name}`);
  }

  /** What the kernel does when it sends new points. */
  append(frame: DataView): void {
    this.#emit("msg:custom", { type: "append" }, [frame]);
  }

  /** Any custom message. */
  message(content: unknown, buffers: readonly unknown[] = []): void {
    this.#emit("msg:custom", content, buffers);
  }

  #emit(event: string, ...args: unknown[]): void {
    for (const listener of this.#listeners.get(event) ?? [])
      (listener as (...args: unknown[]) => void)(...args);
  }
}
