/**
 * Asks the kernel for what a snapshot left out of the part of the axis that is seen.
 *
 * Points are asked for by pieces, the newest first, and one question at a time. What comes is written by index as any
 * frame is, and the view that shows it then asks for the next. Of a part with very many pieces a summary is enough:
 * the person sees no more of it than that, until they zoom in.
 */
import type { Panel } from "./panels";
import type { Range } from "./plots/scales";
import { PIECE, type Series } from "./series";
import type { Run } from "./store";

/** Of a part with more pieces none is asked for. */
const MOST_PIECES = 64;
/** The most ranges in one question; `epochwidget/control.py` reads no more. */
const MOST_RANGES = 8;
/** After so many milliseconds without an answer the page says so. */
const PATIENCE = 3000;

/** A series of which something is missing in the part that is seen. */
export interface Gap {
  readonly run: Run;
  readonly series: Series;
  /** The pieces that are not complete, the newest first; empty where they are too many. */
  readonly pieces: readonly number[];
}

/** Puts a question to the kernel; `again` if it was not answered the first time. */
export type Ask = (question: object, again: boolean) => void;

/** Finds what is missing of the lines of a panel in a part of the axis. */
export function gapsOf({ lines }: Panel, [start, end]: Range): Gap[] {
  const gaps: Gap[] = [];
  for (const { series, shown, of } of lines) {
    if (!shown) continue;
    for (const each of of.run.clock === null ? [series] : [series, of.run.clock]) {
      if (each.complete || each.count === 0) continue;
      const place = of.timeline.placement(each);
      // What is missing lies between points that are here.
      let from = each.nearest(start, place) - 1;
      while (from > 0 && !each.has(from)) from--;
      let to = each.nearest(end, place) + 1;
      while (to < each.end && !each.has(to)) to++;
      const first = Math.floor(Math.max(0, from) / PIECE);
      const last = Math.floor(Math.min(to, each.end - 1) / PIECE);
      const pieces: number[] = [];
      for (let piece = last; piece >= first; piece--) if (each.missing(piece) > 0) pieces.push(piece);
      if (pieces.length > 0)
        gaps.push({ run: of.run, series: each, pieces: pieces.length > MOST_PIECES ? [] : pieces });
    }
  }
  return gaps;
}

/** The questions of all views of a widget. */
export class Detail {
  #number = 0;
  /** What the open question asks for; null if there is none. */
  #open: string[] | null = null;
  /** What was asked for, and is not to be had. */
  readonly #answered = new Set<string>();
  /** Whether it has had no answer for a while. */
  #waits = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #ask: Ask | null;
  readonly #changed: () => void;

  /** @param ask - null where there is no kernel */
  constructor(ask: Ask | null, changed: () => void) {
    this.#ask = ask;
    this.#changed = changed;
  }

  /** What is done about gaps, in words. */
  tells(gaps: readonly Gap[]): string {
    if (this.#ask === null) return "";
    if (gaps.some(({ pieces }) => pieces.length === 0)) return "; zoom in for all of them";
    if (this.#open === null) return "";
    return this.#waits ? "; the kernel has not answered yet" : "; asking the kernel for more";
  }

  /** Asks for the newest of what is missing, unless a question is open. */
  want(gaps: readonly Gap[]): void {
    const ask = this.#ask;
    if (ask === null || this.#open !== null) return;
    const asked = new Map<string, readonly [series: number, start: number, stop: number]>();
    let run: Run | null = null;
    for (const { run: of, series, pieces } of gaps) {
      if (run !== null && of !== run) continue;
      for (const piece of pieces) {
        const { id } = series.spec;
        // As soon as anything of it has come, it may be asked for again.
        const key = [of.facts.id, of.facts.generation, id, piece, series.missing(piece)].join(" ");
        if (this.#answered.has(key)) continue;
        run = of;
        asked.set(key, [id, piece * PIECE, Math.min((piece + 1) * PIECE, series.length)]);
        break;
      }
      if (asked.size === MOST_RANGES) break;
    }
    if (run === null) return;
    this.#open = [...asked.keys()];
    const { id, generation } = run.facts;
    const ranges = [...asked.values()];
    const question = { type: "detail", question: ++this.#number, run: id, generation, ranges };
    this.#timer = setTimeout(() => {
      this.#waits = true;
      this.#changed();
      ask(question, true);
    }, PATIENCE);
    ask(question, false);
  }

  /** Takes note of an answer, once what it brought is in the store. */
  answer(question: unknown): void {
    if (this.#open === null || question !== this.#number) return;
    clearTimeout(this.#timer);
    for (const key of this.#open) this.#answered.add(key);
    this.#open = null;
    this.#waits = false;
    this.#changed();
  }
}
