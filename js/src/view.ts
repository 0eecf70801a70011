/**
 * One view of the widget in the page.
 *
 * A notebook renders a widget again without telling the old view, and takes cells out of the page while they
 * are scrolled away. So a view never asks whether it is still wanted: out of the page it sleeps, holding no
 * canvas, timer or listener outside itself; back in the page it wakes up and draws.
 */
import { LOSS } from "./best";
import { type Change, Controls } from "./controls";
import { type Detail, gapsOf } from "./detail";
import { arrange, element, on, setHidden, setText } from "./element";
import { count, duration, rate } from "./format";
import { Header } from "./header";
import type { Item } from "./menu";
import { type Panel, panelsOf, RATE, type Shown } from "./panels";
import { type Desk, PanelFigure, type Scene } from "./plots/panel";
import { csvOf, download } from "./plots/save";
import { clockTime, type Range, roomAhead } from "./plots/scales";
import { colourOf, nameOf, Runs, shownRuns } from "./runs";
import { having, type Settings } from "./settings";
import type { Stopper } from "./stop";
import type { Store } from "./store";
import { EpochTable } from "./table";
import { applyTheme, type Palette, readPalette, watchPageTheme } from "./theme";
import { Timeline } from "./timeline";
import { Tooltip } from "./tooltip";

/** From this width on, the loss stands at the left and everything else beside it. */
const WIDE = 720;
/** From this width on, what stands beside the loss has two columns. */
const VERY_WIDE = 1280;

/** With more panels than this all but the first stand below it, in columns of about this width. */
const MOST_BESIDE = 5;
const COLUMN = 360;
const BELOW = 150;

const SMALLEST_PLOT = 120;
const LARGEST_SMALL_PLOT = 220;
const SPARKLINE = 36;
// What a panel needs beside its plot: its head and the distance to the next.
const PANEL_HEAD = 34;
// Numbers that change more often are not read, and each costs a layout of the notebook. In milliseconds.
const READABLE = 500;
// While it is followed, the newest point stands at this part of the plot.
const NEWEST = 0.95;

const WAITING = "Waiting for a run: training with an EpochCallback or ew.Run shows up here.";

/** The root of a view, as tests and the browser's console see it. */
export type Root = HTMLElement & {
  /** What this widget knows. To be read: `document.querySelector(".epochwidget").epochwidget.store`. */
  epochwidget: { readonly store: Store };
};

/** One view. */
export class View {
  readonly root: Root;
  readonly #store: Store;
  readonly #detail: Detail;
  readonly #change: Change;
  readonly #header: Header;
  readonly #controls: Controls;
  readonly #expand = element(
    "button",
    "ew-icon ew-expand",
    { type: "button", "aria-label": "Show everything", title: "Show everything" },
    "⤢",
  );
  readonly #empty = element("p", "ew-empty", {}, WAITING);
  readonly #panels = element("div", "ew-panels");
  readonly #side = element("div", "ew-side");
  readonly #table = new EpochTable();
  readonly #tooltip = new Tooltip();
  readonly #runs: Runs;
  readonly #figures = new Map<string, PanelFigure>();
  readonly #size: ResizeObserver;
  readonly #desk: Desk;
  #settings: Settings;
  #palette: Palette | null = null;
  #shown: readonly Shown[] = [];
  /** The titles of all panels, the closed ones included. */
  #titles: readonly string[] = [];
  /** What is seen of the x axis while a pointer is about to choose it. */
  #choosing: Range | null = null;
  #whole: Range = [0, 1];
  /** The place of the crosshair, and the panel that has its tooltip. */
  #place: number | null = null;
  #pointed: PanelFigure | null = null;
  /** Ends what this view keeps going while it is in the page; null while it sleeps. */
  #awake: AbortController | null = null;
  #frame = 0;
  /** When the numbers in words were last shown, on the page's monotonic clock, and what shows the newest of them. */
  #worded = Number.NEGATIVE_INFINITY;
  #wording = 0;
  /** What of the header's run is told at once. */
  #said = "";
  /** The card's width, as it was when it changed: to ask for it in the midst of changes costs a layout. */
  #width = 0;
  #gone = false;

  constructor(store: Store, detail: Detail, stopper: Stopper, settings: Settings, change: Change) {
    this.#store = store;
    this.#header = new Header((step, metric) => this.#goTo(step, metric), stopper);
    this.#detail = detail;
    this.#settings = settings;
    this.#change = (patch) => change(this.#kept(patch));
    this.#desk = {
      change: this.#change,
      point: (place, panel) => this.#point(place, panel),
      zoom: (range, last) => this.#zoom(range, last),
      hold: (range) => {
        this.#choosing = range;
        this.schedule();
      },
    };
    this.#controls = new Controls(this.#change, () => this.#items());
    this.#runs = new Runs(this.#change);
    on(this.#expand, "click", () => this.#change({ compact: false }));
    this.#header.root.firstElementChild?.append(this.#expand);
    const card = element(
      "div",
      "epochwidget",
      {},
      this.#header.root,
      this.#controls.root,
      this.#empty,
      this.#panels,
      this.#table.root,
      this.#runs.root,
      this.#tooltip.root,
    );
    this.root = Object.assign(card, { epochwidget: { store } });
    on(this.root, "keydown", keepFromNotebook);
    applyTheme(this.root, settings.theme);
    this.#render();
    // Tells of a new width, and also of being put into the page and taken out; the card itself would tell of each
    // height that it gets from being drawn as well.
    const ruler = element("div", "");
    this.root.prepend(ruler);
    this.#size = new ResizeObserver(() => this.#resized());
    this.#size.observe(ruler);
  }

  /** Takes over settings and shows them at once. */
  apply(settings: Settings): void {
    this.#settings = settings;
    this.#choosing = null;
    applyTheme(this.root, settings.theme);
    this.#palette = null;
    this.#render();
  }

  /** Shows what is new with the next frame that the browser draws; a hidden page draws none. */
  schedule(): void {
    if (!this.root.isConnected) this.#sleep();
    if (this.#frame !== 0 || this.#awake === null) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render(this.#isWordy());
    });
  }

  /** Ends the view for good. */
  destroy(): void {
    this.#gone = true;
    this.#size.disconnect();
    this.#sleep();
    this.root.remove();
  }

  /** Whether the numbers are to be shown in words with what is drawn now; else they come soon. */
  #isWordy(): boolean {
    if (performance.now() - this.#worded >= READABLE) return true;
    clearTimeout(this.#wording);
    this.#wording = window.setTimeout(() => this.schedule(), READABLE);
    return false;
  }

  #resized(): void {
    if (this.#gone) return;
    this.#width = this.root.clientWidth;
    if (!this.root.isConnected) this.#sleep();
    else if (this.#width > 0) {
      this.#wake();
      this.#render();
    }
  }

  #wake(): void {
    if (this.#awake !== null) return;
    this.#awake = new AbortController();
    const { signal } = this.#awake;
    const recolour = () => {
      applyTheme(this.root, this.#settings.theme);
      this.#palette = null;
      this.schedule();
    };
    recolour();
    watchPageTheme(recolour, signal);
    const timer = setInterval(() => {
      if (this.#shown[0]?.run.facts.status === "running" && !document.hidden) this.#tick();
    }, 1000);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  #sleep(): void {
    this.#awake?.abort();
    this.#awake = null;
    if (this.#frame !== 0) cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    clearTimeout(this.#wording);
    this.#tooltip.hide();
    for (const figure of this.#figures.values()) figure.release();
  }

  #tick(): void {
    if (!this.root.isConnected) this.#sleep();
    else if (performance.now() - this.#worded > 1000) this.#showHeader();
  }

  #showHeader(): void {
    const first = this.#shown[0];
    const title = this.#settings.title || (first?.name ?? "");
    this.#header.update(first?.run ?? null, title, performance.now());
  }

  /** @param words - whether with the numbers in words, which lag a little behind while a run goes on */
  #render(words = true): void {
    const focused = document.activeElement;
    const had = focused instanceof HTMLElement && this.root.contains(focused);
    if (words) {
      clearTimeout(this.#wording);
      this.#worded = performance.now();
    }
    this.#renderAll(words);
    if (had) this.#keepFocus(focused);
  }

  /** What had the focus may have been moved, hidden or made anew: a person at the keyboard stays in the card. */
  #keepFocus(focused: HTMLElement): void {
    if (!focused.isConnected || !focused.checkVisibility()) {
      const buttons = (figure: Element | null | undefined) => [
        ...(figure?.querySelectorAll(".ew-tools button") ?? []),
      ];
      const old = focused.closest("figure");
      const twin = [...this.root.querySelectorAll("figure")].find(
        (figure) => figure !== old && figure.getAttribute("aria-label") === old?.getAttribute("aria-label"),
      );
      const same = buttons(twin)[buttons(old).indexOf(focused)];
      const next =
        same ??
        [...this.root.querySelectorAll(".ew-expand, .ew-plot[tabindex]")].find((each) =>
          each.checkVisibility(),
        );
      if (next instanceof HTMLElement) next.focus({ preventScroll: true });
    } else if (document.activeElement !== focused) focused.focus({ preventScroll: true });
  }

  #renderAll(words: boolean): void {
    const awake = this.#awake !== null && this.root.isConnected;
    const settings = this.#settings;
    const runs = shownRuns(this.#store, settings);
    const alone = runs.length < 2;
    const shown: Shown[] = runs.map((run) => ({
      run,
      name: nameOf(run, settings),
      timeline: new Timeline(run, settings.x_axis, settings.means_at),
      ...(alone ? { colour: null, round: 0 } : colourOf(this.#store, run)),
    }));
    // A run of epochs alone has no steps: it stands beside others only where these are drawn over epochs, too.
    const first = shown[0];
    this.#shown = shown.filter(({ timeline }) => timeline.axis === first?.timeline.axis);
    const facts = first?.run.facts;
    const said = `${facts?.id} ${facts?.status} ${facts?.stopping}`;
    if (said !== this.#said) words = true;
    this.#said = said;
    if (words) this.#showHeader();
    this.#runs.update(this.#store, runs, settings);
    setHidden(this.#controls.root, first === undefined || settings.compact);
    setHidden(this.#empty, first !== undefined);
    setHidden(this.#panels, first === undefined);
    this.root.classList.toggle("ew-compact", settings.compact);
    if (first === undefined) {
      setText(this.#empty, WAITING);
      return;
    }

    const { axis } = first.timeline;
    const live = this.#shown.some(({ run }) => run.facts.status === "running");
    this.#whole = wholeOf(this.#shown, live);
    this.#controls.update(settings, axis, live);
    this.#palette ??= readPalette(this.root);
    const panels = panelsOf(this.#shown, settings);
    this.#titles = panels.map(({ title }) => title);
    const open = panels.filter(({ title }) => !settings.closed.includes(title));
    const large = open.filter(({ title }) => title === settings.enlarged);
    const seen = large.length > 0 ? large : open;
    const scene: Scene = {
      shown: [first, ...this.#shown.slice(1)],
      settings,
      palette: this.#palette,
      x: this.#choosing ?? this.#window(),
      marks: first.run.allMarks().sort((a, b) => first.timeline.markPlace(a) - first.timeline.markPlace(b)),
      titles: open.map(({ title }) => title),
      detail: this.#detail,
      words,
    };
    const isOver = first.run.facts.status !== "running";
    const nothing = isOver ? "No values were logged." : "Waiting for the first batch.";
    setText(
      this.#empty,
      seen.length > 0 ? "" : panels.length > 0 ? "All panels are closed: ⋯ opens them again." : nothing,
    );
    setHidden(this.#empty, seen.length > 0);
    // A run that has just begun keeps the room of the one before it until its first batch.
    if (seen.length > 0) this.#empty.style.minHeight = "";
    else if (!isOver && this.#empty.style.minHeight === "")
      this.#empty.style.minHeight = `${this.#panels.offsetHeight}px`;
    if (awake) this.#detail.want(seen.flatMap((panel) => gapsOf(panel, scene.x)));
    this.#layOut(seen, scene, awake);
    setHidden(this.#table.root, !settings.table || settings.compact);
    if (settings.table) this.#table.update(first.run, seen);
    this.#showTooltip();
  }

  /** What is seen of the x axis. */
  #window(): Range {
    const { zoom, follow } = this.#settings;
    if (zoom.length !== 2) return this.#whole;
    const [from, to] = zoom as [number, number];
    if (!follow) return [from, to];
    const end = Math.max(...this.#shown.map(({ timeline }) => timeline.end));
    return [end - (to - from) * NEWEST, end + (to - from) * (1 - NEWEST)];
  }

  #layOut(panels: readonly Panel[], scene: Scene, awake: boolean): void {
    const { compact, enlarged, height } = scene.settings;
    const width = this.#width;
    const columns = width >= VERY_WIDE && panels.length > 2 ? 2 : 1;
    const stacked = width >= WIDE && panels.length > MOST_BESIDE && !compact;
    this.root.dataset.layout = stacked ? "stacked" : width >= WIDE && !compact ? "wide" : "narrow";
    this.#side.style.setProperty("--ew-columns", String(stacked ? Math.floor(width / COLUMN) : columns));

    const chosen = scene.settings.order.length > 0 ? panels[0] : undefined;
    const lead = compact ? undefined : (chosen ?? panels.find((panel) => panel.title === LOSS) ?? panels[0]);
    const others = panels.filter((panel) => panel !== lead);
    const figures = panels.map((panel) => this.#figure(panel.title, panel === lead));
    const leadFigure = lead === undefined ? undefined : figures[panels.indexOf(lead)];
    arrange(
      this.#side,
      figures.filter((figure) => figure !== leadFigure).map((figure) => figure.root),
    );
    setHidden(this.#side, others.length === 0);
    arrange(this.#panels, leadFigure === undefined ? [this.#side] : [leadFigure.root, this.#side]);

    // The small plots share the height of the large one, as far as they stay readable.
    const rows = Math.ceil(others.length / columns);
    const share = (height + PANEL_HEAD) / Math.max(1, rows) - PANEL_HEAD;
    const small = compact
      ? SPARKLINE
      : stacked
        ? BELOW
        : Math.round(Math.min(LARGEST_SMALL_PLOT, Math.max(SMALLEST_PLOT, share)));
    const large = lead?.title === enlarged ? Math.round(height * 1.5) : height;
    panels.forEach((panel, k) => {
      figures[k]!.update(panel, scene, panel === lead ? large : small);
    });
    // All that changes the layout comes before all that reads it: the notebook is laid out once, and not for each panel.
    const widths = figures.map((figure) => figure.width);
    figures.forEach((figure, k) => {
      figure.draw(widths[k]!, awake);
    });

    for (const [title, figure] of this.#figures) {
      if (figures.includes(figure)) continue;
      if (this.#pointed === figure) this.#point(null, figure);
      figure.release();
      this.#figures.delete(title);
    }
  }

  #figure(title: string, lead: boolean): PanelFigure {
    // A panel may become the lead when a later frame brings another order; it is then made anew.
    const key = `${lead ? "lead" : "side"}:${title}`;
    let figure = this.#figures.get(key);
    if (figure === undefined) {
      figure = new PanelFigure(lead, this.#desk);
      this.#figures.set(key, figure);
    }
    return figure;
  }

  /** Puts one crosshair through all panels. */
  #point(place: number | null, panel: PanelFigure): void {
    // The pointer has come to another panel before it was told to leave this one.
    if (place === null && this.#pointed !== null && panel !== this.#pointed) return;
    this.#place = place;
    this.#pointed = place === null ? null : panel;
    for (const figure of this.#figures.values()) figure.point(place);
    this.#showTooltip();
  }

  #showTooltip(): void {
    const panel = this.#pointed;
    const pin = panel?.pin() ?? null;
    if (panel === null || pin === null || this.#place === null) {
      this.#tooltip.hide();
      return;
    }
    this.#tooltip.show(this.#titleAt(this.#place), panel.marks(), panel.rows(), this.root, pin.x, pin.y);
  }

  #titleAt(place: number): string {
    // Of several runs the first that was at this place: the others' epochs and steps may be of another length.
    const there = this.#shown.find(({ timeline }) => timeline.reaches(place));
    if (there === undefined) return this.#shown[0]!.timeline.axis;
    const { timeline, run, name } = there;
    const step = timeline.step(place);
    const parts = timeline.axis === RATE ? [`${RATE} ${rate(10 ** place)}`] : [];
    if (there !== this.#shown[0]) parts.push(name);
    parts.push(`epoch ${timeline.epoch(place).toFixed(2)}`, `step ${count(step)}`);
    const { clock } = run;
    const i = clock?.nearest(step) ?? -1;
    if (clock !== null && i >= 0) {
      parts.push(duration(clock.value(i)));
      if (timeline.axis === "wall") parts.push(clockTime(run.facts.started + clock.value(i), true));
    }
    return parts.join(" · ");
  }

  #zoom(range: Range | null, last: boolean): void {
    const window = range === null ? null : within(range, this.#whole);
    if (last) {
      this.#choosing = null;
      // Whoever chooses a part wants to see that one.
      this.#change({ zoom: window ?? [], follow: false });
      return;
    }
    this.#choosing = window ?? this.#whole;
    this.schedule();
  }

  /** Shows the surroundings of a step, on the panel of a metric. */
  #goTo(step: number, metric: string): void {
    const { timeline } = this.#shown[0]!;
    const at = timeline.position(step);
    const half = (this.#whole[1] - this.#whole[0]) / 20;
    this.#zoom([at - half, at + half], true);
    const figure = [...this.#figures.values()].find((each) => each.shows(metric));
    figure?.root.scrollIntoView({ block: "nearest" });
  }

  /** A change of axis keeps in sight what is in sight. */
  #kept(patch: Partial<Settings>): Partial<Settings> {
    const { zoom, means_at } = this.#settings;
    const first = this.#shown[0];
    if (patch.x_axis === undefined || zoom.length !== 2 || first === undefined) return patch;
    const next = new Timeline(first.run, patch.x_axis, means_at);
    const [from, to] = zoom.map((place) => next.position(first.timeline.step(place))) as [number, number];
    return { ...patch, zoom: from < to ? [from, to] : [] };
  }

  /** What is rarely asked for. */
  #items(): Item[] {
    const settings = this.#settings;
    const change = this.#change;
    const panels = panelsOf(this.#shown, settings);
    const closed = settings.closed.filter((title) => this.#titles.includes(title));
    return [
      {
        text: "Means at the middle of their epoch",
        checked: settings.means_at === "middle",
        act: () => change({ means_at: settings.means_at === "middle" ? "end" : "middle" }),
      },
      {
        text: "Shade the gap to validation",
        checked: settings.gap,
        act: () => change({ gap: !settings.gap }),
      },
      {
        text: "Table of epochs",
        checked: settings.table,
        act: () => change({ table: !settings.table }),
      },
      { text: "Compact", checked: settings.compact, act: () => change({ compact: true }) },
      ...closed.map((title) => ({
        text: `Open ${title.slice(0, 40)}`,
        act: () => change({ closed: having(settings.closed, title, false) }),
      })),
      {
        text: "Save all values as CSV",
        act: () =>
          download(
            csvOf(panels.flatMap(({ lines }) => lines)),
            "text/csv",
            `${this.#shown[0]?.name ?? "run"}.csv`,
          ),
      },
    ];
  }
}

/** The ends of the x axis that shows all of some runs. */
function wholeOf(shown: readonly Shown[], live: boolean): Range {
  const start = Math.min(...shown.map(({ timeline }) => timeline.start));
  const end = Math.max(...shown.map(({ timeline }) => timeline.end));
  return [start, live || end <= start ? roomAhead(start, end) : end];
}

/** A part of an axis, moved and shortened until it lies on it; null if that is all of it. */
function within([from, to]: Range, [start, end]: Range): Range | null {
  const width = Math.max(to - from, (end - start) * 1e-6);
  if (width >= end - start) return null;
  const left = Math.min(end - width, Math.max(start, from));
  return [left, left + width];
}

/**
 * Keeps plain keys from the notebook, which would take Enter on a button for "edit this cell" and arrows for
 * "next cell". Shortcuts with a modifier, and Shift+Enter, still work from here.
 */
function keepFromNotebook(event: KeyboardEvent): void {
  const { ctrlKey, metaKey, altKey, shiftKey, key } = event;
  if (!ctrlKey && !metaKey && !altKey && !(shiftKey && key === "Enter")) event.stopPropagation();
}
