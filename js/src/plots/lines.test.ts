import { describe, expect, test } from "vitest";
import { Series } from "../series";
import { series } from "../testing";
import type { Column } from "../wire";
import { trace } from "./lines";

function column(start: number, values: number[], indices: number[] | null = null): Column {
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

function traced(line: Series, width: number, log = false) {
  const calls: [string, number, number][] = [];
  trace(
    line,
    { x: (i) => (i / line.end) * width, y: (value) => (log && value <= 0 ? Number.NaN : -value), log },
    { moveTo: (x, y) => calls.push(["move", x, y]), lineTo: (x, y) => calls.push(["line", x, y]) },
  );
  return calls;
}

describe("a line", () => {
  test("breaks at holes and NaN, and not where a snapshot left points out", () => {
    const holed = new Series(series());
    holed.write(column(0, [1, 2, Number.NaN, 4, 5]));
    holed.write(column(7, [8, 9]));
    expect(traced(holed, 900).filter(([kind]) => kind === "move")).toHaveLength(3);

    const thin = new Series(series());
    thin.write(column(0, [1, 2, 3], [0, 400, 800]));
    expect(traced(thin, 900).filter(([kind]) => kind === "move")).toHaveLength(1);
  });

  test("of a million points costs what its width costs, and shows every spike", () => {
    const line = new Series(series());
    const values = Array.from({ length: 1_000_000 }, (_, i) => (i === 654_321 ? 77 : (i % 7) / 7));
    line.write(column(0, values));
    const calls = traced(line, 800);
    expect(calls.length).toBeLessThan(4 * 802);
    expect(calls.some(([, , y]) => y === -77)).toBe(true);
  });

  test("on a log axis leaves out what is not above zero", () => {
    const line = new Series(series());
    line.write(
      column(
        0,
        Array.from({ length: 6400 }, (_, i) => (i % 2 === 0 ? 3 : -2)),
      ),
    );
    expect(traced(line, 50, true).every(([, , y]) => y === -3)).toBe(true);
    const none = new Series(series());
    none.write(
      column(
        0,
        Array.from({ length: 6400 }, () => 0),
      ),
    );
    expect(traced(none, 50, true)).toEqual([]);
  });

  test("through a lone point leaves a trace", () => {
    const line = new Series(series());
    line.write(column(0, [1]));
    expect(traced(line, 50)).toHaveLength(2);
  });
});
