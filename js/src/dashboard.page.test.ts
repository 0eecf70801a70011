/** What a person does with the card: read it, zoom it, choose runs, arrange panels, take things away. */
import axe from "axe-core";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import "./styles.css";
import { encode, FakeModel, type RunDraft, series } from "./testing";
import type { Root } from "./view";
import factory from "./widget";

let host: HTMLElement;

beforeEach(() => {
  host = document.createElement("main");
  host.style.width = "980px";
  document.body.replaceChildren(host);
});

afterEach(() => {
  vi.restoreAllMocks();
});

const BATCHES = 100;

/** A run of some epochs of a hundred batches a second with loss, accuracy, their validation and learning rate. */
function training(epochs: number, patch: RunDraft = {}): RunDraft {
  const steps = Array.from({ length: epochs * BATCHES }, (_, i) => i);
  const done = Array.from({ length: epochs }, (_, e) => e);
  const ends = done.map((e) => (e + 1) * BATCHES);
  const epoch = { granularity: "epoch", kind: "epoch" } as const;
  const validation = { ...epoch, label: "validation", split: "validation" } as const;
  return {
    name: "digits",
    status: "completed",
    started: 1_700_000_000,
    elapsed: epochs * BATCHES,
    epoch: epochs - 1,
    epochs,
    batch: BATCHES,
    batches: BATCHES,
    spans: { start: 0, items: done.map((e) => [e, e * BATCHES, BATCHES] as const) },
    series: [
      series({ id: 0 }),
      series({ id: 1, ...epoch }),
      series({ id: 2, name: "val_loss", ...validation }),
      series({ id: 3, name: "accuracy", panel: "accuracy" }),
      series({ id: 4, name: "val_accuracy", panel: "accuracy", ...validation }),
      series({ id: 5, name: "lr", panel: "learning rate", label: "lr" }),
      series({ id: 6, name: "time", panel: "", label: "", kind: "clock" }),
    ],
    columns: [
      { series: 0, values: steps.map((i) => 1 + Math.cos(i) / 10 + 1 / (i + 1)) },
      { series: 1, values: done.map((e) => 1.1 + 1 / (e + 1)), steps: ends, epochs: done },
      { series: 2, values: done.map((e) => 1.2 + (e - 1) ** 2 / 10), steps: ends, epochs: done },
      { series: 3, values: steps.map((i) => 1 - 1 / (i + 2)) },
      { series: 4, values: done.map((e) => 0.5 - (e - 1) ** 2 / 10), steps: ends, epochs: done },
      { series: 5, values: steps.map((i) => (i < 150 ? 1e-3 : 1e-4)) },
      { series: 6, values: steps.map((i) => i + 1) },
    ],
    ...patch,
  };
}

async function mount(traits: Record<string, unknown> = {}, ...runs: RunDraft[]) {
  const model = new FakeModel(traits);
  const widget = factory();
  widget.initialize({ model });
  model.append(encode(...(runs.length > 0 ? runs : [training(4)])));
  const el = document.createElement("div");
  host.append(el);
  widget.render({ model, el });
  const root = el.firstElementChild as Root;
  await frames();
  return { model, root };
}

const frames = async (n = 2) => {
  for (let i = 0; i < n; i++) await new Promise((done) => requestAnimationFrame(done));
};

const figure = (name: string) => page.getByRole("figure", { name, exact: true });
const plot = (name: string) => figure(name).element().querySelector<HTMLElement>(".ew-plot")!;
const titles = (root: Root) =>
  [...root.querySelectorAll("figure")].map((each) => each.getAttribute("aria-label"));
const entries = (name: string) =>
  [...figure(name).element().querySelectorAll("li button")].map((entry) => entry.textContent!.trim());
const menu = async (button: string, item: string) => {
  await page.getByRole("button", { name: button, exact: true }).click();
  await page
    .getByRole(/^(Log|Show|Means|Shade|Table|Compact|Keep)/.test(item) ? "menuitemcheckbox" : "menuitem", {
      name: item,
    })
    .click();
  await frames();
};

/** Moves the pointer over a plot; `at` is the part of its width. */
function pointer(name: string, type: string, at: number, more: PointerEventInit & WheelEventInit = {}): void {
  const target = plot(name);
  const box = target.getBoundingClientRect();
  const place = { clientX: box.left + box.width * at, clientY: box.top + box.height / 2, bubbles: true };
  const Kind = type === "wheel" ? WheelEvent : PointerEvent;
  target.dispatchEvent(new Kind(type, { ...place, pointerId: 1, cancelable: true, ...more }));
}

async function drag(name: string, from: number, to: number, more: PointerEventInit = {}): Promise<void> {
  const target = plot(name);
  target.setPointerCapture = () => {};
  pointer(name, "pointerdown", from, { button: 0, buttons: 1, ...more });
  pointer(name, "pointermove", (from + to) / 2, { buttons: 1, ...more });
  pointer(name, "pointermove", to, { buttons: 1, ...more });
  pointer(name, "pointerup", to, more);
  await frames();
}

describe("reading", () => {
  test("the tooltip names every value under the crosshair, which goes through all panels", async () => {
    const { root } = await mount();
    pointer("loss", "pointermove", 0.5);
    const tip = root.querySelector<HTMLElement>(".ew-tooltip")!;
    expect(tip.hidden).toBe(false);
    expect(tip.querySelector("b")!.textContent).toMatch(/^epoch 1\.8\d · step 18\d · 3:0\d$/);
    const words = [...tip.querySelectorAll(".ew-tooltip-words")].map((each) => each.textContent);
    expect(words).toEqual(["train batch", "train smoothed", "train epoch mean", "validation epoch"]);
    expect(tip.textContent).toContain("of epoch 2");
    expect(root.querySelectorAll(".ew-crosshair:not([hidden])")).toHaveLength(3);
    pointer("loss", "pointerleave", 0.5);
    expect(tip.hidden).toBe(true);
  });

  test("the running mean is in the tooltip as the console's number, though its line is hidden", async () => {
    const running = series({ id: 1, name: "running_loss", kind: "running" });
    const draft = training(1, {
      series: [series(), running],
      columns: [
        { series: 0, values: [1, 2, 3] },
        { series: 1, values: [1, 1.5, 2] },
      ],
    });
    const { root } = await mount({}, draft);
    pointer("loss", "pointermove", 0.9);
    expect(root.querySelector(".ew-tooltip")!.textContent).toContain(
      "train running mean2.000the console's number, of step 3",
    );
  });

  test("the best is marked and told: the lowest loss, the highest accuracy, or what the person says", async () => {
    const { model } = await mount();
    expect(entries("loss")).toContain("validation epoch 1.600 best 1.200");
    expect(entries("accuracy")).toContain("validation epoch 0.1000 best 0.5000");
    model.assign("directions", { accuracy: "min" });
    await frames();
    expect(entries("accuracy")).toContain("validation epoch 0.1000 best 0.1000");
  });

  test("Alt-click shows a line alone, and once more brings the others back", async () => {
    const { model } = await mount();
    const entry = figure("loss").getByRole("button", { name: /^validation epoch/ });
    await entry.click({ modifiers: ["Alt"] });
    expect(model.get("hidden")).toEqual(["batch:loss", "epoch:loss"]);
    await entry.click({ modifiers: ["Alt"] });
    expect(model.get("hidden")).toEqual([]);
  });

  test("the footer says for how long nothing was better", async () => {
    await mount();
    await expect
      .element(page.getByText("best validation loss 1.200 at epoch 2 · no better for 2 epochs"))
      .toBeVisible();
  });

  test("a screen reader meets each panel in words", async () => {
    await mount();
    const text = figure("loss").element().querySelector(".ew-unseen")!.textContent!;
    expect(text).toMatch(/^Plot of loss over epochs\./);
    expect(text).toContain(
      "validation, epoch: 4 points, from 1.200 to 1.600, last 1.600, best 1.200 at epoch 2",
    );
    expect(text).toMatch(/train, batch: 400 points, .*, smoothed 0\.9: \d\.\d+, steady\./);
    expect(text).toContain("Mark at step 151: lr 1e-3 → 1e-4");
  });
});

describe("axes", () => {
  test("a drag zooms all panels, a double click shows all again; both are remembered", async () => {
    const { model, root } = await mount();
    await drag("loss", 0.3, 0.6);
    const [from, to] = model.get("zoom") as number[];
    expect(from).toBeGreaterThan(0.9);
    expect(to).toBeLessThan(2.5);
    expect(model.saved).toHaveLength(1);
    await expect.element(page.getByRole("button", { name: "Reset zoom" })).toBeVisible();
    // The crosshair of a place that is out of sight is not to be seen.
    plot("loss").focus();
    await userEvent.keyboard("{Home}");
    expect(root.querySelector(".ew-tooltip b")!.textContent).toMatch(/^epoch (0\.9|1\.)/);
    pointer("accuracy", "dblclick", 0.5);
    expect(model.get("zoom")).toEqual([]);
  });

  test("Shift and a drag move what is seen, Ctrl and the wheel zoom about the pointer", async () => {
    const { model } = await mount({ zoom: [1, 2] });
    await drag("loss", 0.7, 0.4, { shiftKey: true });
    const [from, to] = model.get("zoom") as [number, number];
    expect(from).toBeGreaterThan(1.2);
    expect(to - from).toBeCloseTo(1, 6);
    pointer("loss", "wheel", 0.5, { deltaY: -400, ctrlKey: true });
    await vi.waitFor(() => {
      const [a, b] = model.get("zoom") as [number, number];
      expect(b - a).toBeLessThan(0.7);
      expect(a).toBeGreaterThan(from);
      expect(b).toBeLessThan(to);
    });
    // Plain wheels scroll the page.
    const plain = new WheelEvent("wheel", { deltaY: 100, cancelable: true, bubbles: true });
    plot("loss").dispatchEvent(plain);
    expect(plain.defaultPrevented).toBe(false);
  });

  test("what is seen stays in sight when the axis changes", async () => {
    const { model } = await mount({ zoom: [1, 2] });
    const axis = page.getByRole("combobox", { name: "X axis" });
    await axis.selectOptions("step");
    expect(model.get("zoom")).toEqual([100, 200]);
    await axis.selectOptions("time");
    expect(model.get("zoom")).toEqual([100, 200]);
    await axis.selectOptions("time of day");
    expect(model.get("zoom")).toEqual([1_700_000_100, 1_700_000_200]);
    await axis.selectOptions("epoch");
    expect(model.get("zoom")).toEqual([1, 2]);
  });

  test("the newest part is followed on request", async () => {
    const live = (epochs: number, elapsed: number) =>
      training(epochs, { status: "running", epochs: 9, elapsed });
    const { model, root } = await mount({ zoom: [0, 1] }, live(2, 10));
    await page.getByRole("switch", { name: "Follow" }).click();
    expect(model.get("follow")).toBe(true);
    model.append(encode(live(4, 20)));
    await frames();
    plot("loss").focus();
    await userEvent.keyboard("{End}");
    expect(root.querySelector(".ew-tooltip b")!.textContent).toMatch(/^epoch 4\.00/);
    await userEvent.keyboard("{Home}");
    expect(root.querySelector(".ew-tooltip b")!.textContent).toMatch(/^epoch 3\.05/);
  });

  test("outliers are told and left out, and a click shows them", async () => {
    const values = Array.from({ length: 400 }, (_, i) => (i === 200 ? 99 : 1 + Math.cos(i)));
    const { model } = await mount({}, training(4, { series: [series()], columns: [{ series: 0, values }] }));
    await expect.element(page.getByText("1 outlier beyond the scale, as far as 99.00:")).toBeVisible();
    await page.getByRole("button", { name: "show them" }).click();
    expect(model.get("unclipped")).toEqual(["loss"]);
    await expect.element(page.getByText(/outlier/)).not.toBeInTheDocument();
  });

  test("one panel may have another scale than the others", async () => {
    const { model } = await mount();
    await menu("accuracy: more", "Log scale");
    expect(model.get("scales")).toEqual({ accuracy: "log" });
    expect(figure("accuracy").element().textContent).toContain("over epochs, log scale");
    expect(figure("loss").element().textContent).not.toContain("log scale");
  });
});

describe("curves", () => {
  test("the slider changes the smoothing from 0 to 0.999, and the learning rate is never smoothed", async () => {
    const { model } = await mount();
    const slider = page.getByRole("slider", { name: "Smoothing" });
    slider.element().focus();
    await userEvent.keyboard("{End}");
    expect(model.get("smoothing")).toBe(0.999);
    expect(entries("loss")[0]).toMatch(/^train batch, smoothed 0\.999 /);
    expect(entries("learning rate")).toEqual(["lr each step 1e-4"]);
    await userEvent.keyboard("{Home}");
    expect(model.get("smoothing")).toBe(0);
    expect(entries("loss")[0]).toMatch(/^train batch 0\.\d+/);
  });

  test("means move to the end of their epochs, and the gap is shaded, on request", async () => {
    const { model, root } = await mount({ granularity: "epoch" });
    const before = pixels(root);
    await menu("More", "Means at the middle of their epoch");
    expect(model.get("means_at")).toBe("end");
    const moved = pixels(root);
    expect(moved).not.toBe(before);
    await menu("More", "Shade the gap to validation");
    expect(model.get("gap")).toBe(true);
    expect(pixels(root)).not.toBe(moved);
  });

  test("where a mean is NaN nothing is known of the gap", async () => {
    const shades = async (values: number[]) => {
      const draft = training(6);
      const columns = draft.columns!.map((each) => (each.series === 1 ? { ...each, values } : each));
      await mount({ granularity: "epoch", gap: true }, { ...draft, columns });
      const [, blob] = await saved(() => menu("loss: more", "Save as SVG"));
      vi.restoreAllMocks();
      host.replaceChildren();
      return (await blob.text()).match(/fill-opacity="0.13"/g)?.length ?? 0;
    };
    expect(await shades([2, 1.9, 1.8, 1.7, 1.6, 1.5])).toBe(1);
    expect(await shades([2, 1.9, Number.NaN, 1.7, 1.6, 1.5])).toBe(2);
    expect(await shades(Array(6).fill(Number.NaN))).toBe(0);
  });
});

/** What the browser was asked to save: its name and content. */
async function saved(act: () => Promise<void>): Promise<[string, Blob]> {
  const found: [string, Blob][] = [];
  let blob: Blob | null = null;
  vi.spyOn(URL, "createObjectURL").mockImplementation((given) => {
    blob = given as Blob;
    return "blob:x";
  });
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
    found.push([this.download, blob!]);
  });
  await act();
  await vi.waitFor(() => expect(found).toHaveLength(1));
  return found[0]!;
}

const pixels = (root: Root) => root.querySelector("canvas")!.toDataURL();

describe("runs", () => {
  const three = () =>
    [1, 2, 3].map((k) =>
      training(4, { id: `r${k}`, name: `run ${k}`, started: 1_700_000_000 + k, elapsed: 60 * k }),
    );

  test("the newest are drawn together, and each may be hidden, shown, pinned and named", async () => {
    const { model, root } = await mount({ last: 2 }, ...three());
    const box = (name: string) => page.getByRole("checkbox", { name: `Draw ${name}` });
    const drawn = () =>
      [...root.querySelectorAll(".ew-run-box")].map((each) => each.getAttribute("aria-checked"));
    expect(drawn()).toEqual(["true", "true", "false"]);
    await box("run 1").click();
    expect(drawn()).toEqual(["true", "true", "true"]);
    expect(model.get("pinned")).toEqual(["r1"]);
    await box("run 3").click();
    expect(model.get("hidden_runs")).toEqual(["r3"]);
    await box("run 3").click();
    expect(model.get("pinned")).toEqual(["r1"]);
    await box("run 3").click();
    // The newest of those that are left is the one that the header tells of.
    expect(root.querySelector(".ew-title")!.textContent).toBe("run 2");
    await menu("run 2: more", "Rename");
    await userEvent.keyboard("with dropout{Enter}");
    expect(model.get("names")).toEqual({ r2: "with dropout" });
    expect(root.querySelector(".ew-title")!.textContent).toBe("with dropout");
    await menu("run 1: more", "Draw this run alone");
    expect(drawn()).toEqual(["false", "false", "true"]);
  });

  test("the tooltip tells them apart, and the list has their best and how long they took", async () => {
    const { root } = await mount({}, ...three());
    pointer("loss", "pointermove", 0.5);
    const words = [...root.querySelectorAll(".ew-tooltip-words")].map((each) => each.textContent!);
    expect(words[0]).toBe("run 3: train batch");
    expect(words).toContain("run 1: validation epoch");
    expect(root.querySelector(".ew-runs")!.textContent).toContain("run 1 1.200 finished 1:00");
  });

  test("a run of another name that has just begun keeps the room of the one before", async () => {
    const { model, root } = await mount();
    const before = root.querySelector<HTMLElement>(".ew-panels")!.offsetHeight;
    model.append(
      encode({ id: "next", name: "next", status: "running", started: 1_800_000_000, epoch: 0, epochs: 3 }),
    );
    await vi.waitFor(() => expect(root.querySelector(".ew-title")!.textContent).toBe("next"));
    const waiting = root.querySelector<HTMLElement>(".ew-empty")!;
    expect(waiting.textContent).toBe("Waiting for the first batch.");
    expect(waiting.offsetHeight).toBeGreaterThanOrEqual(before);
    model.assign("smoothing", 0.5);
    expect(waiting.offsetHeight).toBeGreaterThanOrEqual(before);
    expect(before).toBeGreaterThan(250);
  });

  test("unless more are asked for, those of another name are not drawn beside the newest", async () => {
    const named = (name: string, k: number) => training(2, { id: name, name, started: 1_700_000_000 + k });
    const all = ["a · run 1", "b · run 2", "a · run 3", "a · run 4", "a · run 5"].map(named);
    const { model, root } = await mount({}, ...all);
    const drawn = () =>
      [...root.querySelectorAll(".ew-run-box")].map((each) => each.getAttribute("aria-checked"));
    expect(drawn()).toEqual(["true", "true", "true", "false", "false"]);
    model.assign("last", 4);
    await frames();
    expect(drawn()).toEqual(["true", "true", "true", "true", "false"]);
  });

  test("only the runs that were asked for are there", async () => {
    const { root } = await mount({ runs: ["r1"] }, ...three());
    expect(root.querySelector(".ew-title")!.textContent).toBe("run 1");
    expect(root.querySelector<HTMLElement>(".ew-runs")!.hidden).toBe(true);
  });
});

describe("state", () => {
  test("NaN raises an alarm that leads to its step", async () => {
    const values = Array.from({ length: 400 }, (_, i) => (i < 299 ? 1 + Math.cos(i) : Number.NaN));
    const { model } = await mount({}, training(4, { series: [series()], columns: [{ series: 0, values }] }));
    await page.getByRole("button", { name: "⚠ NaN in loss since step 300" }).click();
    const [from, to] = model.get("zoom") as [number, number];
    expect((from + to) / 2).toBeCloseTo(3, 6);
  });

  test("marks are named where they stand and where the crosshair does, the person's before all others", async () => {
    const items = [
      { step: 150, text: "unfroze the whole encoder and the head", epoch: null },
      { step: 400, text: "early stopping", epoch: null },
      { step: 400, text: "my own note", epoch: null },
    ];
    const { root } = await mount({ smoothing: 0 }, training(4, { marks: { start: 0, items } }));
    const [, blob] = await saved(() => menu("loss: more", "Save as SVG"));
    vi.restoreAllMocks();
    const texts = [
      ...new DOMParser().parseFromString(await blob.text(), "image/svg+xml").querySelectorAll("text"),
    ].map((each) => each.textContent);
    expect(texts).toEqual(expect.arrayContaining([...items.map(({ text }) => text), "lr 1e-3 → 1e-4"]));
    pointer("loss", "pointermove", 1);
    expect([...root.querySelectorAll(".ew-tooltip-marks div")].map((each) => each.textContent)).toEqual([
      "early stopping",
      "my own note",
    ]);
  });

  test("a log scale has an axis also where a zoom leaves nothing to see, and the panel says so", async () => {
    const { model, root } = await mount({ log_scale: true });
    model.assign("zoom", [6, 7]);
    expect(root.querySelector(".ew-note")!.textContent).toContain("no values in this part of the x axis");
    model.assign("zoom", []);
    expect(root.querySelector(".ew-note")!.textContent).not.toContain("no values");
  });

  test("one batch that runs away ruins no axis, though the average follows it, nor does one validation", async () => {
    const draft = training(8);
    const columns = draft.columns!.map((each) => {
      const values = Array.from(each.values);
      if (each.series === 0) values[350] = 1e6;
      if (each.series === 2) values[4] = 1000;
      return { ...each, values };
    });
    const { root } = await mount({}, { ...draft, columns });
    expect(root.querySelector(".ew-note")!.textContent).toContain("outliers beyond the scale");
    const [, blob] = await saved(() => menu("loss: more", "Save as SVG"));
    vi.restoreAllMocks();
    const ticks = [...(await blob.text()).matchAll(/text-anchor="end"[^>]*>([\d.,e+]+)</g)].map(([, tick]) =>
      Number(tick),
    );
    expect(Math.max(...ticks)).toBeLessThan(10);
  });

  test("the pace, the time in validation and the cost of watching are there", async () => {
    const draft = training(4, { watching: 2, validating: 61 });
    await mount({}, draft);
    await expect.element(page.getByText("6:40 · 1.00 batch/s")).toBeVisible();
    await expect.element(page.getByText("watching 0.5 % · 1:01 in validation")).toBeVisible();
  });
});

describe("layout", () => {
  test("a panel is enlarged, moved and closed, and comes back", async () => {
    const { model, root } = await mount();
    expect(titles(root)).toEqual(["loss", "accuracy", "learning rate"]);
    await page.getByRole("button", { name: "Enlarge accuracy" }).click();
    await frames();
    expect(titles(root)).toEqual(["accuracy"]);
    await page.getByRole("button", { name: "Show all panels" }).click();
    await menu("learning rate: more", "Move forward");
    expect(model.get("order")).toEqual(["loss", "learning rate", "accuracy"]);
    expect(titles(root)).toEqual(["loss", "learning rate", "accuracy"]);
    await menu("accuracy: more", "Close");
    expect(titles(root)).toEqual(["loss", "learning rate"]);
    await menu("More", "Open accuracy");
    expect(titles(root)).toHaveLength(3);
  });

  test("panels of one's own take their series from where these stood", async () => {
    const own = { title: "mine", metrics: ["accuracy"], scale: "log" };
    const { root } = await mount({ panels: [own] });
    expect(titles(root)).toEqual(["loss", "mine", "learning rate"]);
    expect(figure("mine").element().textContent).toContain("log scale");
  });

  test("the compact card is one row, and opens again", async () => {
    const { model, root } = await mount();
    const tall = root.offsetHeight;
    await menu("More", "Compact");
    expect(root.offsetHeight).toBeLessThan(tall / 2);
    expect(titles(root)).toHaveLength(3);
    await page.getByRole("button", { name: "Show everything" }).click();
    expect(model.get("compact")).toBe(false);
  });
});

describe("take away", () => {
  test("values as CSV, each exact", async () => {
    await mount({}, training(2, { name: 'a "b", c' }));
    const [name, blob] = await saved(() => menu("loss: more", "Save values as CSV"));
    expect(name).toBe("a _b_, c loss.csv");
    const rows = (await blob.text()).trim().split("\r\n");
    expect(rows[0]).toBe("run,name,metric,split,granularity,kind,step,epoch_from_0,seconds,value");
    expect(rows[1]).toBe(`"a ""b"", c",loss,loss,train,batch,batch,1,,1,${1 + 1 / 10 + 1}`);
    expect(rows).toContain(`"a ""b"", c",val_loss,loss,validation,epoch,epoch,100,0,100,1.3`);
    expect(rows).toHaveLength(1 + 200 + 2 + 2);
  });

  test("a picture that stands by itself, as SVG and as PNG", async () => {
    const evil = `<img src=x onerror="window.hit=1"> \u0007 שלום 🙂`;
    const spec = series({ name: evil, label: evil });
    const draft = training(1, {
      name: evil,
      series: [spec],
      columns: [{ series: 0, values: [1, 2, 3] }],
      marks: { start: 0, items: [{ step: 2, text: evil, epoch: null }] },
    });
    await mount({}, draft);
    const [name, blob] = await saved(() => menu("loss: more", "Save as SVG"));
    expect(name).toMatch(/\.svg$/);
    const text = await blob.text();
    const picture = new DOMParser().parseFromString(text, "image/svg+xml");
    expect(picture.querySelector("parsererror")).toBeNull();
    expect(picture.querySelector("img, script")).toBeNull();
    expect(text).not.toMatch(/var\(|class=|href/);
    const words = [...picture.querySelectorAll("text")].map((each) => each.textContent);
    expect(words).toEqual(expect.arrayContaining(["loss", "epoch", "0.0", "1.0"]));
    expect(words.some((each) => each!.includes("🙂"))).toBe(true);
    vi.restoreAllMocks();
    const [, png] = await saved(() => menu("loss: more", "Save as PNG"));
    const bitmap = await createImageBitmap(png);
    expect(bitmap.width).toBeGreaterThan(900);
  });

  test("the legend of a picture has the markers of its lines", async () => {
    await mount({ granularity: "epoch" });
    const [, blob] = await saved(() => menu("loss: more", "Save as SVG"));
    const picture = new DOMParser().parseFromString(await blob.text(), "image/svg+xml");
    const dots = [...picture.querySelectorAll("svg > path")].filter((each) =>
      each.getAttribute("d")!.includes("A"),
    );
    // For validation a ring, filled and stroked; a dot for training.
    expect(dots.map((each) => each.getAttribute("fill") !== "none")).toEqual([true, false, true]);
  });
});

describe("access", () => {
  test("the epochs as a table, on request", async () => {
    const { root } = await mount();
    await menu("More", "Table of epochs");
    const cells = [...root.querySelectorAll("tr")].map((row) =>
      [...row.children].map((each) => each.textContent),
    );
    expect(cells[0]).toEqual([
      "Epoch",
      "loss, train",
      "loss, validation",
      "accuracy, validation",
      "learning rate, last",
    ]);
    expect(cells[2]).toEqual(["2", "1.600", "1.200", "0.5000", "1e-4"]);
    expect(root.querySelector("td b")!.textContent).toBe("1.200");
  });

  test("menus are used by keyboard, and give the focus back", async () => {
    const { model } = await mount();
    const button = page.getByRole("button", { name: "loss: more" });
    button.element().focus();
    await userEvent.keyboard("{Enter}");
    await expect.element(page.getByRole("menuitemcheckbox", { name: "Log scale" })).toHaveFocus();
    await userEvent.keyboard("{ArrowDown}{Enter}");
    expect(model.get("unclipped")).toEqual(["loss"]);
    await expect.element(button).toHaveFocus();
    await userEvent.keyboard("{Enter}{Escape}");
    await expect.element(button).toHaveAttribute("aria-expanded", "false");
  });

  test("+ and - zoom about the crosshair, 0 shows all", async () => {
    const { model } = await mount();
    plot("loss").focus();
    await userEvent.keyboard("{Home}{PageDown}+");
    const [from, to] = model.get("zoom") as [number, number];
    expect(to - from).toBeCloseTo(2, 6);
    await userEvent.keyboard("0");
    expect(model.get("zoom")).toEqual([]);
  });

  test("nothing that axe would complain about, with all that can be opened", async () => {
    for (const theme of ["light", "dark"]) {
      host.replaceChildren();
      const nan = training(3, {
        id: "b",
        started: 1_700_000_005,
        series: [series()],
        columns: [{ series: 0, values: [1, Number.NaN] }],
      });
      await mount({ theme, zoom: [0.5, 1.5] }, training(4), nan);
      await menu("More", "Table of epochs");
      pointer("loss", "pointermove", 0.5);
      await page.getByRole("button", { name: "loss: more" }).click();
      await frames();
      const { violations } = await axe.run(host);
      expect(violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html)])).toEqual([]);
    }
  });
});

describe("what a second look found", () => {
  test("a value stands only where its run was, and says its own step where that is another", async () => {
    const short = training(2, { id: "a", name: "m · run 1" });
    const long = training(4, { id: "b", name: "m · run 2", started: 1_700_000_009 });
    const sparse = { series: 3, values: [0.1, 0.2], steps: [50, 350] };
    const columns = [...long.columns!.filter(({ series: id }) => id !== 3), sparse];
    const { root } = await mount({ hidden: [] }, short, { ...long, columns });
    pointer("loss", "pointermove", 0.9);
    const rows = () => [...root.querySelectorAll(".ew-tooltip-row")].map((row) => row.textContent!);
    expect(rows().some((row) => row.startsWith("m · run 1"))).toBe(false);
    pointer("accuracy", "pointermove", 0.9);
    expect(rows()[0]).toMatch(/^m · run 2: train batch0\.2000of step 350$/);
    pointer("loss", "pointermove", 0.3);
    expect(rows().some((row) => row.startsWith("m · run 1"))).toBe(true);
  });

  test("while the first epoch of a run again goes on, the means in the legend are the former's by name", async () => {
    const now = training(1, { id: "b", name: "m · run 2", started: 1_700_000_009, status: "running" });
    const begun = now.columns!.filter(({ series: id }) => ![1, 2, 4].includes(id));
    await mount({}, training(2, { name: "m · run 1" }), {
      ...now,
      columns: begun,
      series: now.series!.slice(0, 1),
    });
    expect(entries("loss").map((entry) => entry.replace(/[\d.]+/g, "#"))).toEqual([
      "train batch, smoothed # #",
      "m · run #: train epoch mean #",
      "m · run #: validation epoch # best #",
    ]);
  });

  test("an outlier among the batches does not ruin the scale by the mean of its epoch", async () => {
    const values = Array.from({ length: 400 }, (_, i) => (i === 150 ? 5000 : 1 + Math.cos(i) / 10));
    const draft = training(4);
    const means = { series: 1, values: [1, 51, 1, 1], steps: [100, 200, 300, 400], epochs: [0, 1, 2, 3] };
    const columns = [{ series: 0, values }, means, ...draft.columns!.slice(2)];
    await mount({}, { ...draft, columns });
    await expect.element(page.getByText("2 outliers beyond the scale, as far as 5,000:")).toBeVisible();
  });

  test("following goes on when the run has ended, until another part is chosen", async () => {
    const { model, root } = await mount({ zoom: [0, 1], follow: true });
    plot("loss").focus();
    await userEvent.keyboard("{Home}");
    expect(root.querySelector(".ew-tooltip b")!.textContent).toMatch(/^epoch 3\.05/);
    await drag("loss", 0.3, 0.8);
    expect(model.get("follow")).toBe(false);
  });

  test("the focus stays in the card, whatever becomes of what had it", async () => {
    const { root } = await mount({ zoom: [1, 2] });
    const press = async (name: string) => {
      page.getByRole("button", { name, exact: true }).element().focus();
      await userEvent.keyboard("{Enter}");
      await frames();
      expect(root.contains(document.activeElement), name).toBe(true);
      return document.activeElement!.getAttribute("aria-label");
    };
    await press("Reset zoom");
    expect(await press("Enlarge accuracy")).toBe("Show all panels");
    expect(await press("Show all panels")).toBe("Enlarge accuracy");
    await menu("learning rate: more", "Move forward");
    expect(document.activeElement!.getAttribute("aria-label")).toBe("learning rate: more");
    await menu("learning rate: more", "Close");
    expect(root.contains(document.activeElement)).toBe(true);
    await menu("More", "Compact");
    expect(document.activeElement!.getAttribute("aria-label")).toBe("Show everything");
  });

  test("a plateau is counted in epochs, also where validation is rare, and for accuracies as well", async () => {
    const epochs = [4, 9, 14];
    const spec = {
      name: "val_accuracy",
      panel: "accuracy",
      label: "validation",
      split: "validation",
    } as const;
    const column = { series: 0, values: [0.9, 0.8, 0.7], steps: [500, 1000, 1500], epochs };
    const draft = training(15, {
      series: [series({ ...spec, granularity: "epoch", kind: "epoch" })],
      columns: [column],
    });
    await mount({}, draft);
    await expect
      .element(page.getByText("best validation accuracy 0.9000 at epoch 5 · no better for 10 epochs"))
      .toBeVisible();
  });

  test("a run that goes on takes the header, though others began after it", async () => {
    const older = training(2, { id: "a", name: "m · run 1", resumed: [[200, 200, 1_700_000_900]] });
    const newer = training(2, { id: "b", name: "m · run 2", started: 1_700_000_100 });
    const { model, root } = await mount({}, older, newer);
    expect(root.querySelector(".ew-title")!.textContent).toBe("m · run 1");
    await page.getByRole("button", { name: /^m · run 2 / }).click();
    expect(model.get("run")).toBe("b");
    await page.getByRole("button", { name: "follow the newest" }).click();
    expect(root.querySelector(".ew-title")!.textContent).toBe("m · run 1");
  });

  test("many panels stand in a grid below the first", async () => {
    const many = Array.from({ length: 9 }, (_, id) => series({ id, name: `m${id}`, panel: `m${id}` }));
    const columns = many.map(({ id }) => ({ series: id, values: [1, 2, 3] }));
    const { root } = await mount({}, training(1, { series: many, columns }));
    expect(root.dataset.layout).toBe("stacked");
    const [first, second, third] = [...root.querySelectorAll("figure")].map((each) =>
      each.getBoundingClientRect(),
    );
    expect(first!.width).toBeGreaterThan(900);
    expect(second!.top).toBe(third!.top);
  });
});
