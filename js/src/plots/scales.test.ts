import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  linearTicks,
  logTicks,
  niceStep,
  padded,
  ROOM_Y,
  roomAhead,
  tickLabels,
  timeLabels,
  timeTicks,
} from "./scales";

const log = (low: number, high: number, height: number) =>
  tickLabels(logTicks(padded(low, high, true), height));

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
      const ticks = logTicks(padded(low, high, true), 300);
      expect(ticks.length).toBeGreaterThan(1);
      expect(ticks.length).toBeLessThan(20);
      expect(ticks.every(Number.isFinite)).toBe(true);
    }
  });

  test("are at even distances within one decade", () => {
    expect(tickLabels(logTicks([0.28, 0.46], 120))).toEqual(["0.30", "0.35", "0.40", "0.45"]);
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
        const ticks = logTicks([min, max], height);
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
  const nothing = padded(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, true);
  expect(logTicks(nothing, 300).length).toBeGreaterThan(1);
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
  expect([0.3, 0.5, 0.7, 1, 1.1, 3, 6].map(niceStep)).toEqual([0.5, 0.5, 1, 1, 2, 5, 10]);
  expect(niceStep(3e-320)).toBe(5e-320);
});

test("ticks of a linear scale have room, and stand at whole numbers where only those mean something", () => {
  fc.assert(
    fc.property(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 1e-3, max: 1e9, noNaN: true }),
      fc.integer({ min: 60, max: 1600 }),
      (min, span, length) => {
        const ticks = linearTicks([min, min + span], length, ROOM_Y);
        for (const [k, tick] of ticks.entries()) {
          expect(tick).toBeGreaterThanOrEqual(min - span * 1e-6);
          expect(tick).toBeLessThanOrEqual(min + span * (1 + 1e-6));
          if (k > 0) expect(((tick - ticks[k - 1]!) / span) * length).toBeGreaterThan(ROOM_Y * 0.99);
        }
        expect(ticks.length).toBeGreaterThanOrEqual(Math.floor(length / ROOM_Y / 2.5) - 1);
      },
    ),
  );
  expect(linearTicks([0, 2.5], 600, 56, 1)).toEqual([0, 1, 2]);
  expect(tickLabels(linearTicks([3.9999999e-29, 4.0000001e-29], 120, ROOM_Y)).length).toBeGreaterThan(1);
});

test("an axis of time has ticks as a clock has", () => {
  expect(timeLabels(timeTicks([0, 95], 600, 56, false), false)).toEqual([
    "0:00",
    "0:10",
    "0:20",
    "0:30",
    "0:40",
    "0:50",
    "1:00",
    "1:10",
    "1:20",
    "1:30",
  ]);
  expect(timeLabels(timeTicks([0, 2], 300, 56, false), false)).toEqual([
    "0.0 s",
    "0.5 s",
    "1.0 s",
    "1.5 s",
    "2.0 s",
  ]);
  expect(timeLabels(timeTicks([0, 30_000], 600, 56, false), false).slice(0, 3)).toEqual([
    "0:00",
    "1:00:00",
    "2:00:00",
  ]);
  const noon = new Date(2026, 10, 22, 12).getTime() / 1000;
  expect(timeLabels(timeTicks([noon, noon + 600], 600, 100, true), true)).toEqual([
    "12:00",
    "12:02",
    "12:04",
    "12:06",
    "12:08",
    "12:10",
  ]);
  expect(timeLabels([noon, noon + 1], true)).toEqual(["12:00:00", "12:00:01"]);
  expect(timeLabels(timeTicks([noon - 43_200, noon + 3 * 86_400], 300, 56, true), true)).toContain("11/23");
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
