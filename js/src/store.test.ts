import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { BLOCK, LEVELS, Series } from "./series";
import { Store } from "./store";
import { encode, type RunDraft, series } from "./testing";
import { decode } from "./wire";

function storeOf(...runs: RunDraft[]): Store {
  const store = new Store();
  for (const run of runs) store.apply(decode(encode(run)));
  return store;
}

const loss = { series: [series()] };

function only(store: Store) {
  return [...store.runs.get("r1")!.series.values()][0]!;
}

describe("points", () => {
  test("are written by index: gaps stay holes until a later frame fills them", () => {
    const store = storeOf(
      { ...loss, columns: [{ series: 0, values: [1, 2] }] },
      { columns: [{ series: 0, start: 4, values: [5, 6] }] },
    );
    expect(store.points("r1", "batch", "loss")).toEqual({ steps: [1, 2, 5, 6], values: [1, 2, 5, 6] });
    const line = only(store);
    expect(line.isHole(2)).toBe(true);
    expect(line.complete).toBe(false);
    expect(line.extent.nan).toBe(0);
    store.apply(decode(encode({ columns: [{ series: 0, start: 2, values: [3, 4] }] })));
    expect(store.points("r1", "batch", "loss")?.values).toEqual([1, 2, 3, 4, 5, 6]);
    expect(line.complete).toBe(true);
  });

  test("are written again where frames overlap, and never taken away", () => {
    const store = storeOf(
      { ...loss, columns: [{ series: 0, values: [1, 2, 3, 4] }] },
      { columns: [{ series: 0, start: 1, values: [20, 30] }] },
    );
    expect(store.points("r1", "batch", "loss")?.values).toEqual([1, 20, 30, 4]);
    expect(only(store).extent.high).toBe(30);
  });

  test("that a snapshot left out are known to be missing, but break no line", () => {
    const store = storeOf({
      ...loss,
      columns: [{ series: 0, values: [1, 5, 9], steps: [1, 5, 9], indices: [0, 4, 8], length: 9 }],
    });
    const line = only(store);
    expect([line.count, line.length, line.complete]).toEqual([3, 9, false]);
    expect(line.isHole(2)).toBe(false);
    expect(line.has(2)).toBe(false);
    store.apply(decode(encode({ columns: [{ series: 0, start: 1, values: [2, 3, 4] }] })));
    expect(store.points("r1", "batch", "loss")?.values).toEqual([1, 2, 3, 4, 5, 9]);
  });

  test("that the kernel merged before they were sent break no line, and what was here before stays", () => {
    const store = storeOf(
      { ...loss, columns: [{ series: 0, values: [1, 2, 3] }] },
      // Of indices 2 to 7 the kernel has kept the last alone: it begins with a point that the page had.
      {
        columns: [
          { series: 0, start: 1, values: [2, 8, 9], steps: [2, 8, 9], indices: [1, 7, 8], length: 9 },
        ],
      },
      { columns: [{ series: 0, start: 9, values: [10] }] },
    );
    const line = only(store);
    expect(store.points("r1", "batch", "loss")?.values).toEqual([1, 2, 3, 8, 9, 10]);
    expect([3, 4, 5, 6].some((i) => line.isHole(i) || line.has(i))).toBe(false);
    expect([line.count, line.length, line.rewritten]).toEqual([6, 10, 0]);
  });

  test("of an epoch series carry their epochs", () => {
    const store = storeOf({
      series: [series({ name: "val_loss", granularity: "epoch", kind: "epoch", split: "validation" })],
      columns: [{ series: 0, values: [0.5, 0.4], steps: [10, 20], epochs: [0, 1] }],
    });
    expect(store.points("r1", "epoch", "val_loss")).toEqual({
      steps: [10, 20],
      values: [0.5, 0.4],
      epochs: [0, 1],
    });
    expect(store.points("r1", "batch", "val_loss")).toBeNull();
    expect(store.points("r2", "epoch", "val_loss")).toBeNull();
  });

  test("that are NaN or infinite are data, counted and located", () => {
    const values = Array.from({ length: 3 * BLOCK }, (_, i) => i + 1);
    values[100] = Number.NaN;
    values[150] = Number.POSITIVE_INFINITY;
    values[151] = Number.NaN;
    const store = storeOf({ ...loss, columns: [{ series: 0, values }] });
    const line = only(store);
    expect(line.extent).toMatchObject({ nan: 2, infinite: 1, low: 1, high: 3 * BLOCK });
    expect(line.step(line.firstNonFinite("nan"))).toBe(101);
    expect(line.step(line.firstNonFinite("infinite"))).toBe(151);
    // The same stretch again must not be counted twice.
    store.apply(decode(encode({ columns: [{ series: 0, values }] })));
    expect(line.extent).toMatchObject({ nan: 2, infinite: 1 });
  });

  test("of a series nobody introduced are left to the next snapshot", () => {
    const store = storeOf({ columns: [{ series: 7, values: [1] }] });
    expect(store.runs.get("r1")?.series.size).toBe(0);
  });

  test("stand in the kernel's order, also where the first message was lost", () => {
    const mean = series({ id: 1, name: "mean", granularity: "epoch", kind: "epoch" });
    const store = storeOf({ series: [mean] }, { series: [series(), mean] });
    expect([...store.runs.get("r1")!.series.keys()]).toEqual([0, 1]);
  });

  test("come out the same in whatever order overlapping frames come", () => {
    const truth = (i: number) => (i % 17 === 0 ? Number.NaN : Math.sin(i) * 10);
    const stretch = fc.record({
      start: fc.nat(400),
      count: fc.integer({ min: 1, max: 150 }),
      thin: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(stretch, { minLength: 1, maxLength: 8 }),
        fc.infiniteStream(fc.nat()),
        (parts, luck) => {
          const frames = parts.map(({ start, count, thin }) => {
            const indices = Array.from({ length: count }, (_, k) => start + k * (thin ? 3 : 1));
            const column = {
              series: 0,
              start,
              values: indices.map(truth),
              steps: indices.map((i) => 2 * i + 1),
            };
            return { columns: [thin ? { ...column, indices } : column] };
          });
          const shuffled = [...frames].sort(() => (luck.next().value % 3) - 1);
          const one = storeOf(loss, ...frames);
          const other = storeOf(loss, ...shuffled);
          const wanted = [
            ...new Set(
              parts.flatMap(({ start, count, thin }) =>
                Array.from({ length: count }, (_, k) => start + k * (thin ? 3 : 1)),
              ),
            ),
          ].sort((a, b) => a - b);
          expect(one.points("r1", "batch", "loss")).toEqual({
            steps: wanted.map((i) => 2 * i + 1),
            values: wanted.map(truth),
          });
          expect(other.points("r1", "batch", "loss")).toEqual(one.points("r1", "batch", "loss"));
          const [a, b] = [only(one), only(other)];
          expect(a.extent).toEqual(b.extent);
          for (let i = 0; i < a.end; i++) {
            expect(a.isHole(i)).toBe(b.isHole(i));
            expect(a.step(i)).toBe(b.step(i));
            if (i > 0) expect(a.step(i)).toBeGreaterThanOrEqual(a.step(i - 1));
          }
          const finite = wanted.map(truth).filter((v) => !Number.isNaN(v));
          expect(a.extent.low).toBe(Math.min(...finite));
          expect(a.extent.nan).toBe(wanted.length - finite.length);
        },
      ),
    );
  }, 30_000);
});

test("a summary of millions of points is taken in without going over all of them for each", () => {
  const line = new Series(series());
  const indices = Float64Array.from({ length: 4_000 }, (_, k) => 1_000 * k);
  const length = 4_000_000;
  const rest = { series: 0, start: 0, count: indices.length, length, first: 1, epochs: null };
  // A matter of a tenth of a second or of half a minute.
  line.write({ ...rest, values: indices, steps: indices.map((i) => i + 1), indices });
  expect([line.count, line.end, line.step(2_500), line.step(3_998_999)]).toEqual([
    4_000, 3_999_001, 2_001, 3_998_001,
  ]);
  expect(line.isHole(2_500)).toBe(false);
});

test("what is new in a million points is summarised in the few blocks that it falls into", () => {
  const line = new Series(series());
  const column = (start: number, values: Float64Array) => ({
    ...{ series: 0, start, count: values.length, length: start + values.length, first: start + 1 },
    ...{ values, steps: null, epochs: null, indices: null },
  });
  line.write(column(0, new Float64Array(1_000_000).fill(1)));
  // Each summary of a block is put down by this.
  const put = vi.spyOn(Float64Array.prototype, "set");
  line.write(column(1_000_000, new Float64Array(20).fill(2)));
  const blocks = put.mock.calls.length;
  put.mockRestore();
  expect(blocks).toBe(LEVELS);
  expect(line.extent).toMatchObject({ low: 1, high: 2, highest: 1_000_000 });
});

describe("runs", () => {
  test("keep newer facts when an older snapshot comes late", () => {
    const store = storeOf(
      { elapsed: 10, batch: 8, epoch: 0, spans: { start: 0, items: [[0, 0, 9]] } },
      { elapsed: 9, batch: 6, epoch: 0, spans: { start: 0, items: [[0, 0, null]] } },
    );
    const run = store.runs.get("r1")!;
    expect(run.facts.batch).toBe(8);
    expect(run.spans[0]).toEqual([0, 0, 9]);
  });

  test("that ended do not start again", () => {
    const store = storeOf({ elapsed: 10, status: "completed" }, { elapsed: 11, status: "running" });
    expect(store.runs.get("r1")?.facts.status).toBe("completed");
  });

  test("are chosen by id, and otherwise the newest is", () => {
    const store = storeOf({ id: "a", started: 2 }, { id: "b", started: 3 }, { id: "c", started: 1 });
    expect(store.choose("a")?.facts.id).toBe("a");
    expect(store.choose("")?.facts.id).toBe("b");
    expect(store.choose("gone")?.facts.id).toBe("b");
    expect(new Store().choose("")).toBeNull();
  });

  test("take spans and marks by index", () => {
    const store = storeOf(
      {
        spans: { start: 2, items: [[2, 20, null]] },
        marks: { start: 1, items: [{ step: 5, text: "b", epoch: null }] },
      },
      {
        elapsed: 1,
        spans: {
          start: 0,
          items: [
            [0, 0, 10],
            [1, 10, 10],
          ],
        },
      },
    );
    const run = store.runs.get("r1")!;
    expect(run.spans).toEqual([
      [0, 0, 10],
      [1, 10, 10],
      [2, 20, null],
    ]);
    expect(run.marks).toEqual([undefined, { step: 5, text: "b", epoch: null }]);
  });
});

describe("a run that goes on", () => {
  const first = {
    ...loss,
    status: "stopped",
    elapsed: 9,
    columns: [{ series: 0, values: [1, 2, 3, 4] }],
  } as const;

  test("is running again, and what comes is put behind what was", () => {
    const resumed = [[4, 9, 1_700_000_100]] as const;
    const store = storeOf(
      first,
      { resumed, elapsed: 9, columns: [{ series: 0, start: 4, values: [5] }] },
      first,
    );
    const run = store.choose("")!;
    expect(run.facts.status).toBe("running");
    expect(store.points("r1", "batch", "loss")!.values).toEqual([1, 2, 3, 4, 5]);
  });

  test("from an earlier epoch has forgotten what came behind, also if an older frame comes late", () => {
    const again = {
      ...loss,
      generation: 1,
      elapsed: 4,
      spans: { start: 0, items: [[0, 0, 2] as const] },
      columns: [{ series: 0, values: [1, 2] }],
    };
    const store = storeOf(
      { ...first, marks: { start: 0, items: [{ step: 4, text: "x", epoch: null }] } },
      again,
      first,
    );
    const run = store.choose("")!;
    expect([run.facts.elapsed, run.facts.status, run.lastStep]).toEqual([4, "running", 2]);
    expect([run.marks.length, run.spans.length]).toEqual([0, 1]);
    expect(store.points("r1", "batch", "loss")!.values).toEqual([1, 2]);
  });
});
