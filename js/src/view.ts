/**
 * One view of the widget in the page.
 *
 * A notebook renders a widget again without telling the old view, and takes cells out of the page while they
 * are scrolled away. So a view never asks whether it is still wanted: out of the page it sleeps, holding no
 * canvas, timer or listener outside itself; back in the page it wakes up and draws.
 */
import { type Change, Controls } from "./controls";
import { arrange, element } from "./element";
import { Footer } from "./footer";
import { count, duration, rate } from "./format";
import { Header } from "./header";
import { LOSS, panelsOf, RATE } from "./panels";
import { PanelFigure, type Scene } from "./plots/panel";
import type { Settings } from "./settings";
import type { Run, Store } from "./store";
import { applyTheme, type Palette, readPalette, watchPageTheme } from "./theme";
import { Timeline } from "./timeline";

/** From this width on, the loss stands at the left and everything else beside it. */
const WIDE = 720;
/** From this width on, what stands beside the loss has two columns. */
const VERY_WIDE = 1280;

const SMALLEST_PLOT = 120;
const LARGEST_SMALL_PLOT = 220;
// What a panel needs beside its plot: its head and the distance to the next.
const PANEL_HEAD = 34;

const WAITING = "Waiting for a run: training with an EpochCallback or ew.Run shows up here.";

/** The root of a view, as tests and the browser's console see it. */
export type Root = HTMLElement & {
  /** What this widget knows. To be read: `document.querySelector(".epochwidget").epochwidget.store`. */
  epochwidget: { readonly store: Store };
};

let views = 0;

/** One view. */
export class View {
  readonly root: Root;
  /** One crosshair goes through all panels of a view. */
  readonly #sync = `epochwidget ${++views}`;
  readonly #store: Store;
  readonly #change: Change;
  readonly #header = new Header();
  readonly #controls: Controls;
  readonly #empty = element("p", "ew-empty", {}, WAITING);
  readonly #panels = element("div", "ew-panels");
  readonly #side = element("div", "ew-side");
  readonly #footer: Footer;
  readonly #figures = new Map<string, PanelFigure>();
  readonly #size: ResizeObserver;
  #settings: Settings;
  #palette: Palette | null = null;
  #shown: Run | null = null;
  #timeline: Timeline | null = null;
  /** Ends what this view keeps going while it is in the page; null while it sleeps. */
  #awake: AbortController | null = null;
  #frame = 0;
  #gone = false;

  constructor(store: Store, settings: Settings, change: Change) {
    this.#store = store;
    this.#settings = settings;
    this.#change = change;
    this.#controls = new Controls(change);
    this.#footer = new Footer(change);
    const card = element(
      "div",
      "epochwidget",
      {},
      this.#header.root,
      this.#controls.root,
      this.#empty,
      this.#panels,
      this.#footer.root,
    );
    this.root = Object.assign(card, { epochwidget: { store } });
    this.root.addEventListener("keydown", keepFromNotebook);
    applyTheme(this.root, settings.theme);
    this.#render();
    // Tells of a new width, and also of being put into the page and taken out.
    this.#size = new ResizeObserver(() => this.#resized());
    this.#size.observe(this.root);
  }

  /** Takes over settings and shows them at once. */
  apply(settings: Settings): void {
    this.#settings = settings;
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
      this.#render();
    });
  }

  /** Ends the view for good. */
  destroy(): void {
    this.#gone = true;
    this.#size.disconnect();
    this.#sleep();
    this.root.remove();
  }

  #resized(): void {
    if (this.#gone) return;
    if (!this.root.isConnected) this.#sleep();
    else if (this.root.clientWidth > 0) {
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
      if (this.#shown?.facts.status === "running" && !document.hidden) this.#tick();
    }, 1000);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  #sleep(): void {
    this.#awake?.abort();
    this.#awake = null;
    if (this.#frame !== 0) cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    for (const figure of this.#figures.values()) figure.release();
  }

  #tick(): void {
    if (!this.root.isConnected) this.#sleep();
    else this.#header.update(this.#shown, this.#settings.title, performance.now());
  }

  #render(): void {
    const awake = this.#awake !== null && this.root.isConnected;
    const settings = this.#settings;
    const run = this.#store.choose(settings.run);
    this.#shown = run;
    this.#header.update(run, settings.title, performance.now());
    this.#footer.update(this.#store, run);
    this.#controls.root.hidden = run === null;
    this.#empty.hidden = run !== null;
    this.#panels.hidden = run === null;
    if (run === null) return;

    this.#timeline = new Timeline(run, settings.x_axis);
    this.#controls.update(settings, this.#timeline.axis);
    this.#palette ??= readPalette(this.root);
    const scene: Scene = { run, timeline: this.#timeline, settings, palette: this.#palette };
    this.#layOut(scene, awake);
  }

  #layOut(scene: Scene, awake: boolean): void {
    const panels = panelsOf(scene.run, scene.settings);
    const width = this.root.clientWidth;
    const columns = width >= VERY_WIDE && panels.length > 2 ? 2 : 1;
    this.root.dataset.layout = width >= WIDE ? "wide" : "narrow";
    this.#side.style.setProperty("--ew-columns", String(columns));

    const lead = panels.find((panel) => panel.title === LOSS) ?? panels[0];
    const others = panels.filter((panel) => panel !== lead);
    const figures = panels.map((panel) => this.#figure(panel.title, panel === lead));
    const leadFigure = figures[panels.indexOf(lead!)];
    arrange(
      this.#side,
      figures.filter((figure) => figure !== leadFigure).map((figure) => figure.root),
    );
    this.#side.hidden = others.length === 0;
    arrange(this.#panels, leadFigure === undefined ? [] : [leadFigure.root, this.#side]);

    // The small plots share the height of the large one, as far as they stay readable.
    const rows = Math.ceil(others.length / columns);
    const share = (scene.settings.height + PANEL_HEAD) / Math.max(1, rows) - PANEL_HEAD;
    const small = Math.round(Math.min(LARGEST_SMALL_PLOT, Math.max(SMALLEST_PLOT, share)));
    panels.forEach((panel, k) => {
      figures[k]!.update(panel, scene, panel === lead ? scene.settings.height : small, awake);
    });

    for (const [title, figure] of this.#figures) {
      if (figures.includes(figure)) continue;
      figure.release();
      this.#figures.delete(title);
    }
  }

  #figure(title: string, lead: boolean): PanelFigure {
    // A panel may become the lead when a later frame brings another order; it is then made anew.
    const key = `${lead ? "lead" : "side"}:${title}`;
    let figure = this.#figures.get(key);
    if (figure === undefined) {
      figure = new PanelFigure(lead, this.#change, this.#sync, (place) => this.#readOut(place));
      this.#figures.set(key, figure);
    }
    return figure;
  }

  #readOut(place: number | null): void {
    const timeline = this.#timeline;
    if (place === null || timeline === null || this.#shown === null) {
      this.#controls.read("");
      return;
    }
    const step = timeline.step(place);
    const parts = timeline.axis === RATE ? [`${RATE} ${rate(10 ** place)}`] : [];
    parts.push(`epoch ${timeline.epoch(place).toFixed(2)}`, `step ${count(step)}`);
    const { clock } = this.#shown;
    const i = clock?.nearest(step, (k) => clock.step(k)) ?? -1;
    if (clock !== null && i >= 0) parts.push(duration(clock.value(i)));
    this.#controls.read(parts.join(" · "));
  }
}

/**
 * Keeps plain keys from the notebook, which would take Enter on a button for "edit this cell" and arrows for
 * "next cell". Shortcuts with a modifier, and Shift+Enter, still work from here.
 */
function keepFromNotebook(event: KeyboardEvent): void {
  const { ctrlKey, metaKey, altKey, shiftKey, key } = event;
  if (!ctrlKey && !metaKey && !altKey && !(shiftKey && key === "Enter")) event.stopPropagation();
}
