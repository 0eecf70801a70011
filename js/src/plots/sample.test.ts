import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { Series } from "../series";
import { series } from "../testing";
import { Timeline } from "../timeline";
import type { Column } from "../wire";
import { Sampler, sample } from "./sample";

function column(start: number, values: ArrayLike<number>, indices: number[] | null = null): Column {
  return {
    series: 0,
    start,
    count: values.length,
    values: Float64Array.from(values),
    steps: null,
    first: start,
    epochs: null,
    indices: indices === null ? null : Float64Array.from(indices),
    length: start + values.length,
  };
}

function sampled(line: Series, columns: number, log = false, start = 0, end = line.end) {
  return sample(line, (i) => i, { start, end, columns }, log);
}

describe("a sample", () => {
  test("of few points is exact, with a gap where NaN or a hole is, and none where points were left out", () => {
    const holed = new Series(series());
    holed.write(column(0, [1, 2, Number.NaN, 4, 5]));
    holed.write(column(7, [8, 9]));
    expect(sampled(holed, 900)).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 7, 8],
      [1, 2, null, 4, 5, null, null, 8, 9],
    ]);

    const thin = new Series(series());
    thin.write(column(0, [1, 2, 3], [0, 400, 800]));
    expect(sampled(thin, 900)).toEqual([
      [0, 400, 800],
      [1, 2, 3],
    ]);
  });

  test("of a million points costs what the width costs, moves no point, and shows every spike", () => {
    const line = new Series(series());
    const values = Float64Array.from({ length: 1_000_000 }, (_, i) => (i === 654_321 ? 77 : (i % 7) / 7));
    line.write(column(0, values));
    const [places, taken] = sampled(line, 800);
    expect(places.length).toBeLessThanOrEqual(2 * 801);
    expect(taken[places.indexOf(654_321)]).toBe(77);
    places.forEach((place, k) => {
      expect(taken[k]).toBe(values[place]);
      if (k > 0) expect(place).toBeGreaterThan(places[k - 1]!);
    });
  });

  test("holds what is visible, and one point beyond each end", () => {
    const line = new Series(series());
    line.write(column(0, new Float64Array(1000).fill(1)));
    expect(sampled(line, 800, false, 500, 510)[0]).toEqual([
      499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 509, 510, 511,
    ]);
  });

  test("has a gap where a whole column is NaN", () => {
    const line = new Series(series());
    line.write(
      column(
        0,
        Float64Array.from({ length: 64_000 }, (_, i) => (i > 20_000 && i < 40_000 ? Number.NaN : 1)),
      ),
    );
    const [, values] = sampled(line, 100);
    expect(values).toContain(null);
    expect(values[0]).toBe(1);
    expect(values.at(-1)).toBe(1);
  });

  test("for a log scale leaves out what is not above zero", () => {
    const line = new Series(series());
    line.write(
      column(
        0,
        Float64Array.from({ length: 6400 }, (_, i) => (i % 2 === 0 ? 3 : -2)),
      ),
    );
    expect(new Set(sampled(line, 50, true)[1])).toEqual(new Set([3]));
    const none = new Series(series());
    none.write(column(0, new Float64Array(6400)));
    expect(new Set(sampled(none, 50, true)[1])).toEqual(new Set([null]));
  });

  test("of nothing is empty", () => {
    expect(sampled(new Series(series()), 50, false, 0, 1)).toEqual([[], []]);
  });
});

test("over all levels of the summary each column keeps its exact extremes", () => {
  const values = Array.from(
    { length: 40_000 },
    (_, i) => Math.sin(i * 12.9898) * (1 + (i % 977) / 400) + (i % 4099 === 0 ? 9 : 0),
  );
  const line = new Series(series());
  // In uneven parts, as they come.
  for (let start = 0, size = 1; start < values.length; start += size, size = (size * 7) % 5003) {
    const part = Float64Array.from(values.slice(start, start + size));
    const base = { series: 0, start, count: part.length, length: start + part.length, first: start + 1 };
    line.write({ ...base, values: part, steps: null, epochs: null, indices: null });
  }
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 39_000 }),
      fc.integer({ min: 500, max: 40_000 }),
      fc.integer({ min: 2, max: 300 }),
      fc.boolean(),
      (start, width, columns, log) => {
        const end = Math.min(40_000, start + width);
        const [places, kept] = sample(line, (i) => i, { start, end, columns }, log);
        for (const [k, value] of kept.entries()) if (value !== null) expect(value).toBe(values[places[k]!]);
        const seen = values.slice(start, end).filter((value) => !log || value > 0);
        const finite = kept.filter((value) => value !== null);
        expect(Math.max(...finite)).toBeGreaterThanOrEqual(Math.max(...seen));
        expect(Math.min(...finite)).toBeLessThanOrEqual(Math.min(...seen));
      },
    ),
  );
});

test("carried on while the series grows is what it would be if it were taken anew", () => {
  const value = fc.oneof(
    { weight: 8, arbitrary: fc.double({ min: -2, max: 9, noNaN: true }) },
    { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Infinity, 0) },
  );
  const write = fc.record({
    values: fc.array(value, { minLength: 1, maxLength: 40 }),
    // As long as many blocks, so that all levels of the summary are used.
    repeated: fc.constantFrom(1, 1, 3, 200),
    // A frame that was lost leaves a hole; one that comes late fills it, or changes what was there.
    skipped: fc.constantFrom(0, 0, 0, 0, 5, 700, -30),
    thinned: fc.constantFrom(1, 1, 1, 9),
  });
  fc.assert(
    fc.property(
      fc.array(write, { minLength: 2, maxLength: 12 }),
      fc.constantFrom(3, 40, 400),
      fc.constantFrom<readonly [number, number]>([0, 20_000], [-5, 3000], [150, 900]),
      fc.boolean(),
      fc.constantFrom<"step" | "epoch">("step", "epoch"),
      fc.constantFrom(null, 5000),
      (writes, columns, [start, end], log, axis, batches) => {
        const line = new Series(series());
        const sampler = new Sampler();
        const window =
          axis === "step" ? { start, end, columns } : { start: start / 2000, end: end / 2000, columns };
        for (const { values, repeated, skipped, thinned } of writes) {
          const from = Math.max(0, line.end + skipped);
          const all = Array.from({ length: repeated }, () => values).flat();
          const kept = all.filter((_, i) => i % thinned === 0);
          const indices = thinned === 1 ? null : kept.map((_, i) => from + i * thinned);
          line.write({
            ...column(from, kept, indices),
            steps: thinned === 1 ? null : Float64Array.from(indices!),
            length: from + all.length,
          });
          const run = {
            spans: [
              [0, 0, 2000],
              [1, 2000, batches],
            ] as [number, number, number | null][],
            lastStep: line.end,
          };
          const at = new Timeline(run, axis);
          const place = at.placement(line);
          expect(sampler.sample(line, at, place, window, log)).toEqual(sample(line, place, window, log));
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("what is new in a million points asks for the places of few", () => {
  const line = new Series(series());
  const million = Float64Array.from({ length: 1_000_000 }, (_, i) => Math.sin(i));
  line.write(column(0, million));
  const sampler = new Sampler();
  const timeline = new Timeline({ spans: [], lastStep: 2_000_000 }, "step");
  const place = vi.fn(timeline.placement(line));
  const window = { start: 0, end: 1_200_000, columns: 1_200 };
  sampler.sample(line, timeline, place, window, false);
  // Two blocks or three in each column.
  expect(place.mock.calls.length).toBeLessThan(20 * 1_200);
  place.mockClear();
  line.write(column(1_000_000, million.subarray(0, 20)));
  sampler.sample(line, timeline, place, window, false);
  // Three searches, and the column that is being filled.
  expect(place.mock.calls.length).toBeLessThan(3 * 24 + 20);
  expect(sampler.changedFrom(line)).toBeGreaterThan(998_000);
});
