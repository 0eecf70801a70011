import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Detail, gapsOf } from "./detail";
import { panelsOf } from "./panels";
import { PIECE } from "./series";
import { DEFAULTS } from "./settings";
import { Store } from "./store";
import { encode, series, shownAs } from "./testing";
import { decode } from "./wire";

interface Question {
  question: number;
  run: string;
  generation: number;
  ranges: [number, number, number][];
}

const LENGTH = 5 * PIECE + 100;

/** A store with a run of which every tenth point is here, and every point up to a place. */
function summary(length = LENGTH, whole = 0) {
  const store = new Store();
  const indices = Array.from({ length }, (_, i) => i).filter(
    (i) => i < whole || i % 10 === 0 || i === length - 1,
  );
  take(store, { indices, steps: indices.map((i) => i + 1), values: indices, length, start: 0 });
  return store;
}

function take(store: Store, column: object) {
  store.apply(decode(encode({ series: [series()], columns: [{ series: 0, values: [], ...column }] })));
}

function gaps(store: Store, from: number, to: number) {
  const run = store.choose("")!;
  const [panel] = panelsOf([shownAs(run)], { ...DEFAULTS, granularity: "batch" });
  // The one epoch is as long as the run.
  return gapsOf(panel!, [from / run.lastStep, to / run.lastStep]);
}

/** Answers a question as the kernel does. */
function answer(store: Store, { ranges }: Question) {
  for (const [, start, stop] of ranges) {
    const values = Array.from({ length: stop - start }, (_, k) => start + k);
    take(store, { start, values, length: LENGTH, first: start + 1 });
  }
}

describe("gaps", () => {
  test("are of the pieces in sight, the newest first, with what lies at their edges", () => {
    const store = summary();
    expect(gaps(store, PIECE + 5000, 3 * PIECE - 5000).map(({ pieces }) => pieces)).toEqual([[2, 1]]);
    expect(gaps(store, PIECE + 20, PIECE + 90)[0]!.pieces).toEqual([1]);
    expect(gaps(store, 0, LENGTH)[0]!.pieces).toEqual([5, 4, 3, 2, 1, 0]);
  });

  test("are none where all points are here", () => {
    const store = summary(LENGTH, 2 * PIECE);
    expect(gaps(store, 0, 2 * PIECE - 100)).toEqual([]);
    expect(gaps(store, 0, 2 * PIECE + 100)[0]!.pieces).toEqual([2]);
  });

  test("are not counted one by one where they are very many", () => {
    const [gap] = gaps(summary(70 * PIECE), 0, 70 * PIECE);
    expect(gap!.pieces).toEqual([]);
    expect(
      new Detail(
        () => {},
        () => {},
      ).tells([gap!]),
    ).toBe("; zoom in for all of them");
  });
});

describe("asking", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function asked() {
    const questions: [Question, boolean][] = [];
    const changed = vi.fn();
    const detail = new Detail((question, again) => questions.push([question as Question, again]), changed);
    return { questions, changed, detail };
  }

  test("goes on until everything in sight is here", () => {
    const store = summary();
    const { questions, detail } = asked();
    for (let round = 0; round < 20; round++) {
      const open = gaps(store, PIECE, 3 * PIECE - 50);
      detail.want(open);
      detail.want(open);
      const last = questions.at(-1)![0];
      if (last.question === round) break;
      answer(store, last);
      detail.answer(last.question);
    }
    expect(questions.map(([{ ranges }]) => ranges)).toEqual([
      [[0, 2 * PIECE, 3 * PIECE]],
      [[0, PIECE, 2 * PIECE]],
      [[0, 0, PIECE]],
    ]);
    expect(questions[0]![0]).toMatchObject({ type: "detail", run: "r1", generation: 0 });
    expect(gaps(store, PIECE, 3 * PIECE - 50)).toEqual([]);
  });

  test("ends at what the kernel has not got either", () => {
    const store = summary();
    const { questions, detail } = asked();
    for (let round = 0; round < 20; round++) {
      detail.want(gaps(store, 0, PIECE - 100));
      detail.answer(round + 1);
    }
    expect(questions).toHaveLength(1);
    expect(detail.tells(gaps(store, 0, PIECE - 100))).toBe("");
  });

  test("is told, and when there is no answer it is told and asked another way", () => {
    const store = summary();
    const { questions, changed, detail } = asked();
    const open = gaps(store, 0, 100);
    detail.want(open);
    expect(detail.tells(open)).toBe("; asking the kernel for more");
    vi.advanceTimersByTime(60_000);
    expect(detail.tells(open)).toBe("; the kernel has not answered yet");
    expect(questions.map(([, again]) => again)).toEqual([false, true]);
    expect(changed).toHaveBeenCalledTimes(1);
    detail.answer(7);
    expect(detail.tells(open)).toBe("; the kernel has not answered yet");
    detail.answer(1);
    expect(detail.tells(open)).toBe("");
  });

  test("is left where there is no kernel", () => {
    const detail = new Detail(null, () => {});
    const open = gaps(summary(), 0, 100);
    detail.want(open);
    expect(detail.tells(open)).toBe("");
  });
});
