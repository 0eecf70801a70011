import { expect, test } from "vitest";
import { directionOf } from "./best";

test.each([
  ["loss", "min"],
  ["reconstruction_loss", "min"],
  ["mean_absolute_error", "min"],
  ["valError", "min"],
  ["Logloss", "min"],
  ["accuracy", "max"],
  ["top_5_accuracy", "max"],
  ["sparse_categorical_accuracy", "max"],
  ["F1", "max"],
  ["AUC", "max"],
  ["error_rate", "min"],
  ["momentum", null],
  ["grad_norm", null],
  ["glossary", null],
  ["constructor", null],
])("the best %s is the %s", (metric, direction) => expect(directionOf(metric, {})).toBe(direction));

test("the person knows better", () => {
  expect(directionOf("loss", { loss: "max" })).toBe("max");
  expect(directionOf("grad_norm", { grad_norm: "min" })).toBe("min");
});
