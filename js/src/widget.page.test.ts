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
  delete document.body.dataset.jpThemeLight;
  delete document.body.dataset.theme;
});

const BATCHES = 10;

/** A run of some epochs of ten batches with loss, validation loss, running loss and learning rate. */
function training(epochs: number, patch: RunDraft = {}): RunDraft {
  const steps = Array.from({ length: epochs * BATCHES }, (_, i) => i);
  const done = Array.from({ length: epochs }, (_, e) => e);
  const ends = done.map((e) => (e + 1) * BATCHES);
  return {
    name: "digits-cnn",
    elapsed: 72,
    remaining: 108,
    epoch: epochs - 1,
    epochs: 10,
    batch: BATCHES,
    batches: BATCHES,
    spans: { start: 0, items: done.map((e) => [e, e * BATCHES, BATCHES] as const) },
    series: [
      series({ id: 0 }),
      series({ id: 1, name: "running_loss", kind: "running" }),
      series({ id: 2, granularity: "epoch", kind: "epoch" }),
      series({
        id: 3,
        name: "val_loss",
        label: "validation",
        split: "validation",
        granularity: "epoch",
        kind: "epoch",
      }),
      series({ id: 4, name: "lr", panel: "learning rate", label: "Adam" }),
      series({ id: 5, name: "seconds", panel: "", label: "", kind: "clock" }),
    ],
    columns: [
      { series: 0, values: steps.map((i) => 2 / (i + 1)) },
      { series: 1, values: steps.map((i) => 3 / (i + 1)) },
      { series: 2, values: done.map((e) => 1 / (e + 1)), steps: ends, epochs: done },
      { series: 3, values: done.map((e) => [0.42, 0.41, 0.4, 0.41][e]!), steps: ends, epochs: done },
      { series: 4, values: steps.map(() => 6.2e-4) },
      { series: 5, values: steps.map((i) => i / 2) },
    ],
    ...patch,
  };
}

function mount(model: FakeModel, ...frames: DataView[]) {
  const widget = factory();
  widget.initialize({ model });
  for (const frame of frames) model.append(frame);
  const show = () => {
    const el = document.createElement("div");
    host.append(el);
    const end = widget.render({ model, el });
    return { el, end, root: el.firstElementChild as Root };
  };
  return { widget, show, ...show() };
}

const frames = async (n = 2) => {
  for (let i = 0; i < n; i++) await new Promise((done) => requestAnimationFrame(done));
};

const button = (name: string) => page.getByRole("button", { name, exact: true });
const entries = (panel: string) =>
  [...document.querySelectorAll<HTMLElement>(`figure`)]
    .filter((figure) => figure.getAttribute("aria-label") === panel)
    .flatMap((figure) => [...figure.querySelectorAll("li button")])
    .map(
      (entry) => `${entry.getAttribute("aria-pressed") === "true" ? "+" : "-"} ${entry.textContent!.trim()}`,
    );

/** A sum over the plot's pixels, to tell one drawing from another. */
function ink(root: Element, which = 0): number {
  const canvas = root.querySelectorAll("canvas")[which]!;
  const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]!) % 1_000_000_007;
  return sum;
}

describe("what is shown", () => {
  test("before the first run, one calm sentence", async () => {
    mount(new FakeModel());
    await expect
      .element(page.getByText("Waiting for a run: training with an EpochCallback or ew.Run shows up here."))
      .toBeVisible();
    expect(document.querySelector("canvas")).toBeNull();
  });

  test("the header says where the run is", async () => {
    mount(new FakeModel(), encode(training(4)));
    await expect.element(page.getByRole("status")).toHaveTextContent("training");
    for (const text of ["digits-cnn", "epoch 4 of 10", "batch 10 of 10"]) {
      await expect.element(page.getByText(text, { exact: true })).toBeVisible();
    }
    await expect.element(page.getByText(/^1:1\d · 1:4\d left · 2.00 batch\/s$/)).toBeVisible();
    await expect.element(page.getByRole("progressbar")).toHaveAttribute("aria-valuenow", "40");
    await expect.element(page.getByText("best validation loss 0.4000 at epoch 3")).toBeVisible();
  });

  test("a failed run says why", async () => {
    mount(new FakeModel(), encode(training(1, { status: "failed", error: "ValueError: no images" })));
    await expect.element(page.getByRole("status")).toHaveTextContent("failed: ValueError: no images");
  });

  test("every line stands in the legend with its kind and its last value", async () => {
    const { root } = mount(new FakeModel(), encode(training(4)));
    await expect.element(page.getByRole("figure", { name: "loss" })).toBeVisible();
    expect(entries("loss")).toEqual([
      "+ train batch, smoothed 0.9 0.07760",
      "- train running mean (the console's number) 0.07500",
      "+ train epoch mean 0.2500",
      "+ validation epoch 0.4100 best 0.4000",
    ]);
    expect(entries("learning rate")).toEqual(["+ Adam each step 6.2e-4"]);
    expect(root.querySelectorAll("figure")).toHaveLength(2);
  });

  test.each([420, 850, 980])("the card of %d pixels keeps its height when means come", async (width) => {
    host.style.width = `${width}px`;
    const model = new FakeModel();
    const all = training(1);
    const batches = all.series!.filter(({ granularity }) => granularity === "batch");
    const columns = all.columns!.filter((column) => batches.some(({ id }) => id === column.series));
    const { root } = mount(model, encode({ ...all, series: batches, columns }));
    await frames();
    expect(entries("loss")).toHaveLength(2);
    const before = root.offsetHeight;
    model.append(encode(training(1, { elapsed: 80 })));
    await frames(3);
    expect(entries("loss")).toHaveLength(4);
    expect(root.offsetHeight).toBe(before);
  });

  test("a narrow panel leaves words in brackets out, and has them as its title", async () => {
    host.style.width = "340px";
    const { root } = mount(new FakeModel(), encode(training(1)));
    await frames();
    const entry = [...root.querySelectorAll<HTMLElement>("figure li button")][1]!;
    expect(entry.querySelector(".ew-aside")!.checkVisibility()).toBe(false);
    expect(entry.title).toContain("running mean (the console's number)");
  });

  test("NaN is said in words, with its step", async () => {
    const draft = training(1, { columns: [{ series: 0, values: [1, 2, Number.NaN, 3, Number.NaN] }] });
    mount(new FakeModel(), encode(draft));
    await expect.element(page.getByText("train batch: 2 NaN, first at step 3")).toBeVisible();
  });

  test("a log axis says what it cannot show", async () => {
    const draft = training(1, { columns: [{ series: 0, values: [1, 0, -1, 3] }] });
    mount(new FakeModel({ log_scale: true }), encode(draft));
    await expect.element(page.getByText("the log scale cannot show 2 values ≤ 0")).toBeVisible();
  });

  test("nothing that axe would complain about, in light and dark", async () => {
    for (const theme of ["light", "dark"]) {
      host.replaceChildren();
      const old = training(2, { id: "old", name: "earlier", status: "stopped", started: 1 });
      mount(new FakeModel({ theme }), encode(old, training(4)));
      await frames();
      const { violations } = await axe.run(host);
      expect(violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html)])).toEqual([]);
    }
  });

  test("the points can be read by tests and from the console", () => {
    const { root } = mount(new FakeModel(), encode(training(1)));
    expect(root.epochwidget.store.points("r1", "epoch", "val_loss")).toEqual({
      steps: [10],
      values: [0.42],
      epochs: [0],
    });
  });
});

describe("controls", () => {
  test("the granularity is a click, at once, without the kernel", async () => {
    const model = new FakeModel();
    const { root } = mount(model, encode(training(4)));
    await frames();
    const before = ink(root);
    const group = page.getByRole("group", { name: "Granularity" });
    await group.getByRole("button", { name: "Epoch" }).click();
    expect(entries("loss")).toEqual(["+ train epoch mean 0.2500", "+ validation epoch 0.4100 best 0.4000"]);
    // The learning rate is known per batch only, so it stays.
    expect(entries("learning rate")).toHaveLength(1);
    expect(ink(root)).not.toBe(before);
    expect(model.saved).toEqual([{ granularity: "epoch" }]);
    await group.getByRole("button", { name: "Batch" }).click();
    expect(entries("loss")).toHaveLength(3);
    await expect
      .element(group.getByRole("button", { name: "Batch" }))
      .toHaveAttribute("aria-pressed", "true");
    await expect
      .element(group.getByRole("button", { name: "Epoch" }))
      .toHaveAttribute("aria-pressed", "false");
  });

  test("x axis and log scale redraw and are saved", async () => {
    const model = new FakeModel();
    const { root } = mount(model, encode(training(4)));
    await frames();
    const drawings = new Set([ink(root)]);
    await page.getByRole("combobox", { name: "X axis" }).selectOptions("step");
    drawings.add(ink(root));
    await page.getByRole("switch", { name: "Log scale" }).click();
    drawings.add(ink(root));
    expect(drawings.size).toBe(3);
    await expect
      .element(page.getByRole("switch", { name: "Log scale" }))
      .toHaveAttribute("aria-checked", "true");
    expect(model.saved).toEqual([{ x_axis: "step" }, { log_scale: true }]);
  });

  test("a legend entry hides its line, and shows one hidden by default", async () => {
    const model = new FakeModel();
    mount(model, encode(training(2)));
    await page.getByRole("button", { name: /^train batch/ }).click();
    expect(model.get("hidden")).toEqual(["batch:loss"]);
    await page.getByRole("button", { name: /running mean/ }).click();
    expect(model.get("hidden")).toEqual(["batch:loss", "!batch:running_loss"]);
    expect(
      entries("loss")
        .slice(0, 2)
        .map((text) => text[0]),
    ).toEqual(["-", "+"]);
    await page.getByRole("button", { name: /^train batch/ }).click();
    await page.getByRole("button", { name: /running mean/ }).click();
    expect(model.get("hidden")).toEqual([]);
  });

  test("what Python changes is drawn", async () => {
    const model = new FakeModel();
    mount(model, encode(training(2)));
    model.assign("granularity", "epoch");
    model.assign("title", "A title of one's own");
    expect(entries("loss")).toHaveLength(2);
    await expect.element(page.getByText("A title of one's own")).toBeVisible();
    expect(model.saved).toEqual([]);
  });

  test("runs are chosen by their buttons; the newest is followed", async () => {
    const model = new FakeModel();
    const old = training(2, { id: "old", name: "earlier", status: "completed", started: 1 });
    mount(model, encode(old, training(4)));
    await page.getByRole("button", { name: /^earlier 0.4100 finished/ }).click();
    expect(model.get("run")).toBe("old");
    await expect.element(page.getByText("epoch 2 of 10")).toBeVisible();
    await page.getByRole("button", { name: /^digits-cnn 0/ }).click();
    expect(model.get("run")).toBe("");
    await expect.element(page.getByText("epoch 4 of 10")).toBeVisible();
  });

  test("a search for a learning rate is drawn over it, and leaves no choice of axis", async () => {
    const rate = series({ id: 1, name: "lr", panel: "learning rate", label: "lr" });
    const found = {
      purpose: "lr search",
      series: [series(), rate],
      columns: [
        { series: 0, values: [4, 3, 2, 9] },
        { series: 1, values: [1e-5, 1e-4, 1e-3, 1e-2] },
      ],
    };
    const model = new FakeModel();
    const { root } = mount(model, encode(found));
    await frames();
    const axis = page.getByRole("combobox", { name: "X axis" });
    await expect.element(axis).toBeDisabled();
    await expect.element(axis).toHaveDisplayValue("learning rate");
    expect([...root.querySelectorAll("figure")].map((figure) => figure.getAttribute("aria-label"))).toEqual([
      "loss",
    ]);
    expect(root.textContent).toContain("Plot of loss over the learning rate");
    model.append(encode({ ...training(2), id: "later", started: 2_000_000_000 }));
    await frames();
    await expect.element(axis).toBeEnabled();
    await expect.element(axis).toHaveDisplayValue("epoch");
  });

  test("everything can be reached and used by keyboard", async () => {
    const model = new FakeModel();
    const { root } = mount(model, encode(training(4)));
    await frames();
    const reached: string[] = [];
    for (let i = 0; i < 20; i++) {
      await userEvent.keyboard("{Tab}");
      const at = document.activeElement!;
      if (!root.contains(at)) break;
      reached.push(at.getAttribute("aria-label") ?? at.textContent ?? "");
    }
    const controls = ["Batch", "Epoch", "Both", "X axis", "Smoothing", "Log scale", "More"];
    expect(reached.slice(0, 9)).toEqual([...controls, "Enlarge loss", "loss: more"]);
    expect(reached).toContain("Crosshair");
    button("Epoch").element().focus();
    await userEvent.keyboard("{Enter}");
    expect(model.get("granularity")).toBe("epoch");
  });

  test("plain keys are not the notebook's, shortcuts are", async () => {
    mount(new FakeModel(), encode(training(1)));
    const heard: string[] = [];
    const listener = (event: KeyboardEvent) => heard.push(event.key);
    document.addEventListener("keydown", listener);
    button("Epoch").element().focus();
    await userEvent.keyboard("b{Enter}{Control>}b{/Control}");
    document.removeEventListener("keydown", listener);
    expect(heard).toEqual(["Control", "b"]);
  });
});

describe("crosshair", () => {
  test("goes through all panels and shows the values there", async () => {
    const { root } = mount(new FakeModel(), encode(training(4, { status: "completed" })));
    await frames();
    const crosshair = page.getByRole("slider", { name: "Crosshair" });
    crosshair.element().focus();
    await userEvent.keyboard("{Home}");
    expect(root.querySelectorAll(".ew-crosshair:not([hidden])")).toHaveLength(2);
    expect(entries("loss")[0]).toBe("+ train batch, smoothed 0.9 2.000");
    await userEvent.keyboard("{End}");
    await expect.element(page.getByText("epoch 4.00 · step 40 · 0:19")).toBeVisible();
    await userEvent.keyboard("{Escape}");
    expect(root.querySelectorAll(".ew-crosshair:not([hidden])")).toHaveLength(0);
    expect(entries("loss")[0]).toBe("+ train batch, smoothed 0.9 0.07760");
  });
});

describe("life in a notebook", () => {
  test("messages before the first view are kept, and a second view shows all at once", async () => {
    const model = new FakeModel();
    const { show, root } = mount(model, encode(training(3)));
    const second = show();
    await frames();
    expect(ink(second.root)).toBe(ink(root));
    model.append(encode(training(4, { elapsed: 80 })));
    await frames();
    expect(ink(second.root)).toBe(ink(root));
    await expect.element(page.getByText("epoch 4 of 10").first()).toBeVisible();
  });

  test("a snapshot is what a reloaded page starts from; its time stands still", async () => {
    mount(new FakeModel({ _snapshot: encode(training(3)) }));
    await expect.element(page.getByText("1:12 · 1:48 left · 2.00 batch/s")).toBeVisible();
    await new Promise((done) => setTimeout(done, 1200));
    await expect.element(page.getByText("1:12 · 1:48 left · 2.00 batch/s")).toBeVisible();
  });

  test("a view out of the page holds no canvas, and draws again when it is back", async () => {
    const model = new FakeModel();
    const { el, root } = mount(model, encode(training(3)));
    await frames();
    expect(root.querySelectorAll("canvas")).toHaveLength(2);
    el.remove();
    model.append(encode(training(4, { elapsed: 80 })));
    await frames();
    expect(root.querySelectorAll("canvas")).toHaveLength(0);
    host.append(el);
    await frames(3);
    expect(root.querySelectorAll("canvas")).toHaveLength(2);
    await expect.element(page.getByText("epoch 4 of 10")).toBeVisible();
  });

  test("a view that ended takes nothing of the others with it", async () => {
    const model = new FakeModel();
    const { end, show, el } = mount(model, encode(training(3)));
    const second = show();
    end();
    expect(el.childElementCount).toBe(0);
    model.append(encode(training(4, { elapsed: 80 })));
    await frames();
    expect(second.root.textContent).toContain("epoch 4 of 10");
  });

  test("a frame that cannot be read is said once, and nothing breaks", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const model = new FakeModel();
    mount(model, encode(training(3)));
    model.append(new DataView(new ArrayBuffer(3)));
    model.message({ type: "append" }, []);
    model.message({ type: "something new" });
    model.message(null);
    await expect.element(page.getByText(/^\[epochwidget\] A message could not be read/)).toBeVisible();
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]![0]).toMatch(/^\[epochwidget\]/);
    model.append(encode(training(4, { elapsed: 80 })));
    await expect.element(page.getByText("epoch 4 of 10")).toBeVisible();
  });

  test("the theme is the page's, unless it is forced", async () => {
    document.body.dataset.jpThemeLight = "true";
    const model = new FakeModel();
    const { root } = mount(model, encode(training(3)));
    await frames();
    expect(root.dataset.theme).toBe("light");
    const light = ink(root);
    document.body.dataset.jpThemeLight = "false";
    await frames(3);
    expect(root.dataset.theme).toBe("dark");
    expect(ink(root)).not.toBe(light);
    model.assign("theme", "light");
    expect(root.dataset.theme).toBe("light");
    model.assign("theme", "auto");
    delete document.body.dataset.jpThemeLight;
    for (const theme of ["light", "dark"]) {
      document.body.dataset.theme = theme; // marimo's, whatever the browser's is
      await frames(3);
      expect(root.dataset.theme).toBe(theme);
    }
  });

  test("text from the kernel is text", async () => {
    const evil = `<img src=x onerror="window.hit=1"></b>"'] ${"long ".repeat(60)}`;
    const draft = training(2, {
      name: evil,
      marks: { start: 0, items: [{ step: 5, text: evil, epoch: null }] },
      series: [series({ name: evil, label: evil, panel: evil })],
      columns: [{ series: 0, values: [1, 2, 3] }],
    });
    host.style.width = "400px";
    const model = new FakeModel();
    const { root } = mount(model, encode(training(1, { id: "old", started: 1, name: evil }), draft));
    await frames();
    expect(root.querySelector("img")).toBeNull();
    expect("hit" in window).toBe(false);
    expect(root.scrollWidth).toBeLessThanOrEqual(root.clientWidth);
    [...root.querySelectorAll<HTMLElement>("figure li button")]
      .find(({ textContent }) => textContent!.startsWith(`${evil} batch`))!
      .click();
    expect(model.get("hidden")).toEqual([`batch:${evil}`]);
  });

  test.each([400, 980, 1600])("nothing sticks out at %d pixels", async (width) => {
    host.style.width = `${width}px`;
    const { root } = mount(new FakeModel(), encode(training(4)));
    await frames();
    expect(root.scrollWidth).toBeLessThanOrEqual(root.clientWidth);
    expect(root.dataset.layout).toBe(width >= 720 ? "wide" : "narrow");
  });
});

test("appends to a million points do not hang the page", async () => {
  const million = 1_000_000;
  const values = new Float64Array(million).map((_, i) => 1 + Math.sin(i / 1000) + (i % 13) / 13);
  const model = new FakeModel();
  const spans = { start: 0, items: [[0, 0, 2 * million] as const] };
  const base = { batches: 2 * million, epoch: 0, spans, series: [series()] };
  const { root } = mount(model, encode({ ...base, batch: million, columns: [{ series: 0, values }] }));
  await frames(4);
  const times: number[] = [];
  for (let k = 0; k < 10; k++) {
    const start = million + 10 * k;
    const frame = encode({
      ...base,
      series: [],
      elapsed: k,
      batch: start + 10,
      columns: [{ series: 0, start, values: values.subarray(0, 10) }],
    });
    const before = performance.now();
    model.append(frame);
    const taken = performance.now() - before;
    // The view asked for this frame first, so it has drawn when this callback runs.
    const drawn = await new Promise<number>((done) =>
      requestAnimationFrame((start) => {
        root.querySelector("canvas")!.getContext("2d")!.getImageData(0, 0, 1, 1);
        done(performance.now() - start);
      }),
    );
    times.push(taken + drawn);
  }
  times.sort((a, b) => a - b);
  console.info(`append to a million points, median: ${times[5]!.toFixed(1)} ms`);
  expect(root.epochwidget.store.points("r1", "batch", "loss")?.values).toHaveLength(million + 100);
  // Far above what it takes, far below a hang: this is no benchmark.
  expect(times[5]).toBeLessThan(200);
});

describe("an append to a long run", () => {
  const POINTS = 20_000;
  const EPOCH = 2_500;
  const loss = (i: number) => 1 + Math.exp(-i / 9000) + ((i * 7919) % 101) / 500;
  const all = [series({ id: 0 }), series({ id: 1, granularity: "epoch", kind: "epoch" })];

  /** A run of epochs up to a number of batches, told from a former number on. */
  function told(from: number, to: number, value = loss, patch: RunDraft = {}): RunDraft {
    const epochs = Array.from({ length: Math.ceil(to / EPOCH) }, (_, e) => e);
    const means = epochs.filter((e) => (e + 1) * EPOCH <= to && ((e + 1) * EPOCH > from || from === 0));
    return {
      elapsed: to / 100,
      epoch: epochs.length - 1,
      batch: to - (epochs.length - 1) * EPOCH,
      batches: EPOCH,
      spans: { start: 0, items: epochs.map((e) => [e, e * EPOCH, EPOCH] as const) },
      series: from === 0 ? all : [],
      columns: [
        { series: 0, start: from, values: Array.from({ length: to - from }, (_, k) => value(from + k)) },
        {
          series: 1,
          start: means[0] ?? 0,
          values: means.map((e) => value(e * EPOCH)),
          steps: means.map((e) => (e + 1) * EPOCH),
          epochs: means,
        },
      ],
      ...patch,
    };
  }

  const pixels = (root: Root) => {
    const canvas = root.querySelector("canvas")!;
    return canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height).data;
  };

  test("draws what is new, and leaves the picture that a drawing of it all would leave", async () => {
    const model = new FakeModel();
    const { root } = mount(model, encode(told(0, POINTS - 200)));
    await frames(4);
    const fills = vi.spyOn(CanvasRenderingContext2D.prototype, "fillRect");
    const spiky = (i: number) => (i % 71 === 3 ? 40 : loss(i));
    const spoilt = (i: number) => (i % 90 === 5 ? Number.NaN : loss(i));
    const mark = { start: 0, items: [{ step: POINTS + 410, text: "unfroze", epoch: null }] };
    const drawn: number[] = [];
    let at = POINTS - 200;
    for (const [count, value, patch] of [
      [20, loss, {}],
      [20, loss, {}],
      // The epoch ends, with its mean; the next begins.
      [300, loss, {}],
      [300, spiky, {}],
      [10, loss, { marks: mark }],
      [1, loss, {}],
      [40, (i: number) => loss(i) - 2, {}],
      [300, spoilt, {}],
      [20, loss, {}],
      // Beyond the room that the axis had.
      [4_000, loss, {}],
      [20, loss, {}],
      [0, loss, { status: "completed" }],
    ] as const) {
      fills.mockClear();
      model.append(encode(told(at, at + count, value, patch)));
      await frames(2);
      drawn.push(fills.mock.calls.length);
      at += count;
      const partly = pixels(root);
      // To be told of a setting draws all.
      model.assign("pinned", [`${at}`, `${drawn.length}`]);
      const whole = pixels(root);
      const others = whole.reduce((sum, each, k) => sum + Number(each !== partly[k]), 0);
      // Where a marker is cut in two, the browser smoothes its edges a little differently: some fifteen pixels.
      expect(others, `after ${at} batches`).toBeLessThan(60);
    }
    expect(drawn[1]).toBeGreaterThan(0);
    expect(drawn[1]).toBeLessThan(100);
    // Where all is drawn, each column of pixels is filled twice: with the values, and with their average.
    expect(drawn.at(-3)).toBeGreaterThan(1_000);
  });

  test("makes the browser lay out the notebook once, not for each panel", async () => {
    const model = new FakeModel();
    const panels = ["loss", "accuracy", "recall"].map((panel, id) => series({ id, name: panel, panel }));
    const values = (from: number) => panels.map(({ id }) => ({ series: id, start: from, values: [from, 1] }));
    mount(model, encode({ series: panels, batch: 2, columns: values(0) }));
    await frames(4);
    const order: string[] = [];
    vi.spyOn(Element.prototype, "clientWidth", "get").mockImplementation(() => {
      order.push("read");
      return 300;
    });
    vi.spyOn(Node.prototype, "textContent", "set").mockImplementation(() => order.push("write"));
    model.append(encode({ batch: 4, elapsed: 1, columns: values(2) }));
    await frames(2);
    expect(order.filter((each) => each === "read")).toHaveLength(panels.length);
    expect(order.join(" ")).toMatch(/^(write )+(read ?)+(write ?)*$/);
  });
});
