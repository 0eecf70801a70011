/**
 * What comes over the wire, decoded. Twin of `epochwidget/wire.py`, whose docstring is the contract.
 *
 * A frame is checked as a whole before anything of it is used, so that a malformed one changes nothing.
 */

/** How a run is doing. */
export type Status = "running" | "completed" | "stopped" | "failed";

/**
 * What a value stands for: "batch", "running", "epoch", "smoothed", "window", "reported" or "clock"; the words
 * for it are in `panels.ts`. A kind this page does not know is shown under its own name, and refuses nothing.
 */
export type Kind = string;

export type Granularity = "batch" | "epoch";

export type Split = "train" | "validation";

/** What a line is: everything a legend needs. */
export interface SeriesSpec {
  readonly id: number;
  readonly name: string;
  readonly panel: string;
  readonly label: string;
  readonly split: Split;
  readonly granularity: Granularity;
  readonly kind: Kind;
}

/** An epoch: its number, the batches that had ended when it began, and its length if known. */
export type Span = readonly [epoch: number, first: number, batches: number | null];

export interface Mark {
  readonly step: number;
  readonly text: string;
}

/** A stretch of a list, to be written from index `start` on. */
export interface Stretch<T> {
  readonly start: number;
  readonly items: readonly T[];
}

/** A stretch of one series, to be written by index. */
export interface Column {
  readonly series: number;
  readonly start: number;
  readonly count: number;
  readonly values: Float64Array;
  /** Null when each point is one step after the one before; `first` is then the first point's step. */
  readonly steps: Float64Array | null;
  readonly first: number;
  readonly epochs: Float64Array | null;
  /** The points' indices, where a snapshot leaves some points out. */
  readonly indices: Float64Array | null;
  /** How many points the series has in the kernel. */
  readonly length: number;
}

/** What is known about a run beside its points. */
export interface RunFacts {
  readonly id: string;
  readonly name: string;
  readonly status: Status;
  readonly error: string | null;
  readonly started: number;
  readonly elapsed: number;
  readonly remaining: number | null;
  readonly epoch: number | null;
  readonly epochs: number | null;
  readonly batch: number;
  readonly batches: number | null;
}

export interface RunFrame extends RunFacts {
  readonly spans: Stretch<Span>;
  readonly marks: Stretch<Mark>;
  readonly series: readonly SeriesSpec[];
  readonly columns: readonly Column[];
}

export interface Frame {
  readonly runs: readonly RunFrame[];
}

/** The version of the wire this page speaks. */
export const VERSION = 1;

/** Says what is wrong with a frame. */
export class FrameError extends Error {
  override name = "FrameError";
}

// No series is longer than this; a larger number is a fault, and must not make the page allocate memory.
const MOST_POINTS = 2 ** 28;

const STATUSES: readonly Status[] = ["running", "completed", "stopped", "failed"];
const GRANULARITIES: readonly Granularity[] = ["batch", "epoch"];
const SPLITS: readonly Split[] = ["train", "validation"];

/**
 * Decodes one frame. The numbers are copied, so the caller may reuse the buffer.
 *
 * @throws FrameError if the bytes are no frame of this version
 */
export function decode(bytes: ArrayBuffer | ArrayBufferView): Frame {
  const buffer =
    bytes instanceof ArrayBuffer
      ? bytes
      : // Hosts hand over views into larger buffers at any offset; float64 needs a multiple of eight.
        (bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer);
  if (buffer.byteLength < 8) fail(`a frame has at least 8 bytes, this one has ${buffer.byteLength}`);
  const head = new DataView(buffer);
  const version = head.getUint32(0, true);
  if (version !== VERSION) fail(`this page reads frames of version ${VERSION}, not ${version}`);
  const size = head.getUint32(4, true);
  const start = 8 + size;
  if (start > buffer.byteLength || start % 8 !== 0) fail(`the header's length ${size} does not fit`);
  if ((buffer.byteLength - start) % 8 !== 0) fail("the body is no whole number of float64 values");

  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(buffer, 8, size)));
  } catch {
    fail("the header is not JSON in UTF-8");
  }
  const body = new Float64Array(buffer, start);
  return {
    runs: list(record(header, "header").runs, "runs").map((run, i) => runFrame(run, `runs[${i}]`, body)),
  };
}

function runFrame(value: unknown, at: string, body: Float64Array): RunFrame {
  const run = record(value, at);
  return {
    id: text(run.id, `${at}.id`),
    name: text(run.name, `${at}.name`),
    status: oneOf(run.status, STATUSES, `${at}.status`),
    error: optional(run.error, text, `${at}.error`),
    started: number(run.started, `${at}.started`),
    elapsed: number(run.elapsed, `${at}.elapsed`),
    remaining: optional(run.remaining, number, `${at}.remaining`),
    epoch: optional(run.epoch, number, `${at}.epoch`),
    epochs: optional(run.epochs, number, `${at}.epochs`),
    batch: number(run.batch, `${at}.batch`),
    batches: optional(run.batches, number, `${at}.batches`),
    spans: stretch(run.spans, span, `${at}.spans`),
    marks: stretch(run.marks, mark, `${at}.marks`),
    series: list(run.series, `${at}.series`).map((item, i) => seriesSpec(item, `${at}.series[${i}]`)),
    columns: list(run.columns, `${at}.columns`).map((item, i) => column(item, `${at}.columns[${i}]`, body)),
  };
}

function seriesSpec(value: unknown, at: string): SeriesSpec {
  const spec = record(value, at);
  return {
    id: index(spec.id, `${at}.id`),
    name: text(spec.name, `${at}.name`),
    panel: text(spec.panel, `${at}.panel`),
    label: text(spec.label, `${at}.label`),
    split: oneOf(spec.split, SPLITS, `${at}.split`),
    granularity: oneOf(spec.granularity, GRANULARITIES, `${at}.granularity`),
    kind: text(spec.kind, `${at}.kind`),
  };
}

function column(value: unknown, at: string, body: Float64Array): Column {
  const entry = record(value, at);
  const start = index(entry.start, `${at}.start`);
  const count = index(entry.count, `${at}.count`);
  const array = (where: unknown, name: string): Float64Array => {
    const from = index(where, name);
    if (from + count > body.length) fail(`${name} lies outside the body`);
    return body.subarray(from, from + count);
  };
  const steps = entry.steps == null ? null : array(entry.steps, `${at}.steps`);
  const indices = entry.indices == null ? null : array(entry.indices, `${at}.indices`);
  let end = start + count;
  if (indices !== null) {
    let before = -1;
    for (const i of indices) {
      if (!(Number.isInteger(i) && i > before)) fail(`${at}.indices do not rise`);
      before = i;
    }
    end = before + 1;
  }
  if (end > MOST_POINTS) fail(`${at} reaches beyond the longest series`);
  return {
    series: index(entry.series, `${at}.series`),
    start,
    count,
    values: array(entry.values, `${at}.values`),
    steps,
    first: steps !== null && entry.first == null ? 0 : number(entry.first, `${at}.first`),
    epochs: entry.epochs == null ? null : array(entry.epochs, `${at}.epochs`),
    indices,
    length: entry.length == null ? end : Math.max(end, index(entry.length, `${at}.length`)),
  };
}

function span(value: unknown, at: string): Span {
  const items = list(value, at);
  return [number(items[0], at), number(items[1], at), optional(items[2], number, at)];
}

function mark(value: unknown, at: string): Mark {
  const item = record(value, at);
  return { step: number(item.step, `${at}.step`), text: text(item.text, `${at}.text`) };
}

function stretch<T>(value: unknown, item: (value: unknown, at: string) => T, at: string): Stretch<T> {
  const part = record(value, at);
  return {
    start: index(part.start, `${at}.start`),
    items: list(part.items, `${at}.items`).map((entry, i) => item(entry, `${at}.items[${i}]`)),
  };
}

function fail(message: string): never {
  throw new FrameError(message);
}

function record(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) fail(`${at} is no object`);
  return value as Record<string, unknown>;
}

function list(value: unknown, at: string): readonly unknown[] {
  if (!Array.isArray(value)) fail(`${at} is no list`);
  return value;
}

function text(value: unknown, at: string): string {
  if (typeof value !== "string") fail(`${at} is no text`);
  return value;
}

function number(value: unknown, at: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) fail(`${at} is no number`);
  return value;
}

function index(value: unknown, at: string): number {
  const n = number(value, at);
  if (!Number.isInteger(n) || n < 0 || n > MOST_POINTS) fail(`${at} is no index`);
  return n;
}

function optional<T>(value: unknown, read: (value: unknown, at: string) => T, at: string): T | null {
  return value == null ? null : read(value, at);
}

function oneOf<T extends string>(value: unknown, known: readonly T[], at: string): T {
  const found = known.find((word) => word === value);
  if (found === undefined) fail(`${at} is none of ${known.join(", ")}`);
  return found;
}
