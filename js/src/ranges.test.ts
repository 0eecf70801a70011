import fc from "fast-check";
import { expect, test } from "vitest";
import { robust } from "./ranges";

const noise = Array.from({ length: 1000 }, (_, i) => 1 + Math.sin(i) / 10);

test("a few values far away are left out, and counted", () => {
  expect(robust([...noise, 50], false)).toMatchObject({ above: 1, below: 0, high: Math.max(...noise) });
  expect(robust([...noise, 50, 60, -40], false)).toMatchObject({ above: 2, below: 1 });
  expect(robust([...noise, 50], true)).toMatchObject({ above: 1, below: 0 });
});

test("what is not exceptional is shown", () => {
  const decline = noise.map((value, i) => value * Math.exp(-i / 100));
  expect(robust(decline, false)).toMatchObject({ above: 0, below: 0 });
  expect(robust([...noise, 1.3], false)).toMatchObject({ above: 0, high: 1.3 });
  // Eleven in a thousand are no exception any more.
  expect(robust([...noise, ...Array.from({ length: 12 }, () => 50)], false)).toMatchObject({
    above: 0,
    high: 50,
  });
  expect(robust([1, 1, 1, 100], false)).toMatchObject({ above: 0, high: 100 });
  expect(robust(Array.from({ length: 99 }, () => 1).concat(7), false)).toMatchObject({ above: 0, high: 7 });
  expect(robust([], false)).toEqual({ low: Infinity, high: -Infinity, below: 0, above: 0 });
});

test("the range contains all but those that are counted, and those are few", () => {
  const finite = fc.double({ min: 1e-9, max: 1e9, noNaN: true });
  fc.assert(
    fc.property(fc.array(finite, { maxLength: 400 }), fc.boolean(), (values, log) => {
      const { low, high, below, above } = robust(values, log);
      expect(values.filter((value) => value < low)).toHaveLength(below);
      expect(values.filter((value) => value > high)).toHaveLength(above);
      expect(Math.max(below, above)).toBeLessThanOrEqual(Math.max(1, values.length * 0.01));
    }),
  );
});

test("of few values one is left out if it is very far away, but not a first epoch that is far from the others", () => {
  expect(robust([0.5, 0.4, 0.45, 1000, 0.38, 0.36, 0.4], false)).toMatchObject({ above: 1, high: 0.5 });
  expect(robust([2.3, 0.5, 0.4, 0.35, 0.3], false)).toMatchObject({ above: 0, high: 2.3 });
  expect(robust([1, 1000, 1, 1], false)).toMatchObject({ above: 0 });
});
