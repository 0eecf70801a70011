import { expect, test } from "vitest";
import { count, duration, plural, rate, value } from "./format";

test.each([
  [0.21336, "0.2134"],
  [0.41, "0.4100"],
  [12.3, "12.30"],
  [999.7, "1,000"],
  [1234.4, "1,234"],
  [-0.5, "-0.5000"],
  [0.000012344, "1.234e-5"],
  [12_000_000, "1.2e7"],
  [0, "0"],
  [Number.NaN, "NaN"],
  [Number.NEGATIVE_INFINITY, "-Infinity"],
])("value %d reads %s", (number, text) => expect(value(number)).toBe(text));

test.each([
  [6.2e-4, "6.2e-4"],
  [0.001, "1e-3"],
  [9.2199e-4, "9.22e-4"],
  [0.05, "0.05"],
  [0, "0"],
])("rate %d reads %s", (number, text) => expect(rate(number)).toBe(text));

test.each([
  [72, "1:12"],
  [0.4, "0:00"],
  [3723, "1:02:03"],
  [-3, "0:00"],
])("%d seconds read %s", (seconds, text) => expect(duration(seconds)).toBe(text));

test("counts have separators, and words agree with them", () => {
  expect(count(1234567)).toBe("1,234,567");
  expect(plural(1, "value")).toBe("1 value");
  expect(plural(2000, "value")).toBe("2,000 values");
});
