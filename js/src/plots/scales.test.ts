import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { logTicks, padded, roomAhead, STEPS, tickLabels, WHOLE_STEPS } from "./scales";

const log = (low: number, high: number, height: number) =>
  tickLabels(logTicks(...padded(low, high, true), height, 1));

describe("ticks of a log scale", () => {
  test("are 1, 2, 5 over few decades and powers of ten over many", () => {
    expect(log(0.11, 2.3, 300)).toEqual(["0.1", "0.2", "0.5", "1.0", "2.0"]);
    expect(log(1e-4, 1e-3, 120)).toEqual(["1e-4", "2e-4", "5e-4", "1e-3"]);
    expect(log(1e-6, 1e2, 300)[0]).toBe("1e-6");
    expect(log(1e-30, 1e2, 200).slice(0, 3)).toEqual(["1e-30", "1e-25", "1e-20"]);
  });

  test("end where numbers end", () => {
    for (const [low, high] of [
      [1e-3, 1e300],
      [1e300, Number.MAX_VALUE],
      [Number.MIN_VALUE, Number.MAX_VALUE],
    ] as const) {
      const ticks = logTicks(...padded(low, high, true), 300, 1e307);
      expect(ticks.length).toBeGreaterThan(1);
      expect(ticks.length).toBeLessThan(20);
      expect(ticks.every(Number.isFinite)).toBe(true);
    }
  });

  test("are at even distances within one decade", () => {
    expect(tickLabels(logTicks(0.28, 0.46, 120, 0.05))).toEqual(["0.30", "0.35", "0.40", "0.45"]);
  });

  test("stay few and inside the scale, whatever the range", () => {
    const range = fc
      .tuple(
        fc.double({ min: 1e-12, max: 1e12, noNaN: true }),
        fc.double({ min: 1e-7, max: 1e6, noNaN: true }),
      )
      .map(([low, more]) => [low, low * (1 + more)] as const);
    fc.assert(
      fc.property(range, fc.integer({ min: 60, max: 600 }), ([low, high], height) => {
        const [min, max] = padded(low, high, true);
        const step = STEPS.find((each) => (each / (max - min)) * height >= 25)!;
        const ticks = logTicks(min, max, height, step);
        expect(ticks.length).toBeLessThanOrEqual(height / 8);
        for (const tick of ticks) {
          expect(tick).toBeGreaterThanOrEqual(min);
          expect(tick).toBeLessThanOrEqual(max);
        }
      }),
    );
  });
});

test("a scale has room around what it shows", () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-12, max: 1e12, noNaN: true }), fc.boolean(), (low, isLog) => {
      for (const high of [low, low * 3]) {
        const [min, max] = padded(low, high, isLog);
        expect(min).toBeLessThan(low);
        expect(max).toBeGreaterThan(high);
      }
    }),
  );
  expect(padded(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, false)).toEqual([0, 1]);
  expect(padded(0, 0, false)).toEqual([-0.5, 0.5]);
});

test.each([
  [
    [0.4, 0.6, 0.8, 1],
    ["0.4", "0.6", "0.8", "1.0"],
  ],
  [
    [0, 5000, 10_000],
    ["0", "5,000", "10,000"],
  ],
  [
    [0, 0.0005, 0.001],
    ["0", "5e-4", "1e-3"],
  ],
  [
    [0.0008, 0.001, 0.0012],
    ["8.0e-4", "1.0e-3", "1.2e-3"],
  ],
  [
    [0, 500_000, 1_000_000],
    ["0", "5e5", "1e6"],
  ],
  [
    [0, 0.05, 0.1],
    ["0.00", "0.05", "0.10"],
  ],
  [[], []],
])("one format for all labels of %j", (ticks, labels) => expect(tickLabels(ticks)).toEqual(labels));

test("steps are 1, 2, 5 times a power of ten", () => {
  expect(STEPS.slice(95, 100)).toEqual([0.5, 1, 2, 5, 10]);
  expect(WHOLE_STEPS.slice(0, 4)).toEqual([1, 2, 5, 10]);
});

test("the room ahead is never more than an eighth", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e9 }), (end) => {
      const room = roomAhead(0, end);
      expect(room).toBeGreaterThanOrEqual(end);
      expect(room).toBeLessThanOrEqual(end * 1.125);
    }),
  );
  expect(roomAhead(0, 4)).toBe(4);
  expect(roomAhead(7, 7)).toBe(8);
});
