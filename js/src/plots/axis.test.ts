import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { linearAxis, logAxis, placeTicks, roomAhead } from "./axis";

const labels = (ticks: { label: string }[]) => ticks.map((tick) => tick.label);

describe("ticks", () => {
  test("of a log axis are 1, 2, 5 over few decades and powers of ten over many", () => {
    expect(labels(logAxis(0.11, 2.3).ticks(300))).toEqual(["0.1", "0.2", "0.5", "1.0", "2.0"]);
    expect(labels(logAxis(1e-4, 1e-3).ticks(120))).toEqual(["1e-4", "2e-4", "5e-4", "1e-3"]);
    expect(labels(logAxis(1e-6, 1e2).ticks(300)).at(0)).toBe("1e-6");
  });

  test("of a linear axis are round", () => {
    expect(labels(linearAxis(0.3, 0.97).ticks(112))).toEqual(["0.4", "0.6", "0.8", "1.0"]);
    expect(labels(linearAxis(0, 20_000).ticks(112))).toEqual(["0", "5,000", "10,000", "15,000", "20,000"]);
  });

  test("of the x axis are whole numbers once there is room for them", () => {
    expect(labels(placeTicks(0, 4, 500))).toEqual(["0", "1", "2", "3", "4"]);
    expect(labels(placeTicks(0, 0.2, 300))).toEqual(["0.00", "0.05", "0.10", "0.15", "0.20"]);
    expect(labels(placeTicks(0, 40_000, 300))).toEqual(["0", "10,000", "20,000", "30,000", "40,000"]);
  });

  test("stay few and inside the axis, whatever the range", () => {
    const range = fc
      .tuple(
        fc.double({ min: 1e-12, max: 1e12, noNaN: true }),
        fc.double({ min: 1e-7, max: 1e6, noNaN: true }),
      )
      .map(([low, more]) => [low, low * (1 + more)] as const);
    fc.assert(
      fc.property(range, fc.integer({ min: 60, max: 600 }), ([low, high], height) => {
        for (const axis of [linearAxis(low, high), logAxis(low, high)]) {
          const ticks = axis.ticks(height);
          expect(ticks.length).toBeLessThanOrEqual(height / 8);
          const slack = (axis.max - axis.min) * 0.01;
          for (const { at } of ticks) {
            expect(at).toBeGreaterThanOrEqual(axis.min - slack);
            expect(at).toBeLessThanOrEqual(axis.max + slack);
          }
          expect(axis.place(high)).toBeLessThanOrEqual(axis.max);
          expect(axis.place(low)).toBeGreaterThanOrEqual(axis.min);
        }
      }),
    );
  });
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
