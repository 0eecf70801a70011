import { describe, expect, test } from "vitest";
import { panelsOf } from "./panels";
import { DEFAULTS } from "./settings";
import { Store } from "./store";
import { encode, series, shownAs } from "./testing";
import { Timeline } from "./timeline";
import { decode, type Span } from "./wire";

const run = (lastStep: number, ...spans: Span[]) => ({ spans, lastStep });

describe("a search for a learning rate", () => {
  const rates = [1e-6, 1e-5, 1e-4, 1e-2];
  const store = new Store();
  const lines = [series({ id: 1 }), series({ id: 2, name: "lr", panel: "learning rate", label: "lr" })];
  const columns = [
    { series: 1, values: [4, 3, 2, 9] },
    { series: 2, values: rates },
  ];
  const spans = { start: 0, items: [[0, 0, 2] as const, [1, 2, 2] as const] };
  store.apply(decode(encode({ purpose: "lr search", spans, series: lines, columns })));
  const run = store.choose("")!;
  const line = new Timeline(run, "epoch");

  test("is drawn over the decimal logarithm of the rate that each batch used", () => {
    expect(line.axis).toBe("learning rate");
    expect([1, 2, 3, 4].map((step) => line.position(step))).toEqual([-6, -5, -4, -2]);
    expect([0, 1, 2, 3].map(line.placement(run.series.get(1)!))).toEqual([-6, -5, -4, -2]);
    expect([line.start, line.end, line.borders()]).toEqual([-6, -2, []]);
  });

  test("leads from a place to its step and epoch", () => {
    expect([-6, -4.4, -2].map((place) => line.step(place))).toEqual([1, 3, 4]);
    expect(line.epoch(-5)).toBe(1);
  });

  test("has no panel for the rate, which is its axis", () => {
    expect(panelsOf([shownAs(run)], DEFAULTS).map(({ title }) => title)).toEqual(["loss"]);
  });
});

describe("on the axis epoch", () => {
  test("a batch stands at its part of the epoch, the last one at the epoch's end", () => {
    const line = new Timeline(run(30, [0, 0, 10], [1, 10, 20]), "epoch");
    expect([1, 10, 11, 20, 30].map((step) => line.position(step))).toEqual([0.1, 1, 1.05, 1.5, 2]);
    expect([line.start, line.end]).toEqual([0, 2]);
    expect(line.borders()).toEqual([1]);
  });

  test("an epoch of unknown length is as long as the one before, else as what has been seen", () => {
    expect(new Timeline(run(15, [0, 0, 10], [1, 10, null]), "epoch").position(15)).toBe(1.5);
    expect(new Timeline(run(25, [0, 0, 10], [1, 10, null]), "epoch").position(25)).toBe(2);
    expect(new Timeline(run(8, [0, 0, null]), "epoch").position(4)).toBe(0.5);
  });

  test("a run that goes on from an earlier one begins there", () => {
    const line = new Timeline(run(5, [7, 0, 10]), "epoch");
    expect([line.start, line.end]).toEqual([7, 7.5]);
  });

  test("a run that tells of epochs alone stands there, whatever axis is asked for", () => {
    const line = new Timeline(run(0, [0, 0, 0], [1, 0, 0], [2, 0, null]), "step");
    expect([line.axis, line.start, line.end]).toEqual(["epoch", 0, 3]);
    expect(line.markPlace({ step: 0, text: "early stopping", epoch: 2 })).toBe(2);
  });

  test("a run of which nobody knows when its batches ended stands at its steps where time is asked for", () => {
    for (const axis of ["time", "wall"] as const) {
      const line = new Timeline(run(30, [0, 0, 10], [1, 10, 20]), axis);
      expect([line.axis, line.start, line.end, line.position(20)]).toEqual(["step", 0, 30, 20]);
    }
  });

  test("steps and places lead to one another", () => {
    const line = new Timeline(run(30, [0, 0, 10], [1, 10, 20]), "epoch");
    for (let step = 1; step <= 30; step++) expect(line.step(line.position(step))).toBe(step);
    const steps = new Timeline(run(30, [0, 0, 10], [1, 10, 20]), "step");
    expect(steps.epoch(20)).toBe(1.5);
  });
});

describe("series", () => {
  const place = (axis: "epoch" | "step", ...spans: Span[]) => {
    const store = new Store();
    const steps = spans.map(([, first, batches]) => first + (batches ?? 0));
    const epochs = spans.map(([epoch]) => epoch);
    store.apply(
      decode(
        encode({
          spans: { start: 0, items: spans },
          series: [
            series({ id: 0, granularity: "epoch", kind: "epoch" }),
            series({ id: 1, granularity: "epoch", kind: "epoch", split: "validation" }),
            series({ id: 2, granularity: "epoch", kind: "smoothed" }),
          ],
          columns: [0, 1, 2].map((id) => ({ series: id, values: epochs, steps, epochs })),
        }),
      ),
    );
    const known = store.runs.get("r1")!;
    const line = new Timeline(known, axis);
    return [...known.series.values()].map((each) => epochs.map((_, i) => line.placement(each)(i)));
  };

  test("means stand at the middle of their epoch, measurements where they were made", () => {
    const spans: Span[] = [
      [0, 0, 10],
      [1, 10, 20],
    ];
    expect(place("epoch", ...spans)).toEqual([
      [0.5, 1.5],
      [1, 2],
      [1, 2],
    ]);
    expect(place("step", ...spans)).toEqual([
      [5, 20],
      [10, 30],
      [10, 30],
    ]);
  });

  test("epochs without batches still take their room", () => {
    expect(place("epoch", [0, 0, 0], [1, 0, 0])).toEqual([
      [0.5, 1.5],
      [1, 2],
      [1, 2],
    ]);
  });
});

test("on the wall's clock a run that went on has the pause before it; on its own it has none", () => {
  const store = new Store();
  const clock = series({ id: 1, kind: "clock", name: "time", panel: "" });
  const columns = [{ series: 1, values: [1, 2, 3, 4] }];
  const resumed = [[2, 2, 1_700_001_000]] as const;
  store.apply(decode(encode({ started: 1_700_000_000, resumed, series: [clock], columns, elapsed: 4 })));
  const run = store.choose("")!;
  const wall = new Timeline(run, "wall");
  expect([0, 1, 2, 3, 4].map((step) => wall.position(step) - 1_700_000_000)).toEqual([0, 1, 2, 1001, 1002]);
  expect([1_700_000_001, 1_700_000_800, 1_700_001_001].map((place) => wall.step(place))).toEqual([1, 3, 3]);
  const time = new Timeline(run, "time");
  expect([1, 3].map((step) => time.position(step))).toEqual([1, 3]);
  expect([time.start, time.end]).toEqual([0, 4]);
});
