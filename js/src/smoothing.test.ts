import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { Series } from "./series";
import { Smoothed } from "./smoothing";
import { series } from "./testing";
import type { Column } from "./wire";

const column = (values: readonly number[], patch: Partial<Column> = {}): Column => ({
  series: 0,
  start: 0,
  count: values.length,
  length: (patch.start ?? 0) + values.length,
  first: (patch.start ?? 0) + 1,
  values: Float64Array.from(values),
  steps: null,
  epochs: null,
  indices: null,
  ...patch,
});

/** The formula itself, over the points that are there. */
function closedForm(values: readonly number[], steps: readonly number[], weight: number, n: number): number {
  let sum = 0;
  let norm = 0;
  let before = steps[0]! - 1;
  for (let k = 0; k <= n; k++) {
    if (!Number.isFinite(values[k])) continue;
    const share = (1 - weight ** (steps[k]! - before)) * weight ** (steps[n]! - steps[k]!);
    before = steps[k]!;
    sum += share * values[k]!;
    norm += share;
  }
  return sum / norm;
}

const value = fc.double({ min: -1e3, max: 1e3, noNaN: true });
const weight = fc.double({ min: 0.01, max: 0.999, noNaN: true });

test("is the debiased exponential average, in however many parts it comes", () => {
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 200 }),
      weight,
      fc.integer({ min: 1, max: 50 }),
      (values, w, size) => {
        const source = new Series(series());
        const smoothed = new Smoothed(source, w);
        for (let start = 0; start < values.length; start += size) {
          source.write(column(values.slice(start, start + size), { start }));
          smoothed.update(w);
        }
        const steps = values.map((_, i) => i + 1);
        for (const n of [0, Math.floor(values.length / 2), values.length - 1]) {
          expect(smoothed.series.value(n)).toBeCloseTo(closedForm(values, steps, w, n), 6);
          expect(smoothed.series.step(n)).toBe(n + 1);
        }
      },
    ),
  );
});

test("a point stands for as many steps as it is alone for", () => {
  // Every third point of a slope, and of a constant with one exception.
  const steps = [3, 6, 9, 12, 15, 18];
  const values = [1, 1, 7, 1, 1, 1];
  const source = new Series(series());
  source.write(column(values, { steps: Float64Array.from(steps) }));
  const drawn = new Smoothed(source, 0.9).update(0.9);
  expect(drawn.value(3)).toBeCloseTo(closedForm(values, steps, 0.9, 3), 9);
  // As if each value had been there three times.
  const each = new Series(series());
  each.write(column(values.slice(0, 1).concat(...values.slice(1).map((v) => [v, v, v]))));
  const full = new Smoothed(each, 0.9).update(0.9);
  expect(drawn.value(5)).toBeCloseTo(full.value(15), 9);
});

test("NaN and infinity are gaps, and nothing behind them is lost", () => {
  const values = [1, Number.NaN, 3, Number.POSITIVE_INFINITY, 5];
  const source = new Series(series());
  source.write(column(values));
  const drawn = new Smoothed(source, 0.5).update(0.5);
  expect(values.map((_, i) => Number.isFinite(drawn.value(i)))).toEqual([true, false, true, false, true]);
  expect(drawn.value(4)).toBeCloseTo(closedForm(values, [1, 2, 3, 4, 5], 0.5, 4), 12);
});

test("another weight, and points that change or come late, are followed; a repeated frame costs nothing", () => {
  const source = new Series(series());
  source.write(column([1, 2, 3]));
  const smoothed = new Smoothed(source, 0.5);
  smoothed.update(0.5);
  source.write(column([1, 2, 3]));
  expect(source.rewritten).toBe(0);
  source.write(column([1, 8, 3, 4]));
  expect(source.rewritten).toBe(1);
  expect(smoothed.update(0.5).value(3)).toBeCloseTo(closedForm([1, 8, 3, 4], [1, 2, 3, 4], 0.5, 3), 12);
  expect(smoothed.update(0.1).value(3)).toBeCloseTo(closedForm([1, 8, 3, 4], [1, 2, 3, 4], 0.1, 3), 12);
});

test("what is new in a hundred thousand points is all that an average asks for", () => {
  const source = new Series(series());
  source.write(column(Array.from({ length: 100_000 }, Math.random)));
  const smoothed = new Smoothed(source, 0.9);
  smoothed.update(0.9);
  const value = vi.spyOn(source, "value");
  const write = vi.spyOn(smoothed.series, "write");
  source.write(column([1, 2, 3], { start: 100_000 }));
  smoothed.update(0.9);
  expect(value).toHaveBeenCalledTimes(3);
  expect(write.mock.calls.map(([{ start, count }]) => [start, count])).toEqual([[100_000, 3]]);
});

test("of what a summary keeps there is no average, and behind the gap there is one again", () => {
  const source = new Series(series());
  const all = Array.from({ length: 1000 }, (_, i) => Math.sin(i / 5) + (i % 100 === 0 ? 9 : 0));
  const indices = all.map((_, i) => i).filter((i) => i === 0 || i % 100 < 2 || i >= 800);
  const values = indices.map((i) => all[i]!);
  const steps = Float64Array.from(indices, (i) => i + 1);
  source.write(column(values, { steps, indices: Float64Array.from(indices), length: 1000 }));
  const drawn = new Smoothed(source, 0.9).update(0.9);
  expect(indices.filter((i) => Number.isFinite(drawn.value(i))).filter((i) => i > 1 && i < 820)).toEqual([]);
  const full = new Series(series());
  full.write(column(all));
  const exact = new Smoothed(full, 0.9).update(0.9);
  expect(drawn.value(830)).toBeCloseTo(exact.value(830), 0);
  expect(drawn.last).toBeCloseTo(exact.last, 6);
});
