import { describe, expect, test } from "vitest";
import { kindInWords, panelsOf } from "./panels";
import { DEFAULTS, isShown, type Settings, withShown } from "./settings";
import { Store } from "./store";
import { encode, series, shownAs } from "./testing";
import { decode, type SeriesSpec } from "./wire";

function panels(specs: Partial<SeriesSpec>[], settings: Partial<Settings> = {}, values: number[] = [1, 2]) {
  const store = new Store();
  const all = specs.map((spec, id) => series({ id, ...spec }));
  const columns = all.map(({ id }) => ({ series: id, values, ...{ epochs: values, steps: values } }));
  store.apply(decode(encode({ series: all, columns })));
  return panelsOf([shownAs(store.choose("")!)], { ...DEFAULTS, smoothing: 0, ...settings });
}

const train: Partial<SeriesSpec> = {};
const running: Partial<SeriesSpec> = { name: "running_loss", kind: "running" };
const mean: Partial<SeriesSpec> = { granularity: "epoch", kind: "epoch" };
const validation: Partial<SeriesSpec> = {
  ...mean,
  name: "val_loss",
  label: "validation",
  split: "validation",
};
const rate: Partial<SeriesSpec> = { name: "lr", panel: "learning rate", label: "lr" };
const names = (view: Settings["granularity"], ...specs: Partial<SeriesSpec>[]) =>
  panels(specs, { granularity: view }).flatMap((panel) =>
    panel.lines.map(({ series: { spec } }) => `${spec.granularity}:${spec.name}`),
  );

test("the loss comes first, the learning rate last, the clock nowhere", () => {
  const found = panels([{ kind: "clock", panel: "time" }, rate, { panel: "b" }, { panel: "a" }, train]);
  expect(found.map((panel) => panel.title)).toEqual(["loss", "b", "a", "learning rate"]);
});

describe("granularity", () => {
  test("chooses among the lines of training; validation and what has no other stay", () => {
    const all = [train, running, mean, validation, rate];
    expect(names("batch", ...all)).toEqual([
      "batch:loss",
      "batch:running_loss",
      "epoch:val_loss",
      "batch:lr",
    ]);
    expect(names("epoch", ...all)).toEqual(["epoch:loss", "epoch:val_loss", "batch:lr"]);
    expect(names("both", ...all)).toHaveLength(5);
    expect(names("batch", mean)).toEqual(["epoch:loss"]);
  });
});

describe("the running mean", () => {
  test("is hidden while the batches' own values are there, and not when it is all there is", () => {
    const shown = (...specs: Partial<SeriesSpec>[]) => panels(specs)[0]!.lines.map((line) => line.shown);
    expect(shown(train, running)).toEqual([true, false]);
    expect(shown(running, mean)).toEqual([true, true]);
  });
});

test("lines that would have the same words are told apart by their names and looks", () => {
  const [panel] = panels([train, mean, { ...mean, name: "train_loss" }]);
  expect(panel!.lines.map((line) => line.label)).toEqual(["train", "loss", "train_loss"]);
  const [, one, other] = panel!.lines.map((line) => line.stroke);
  expect(one!.colour).not.toBe(other!.colour);
});

test("the framework's moving average does not look like the epoch's mean", () => {
  const [panel] = panels([mean, { ...mean, name: "train_loss", kind: "smoothed" }]);
  const [one, other] = panel!.lines.map((line) => line.stroke);
  expect(one!.colour).not.toBe(other!.colour);
  expect(one!.dash).not.toEqual(other!.dash);
});

test("batches are pale beneath means, and at full strength without them", () => {
  const opacity = (view: Settings["granularity"], ...specs: Partial<SeriesSpec>[]) =>
    panels(specs, { granularity: view })[0]!.lines[0]!.stroke.opacity;
  expect(opacity("both", train, mean)).toBeLessThan(0.6);
  expect(opacity("both", train)).toBeGreaterThan(0.8);
  expect(opacity("batch", train, mean)).toBeGreaterThan(0.8);
});

test("hidden names what differs from the default", () => {
  const key = "batch:loss";
  expect(withShown([], key, true, false)).toEqual([key]);
  expect(withShown([key, "epoch:x"], key, true, true)).toEqual(["epoch:x"]);
  expect(withShown([], key, false, true)).toEqual([`!${key}`]);
  expect(withShown([`!${key}`], key, false, false)).toEqual([]);
  expect(isShown([key], key, true)).toBe(false);
  expect(isShown([`!${key}`], key, false)).toBe(true);
  expect(isShown([], key, false)).toBe(false);
});

test("the log scale holds for loss and learning rate, and for what spans decades above zero", () => {
  const log = (panel: string, values: number[]) => panels([{ panel }], { log_scale: true }, values)[0]!.log;
  expect(log("loss", [1, 2])).toBe(true);
  expect(log("loss", [-1, -2])).toBe(false);
  expect(log("accuracy", [0.1, 0.9])).toBe(false);
  expect(log("perplexity", [1, 1000])).toBe(true);
  expect(log("perplexity", [0, 1000])).toBe(false);
});

test("every kind has its words, and lines of one panel differ in look", () => {
  const kinds = ["batch", "running", "smoothed", "window", "reported"];
  const lines = panels(kinds.map((kind) => ({ kind, name: kind })))[0]!.lines;
  expect(lines.map((line) => line.kind)).toEqual([
    "batch",
    "running mean (the console's number)",
    "smoothed by the framework",
    "mean since the last log",
    "reported by the training step",
  ]);
  expect(new Set(lines.map((line) => JSON.stringify(line.stroke))).size).toBe(kinds.length);
  expect(kindInWords(series(mean))).toBe("epoch mean");
  expect(kindInWords(series(validation))).toBe("epoch");
  expect(kindInWords(series(rate))).toBe("each step");
  expect(kindInWords(series({ ...rate, ...mean, panel: "learning rate" }))).toBe("epoch");
  expect(kindInWords(series({ kind: "guessed" }))).toBe("guessed");
});
