/**
 * What comes over the wire, decoded. Twin of `epochwidget/wire.py`, whose docstring is the contract.
 *
 * A frame is checked as a whole before anything of it is used, so that a malformed one changes nothing.
 */

/** How a run is doing. */
export type Status = "running" | "completed" | "stopped" | "failed";

/**
 * What a value stands for: "batch", "running", "epoch", "evaluation", "smoothed", "window", "reported" or "clock";
 * the words for it are in `panels.ts`. A kind this page does not know is shown under its own name, and refuses nothing.
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
  /** Its place in a run without batches. */
  readonly epoch: number | null;
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

/** Where a run went on after it had ended: batches ended, seconds of the run, and when, in seconds since 1970. */
export type Resumed = readonly [step: number, time: number, at: number];

/** What is known about a run beside its points. */
export interface RunFacts {
  readonly id: string;
  readonly name: string;
  readonly status: Status;
  readonly error: string | null;
  /** After what the training ends once it is asked to; null if nobody knows that it looks. */
  readonly stoppable: Granularity | null;
  /** After what it was asked to end. */
  readonly stopping: Granularity | null;
  /** "training", or "lr search": then the loss is drawn over the learning rate. */
  readonly purpose: string;
  readonly started: number;
  readonly elapsed: number;
  readonly remaining: number | null;
  /** How often points of the run were dropped; a page with a lower number forgets what it has of the run. */
  readonly generation: number;
  readonly resumed: readonly Resumed[];
  /** Seconds of the training that watching it has cost so far, measured. */
  readonly watching: number;
  /** Seconds spent in validation so far. */
  readonly validating: number;
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
    runs: fields(header, "header")(
      "runs",
      listOf((run, at) => runFrame(run, at, body)),
    ),
  };
}

function runFrame(value: unknown, at: string, body: Float64Array): RunFrame {
  const field = fields(value, at);
  return {
    id: field("id", text),
    name: field("name", text),
    status: field("status", oneOf(STATUSES)),
    error: field("error", optional(text)),
    stoppable: field("stoppable", optional(oneOf(GRANULARITIES))),
    stopping: field("stopping", optional(oneOf(GRANULARITIES))),
    purpose: field("purpose", text),
    started: field("started", number),
    elapsed: field("elapsed", number),
    remaining: field("remaining", optional(number)),
    generation: field("generation", index),
    resumed: field("resumed", listOf(resumed)),
    watching: field("watching", number),
    validating: field("validating", number),
    epoch: field("epoch", optional(number)),
    epochs: field("epochs", optional(number)),
    batch: field("batch", number),
    batches: field("batches", optional(number)),
    spans: field("spans", stretch(span)),
    marks: field("marks", stretch(mark)),
    series: field("series", listOf(seriesSpec)),
    columns: field(
      "columns",
      listOf((item, where) => column(item, where, body)),
    ),
  };
}

function seriesSpec(value: unknown, at: string): SeriesSpec {
  const field = fields(value, at);
  return {
    id: field("id", index),
    name: field("name", text),
    panel: field("panel", text),
    label: field("label", text),
    split: field("split", oneOf(SPLITS)),
    granularity: field("granularity", oneOf(GRANULARITIES)),
    kind: field("kind", text),
  };
}

function column(value: unknown, at: string, body: Float64Array): Column {
  const field = fields(value, at);
  const start = field("start", index);
  const count = field("count", index);
  const array: Reader<Float64Array> = (where, name) => {
    const from = index(where, name);
    if (from + count > body.length) fail(`${name} lies outside the body`);
    return body.subarray(from, from + count);
  };
  const steps = field("steps", optional(array));
  const indices = field("indices", optional(array));
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
  const first = field("first", optional(number));
  if (first === null && steps === null) fail(`${at} has neither steps nor first`);
  return {
    series: field("series", index),
    start,
    count,
    values: field("values", array),
    steps,
    first: first ?? 0,
    epochs: field("epochs", optional(array)),
    indices,
    length: Math.max(end, field("length", optional(index)) ?? 0),
  };
}

function span(value: unknown, at: string): Span {
  const items = list(value, at);
  return [number(items[0], at), number(items[1], at), optional(number)(items[2], at)];
}

function resumed(value: unknown, at: string): Resumed {
  const items = list(value, at);
  return [number(items[0], at), number(items[1], at), number(items[2], at)];
}

function mark(value: unknown, at: string): Mark {
  const field = fields(value, at);
  return { step: field("step", number), text: field("text", text), epoch: field("epoch", optional(number)) };
}

/** Checks a value and gives it its type; `at` says where it stands. */
type Reader<T> = (value: unknown, at: string) => T;

/** Reads the fields of an object. */
function fields(value: unknown, at: string): <T>(name: string, read: Reader<T>) => T {
  if (typeof value !== "object" || value === null || Array.isArray(value)) fail(`${at} is no object`);
  return (name, read) => read((value as Record<string, unknown>)[name], `${at}.${name}`);
}

function stretch<T>(item: Reader<T>): Reader<Stretch<T>> {
  return (value, at) => {
    const field = fields(value, at);
    return { start: field("start", index), items: field("items", listOf(item)) };
  };
}

function listOf<T>(item: Reader<T>): Reader<readonly T[]> {
  return (value, at) => list(value, at).map((entry, i) => item(entry, `${at}[${i}]`));
}

function optional<T>(read: Reader<T>): Reader<T | null> {
  return (value, at) => (value == null ? null : read(value, at));
}

function oneOf<T extends string>(known: readonly T[]): Reader<T> {
  return (value, at) => known.find((word) => word === value) ?? fail(`${at} is none of ${known.join(", ")}`);
}

function fail(message: string): never {
  throw new FrameError(message);
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
