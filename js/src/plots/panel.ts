/** One panel: its title, its legend, its plot, and what the plot cannot show in words. */
import type { Change } from "../controls";
import { element, setAttribute, setText } from "../element";
import { count, plural, rate, value } from "../format";
import { Legend } from "../legend";
import { LOSS, type Panel, RATE } from "../panels";
import { type Settings, withShown } from "../settings";
import { known, type Run } from "../store";
import type { Palette } from "../theme";
import type { Timeline } from "../timeline";
import { type Picture, Plot } from "./plot";
import { padded, roomAhead } from "./scales";

/** What all panels of one drawing share. */
export interface Scene {
  readonly run: Run;
  readonly timeline: Timeline;
  readonly settings: Settings;
  readonly palette: Palette;
}

/** The crosshair as a slider. */
const CROSSHAIR = {
  tabindex: "0",
  role: "slider",
  "aria-label": "Crosshair",
  "aria-valuemin": "0",
  "aria-valuemax": "100",
  "aria-valuenow": "100",
  "aria-valuetext": "off",
};

/** The figure of one panel. */
export class PanelFigure {
  readonly root: HTMLElement;
  readonly #title = element("span", "ew-panel-title");
  readonly #legend: Legend;
  readonly #host: HTMLElement;
  readonly #note = element("p", "ew-note");
  readonly #summary = element("p", "ew-unseen");
  readonly #lead: boolean;
  readonly #sync: string;
  readonly #onCursor: (place: number | null) => void;
  #panel: Panel | null = null;
  #scene: Scene | null = null;
  #plot: Plot | null = null;
  #cursor: number | null = null;

  /**
   * @param lead - whether this is the large panel, the one that labels marks and moves the crosshair by keyboard
   * @param sync - panels with the same key share their crosshair
   * @param onCursor - told by the large panel the place under the crosshair, or null
   */
  constructor(lead: boolean, change: Change, sync: string, onCursor: (place: number | null) => void) {
    this.#lead = lead;
    this.#sync = sync;
    this.#onCursor = onCursor;
    this.#legend = new Legend((line) => {
      const hidden = this.#scene?.settings.hidden ?? [];
      change({ hidden: withShown(hidden, line.key, line.shownByDefault, !line.shown) });
    });
    this.#host = element("div", "ew-plot", lead ? CROSSHAIR : {});
    if (lead) this.#listenToKeys();
    this.root = element(
      "figure",
      lead ? "ew-panel ew-lead" : "ew-panel",
      {},
      element("div", "ew-panel-head", {}, this.#title, this.#legend.root),
      this.#host,
      this.#note,
      this.#summary,
    );
  }

  /** Where the plot is to be drawn. */
  get host(): HTMLElement {
    return this.#host;
  }

  /**
   * Shows a panel.
   *
   * @param draw - whether to draw the plot as well; false while the widget is out of sight
   */
  update(panel: Panel, scene: Scene, height: number, draw: boolean): void {
    this.#panel = panel;
    this.#scene = scene;
    setText(this.#title, panel.title);
    setAttribute(this.#title, "title", panel.title);
    setAttribute(this.root, "aria-label", panel.title);
    // The room is taken before there is a plot, so nothing jumps when it comes.
    this.#host.style.height = `${height}px`;
    setText(this.#note, noteOf(panel));
    this.#note.hidden = this.#note.textContent === "";
    setText(this.#summary, summaryOf(panel, scene));
    this.#updateLegend();
    if (draw) this.#draw(panel, scene, height);
    else this.release();
  }

  /** Gives the plot back, and with it all that it keeps alive in the page. */
  release(): void {
    this.#plot?.destroy();
    this.#plot = null;
    this.#cursor = null;
  }

  #draw(panel: Panel, scene: Scene, height: number): void {
    const width = this.#host.clientWidth;
    if (width < 40) return;
    const picture = pictureOf(panel, scene, this.#lead, width, height);
    if (this.#plot?.draw(picture)) return;
    const place = this.#cursor;
    this.release();
    this.#plot = new Plot(this.#host, picture, this.#sync, (at) => this.#point(at));
    if (place !== null) this.#plot.point(place);
  }

  /** Shows the values at the crosshair. */
  #point(place: number | null): void {
    if (place === this.#cursor) return;
    this.#cursor = place;
    this.#updateLegend();
    if (!this.#lead) return;
    this.#describeCrosshair();
    this.#onCursor(place);
  }

  #updateLegend(): void {
    const panel = this.#panel;
    const scene = this.#scene;
    if (panel === null || scene === null) return;
    const text = panel.title === RATE ? rate : value;
    this.#legend.update(panel.lines, panel.expected, ({ series }) => {
      if (series.count === 0) return "";
      if (this.#cursor === null) return text(series.last);
      return text(series.value(series.nearest(this.#cursor, scene.timeline.placement(series))));
    });
  }

  /** Arrows move the crosshair, Escape takes it away. */
  #listenToKeys(): void {
    this.#host.addEventListener("keydown", (event) => {
      const { timeline } = this.#scene ?? {};
      if (timeline === undefined || this.#plot === null || event.altKey || event.ctrlKey || event.metaKey)
        return;
      const { start, end } = timeline;
      const small = (end - start) / (event.shiftKey ? 20 : 200);
      const from = this.#cursor ?? end;
      const to = {
        ArrowLeft: from - small,
        ArrowDown: from - small,
        ArrowRight: from + small,
        ArrowUp: from + small,
        PageDown: from - 20 * small,
        PageUp: from + 20 * small,
        Home: start,
        End: end,
        Escape: null,
      }[event.key];
      if (to === undefined) return;
      // The page would scroll.
      event.preventDefault();
      this.#plot.point(to === null ? null : Math.min(end, Math.max(start, to)));
    });
    this.#host.addEventListener("blur", () => {
      if (this.#cursor !== null) this.#plot?.point(null);
    });
  }

  #describeCrosshair(): void {
    const { timeline } = this.#scene ?? {};
    if (timeline === undefined) return;
    const at = this.#cursor;
    const part = at === null ? 1 : (at - timeline.start) / (timeline.end - timeline.start || 1);
    this.#host.setAttribute("aria-valuenow", String(Math.round(Math.min(1, part) * 100)));
    const values = [...this.#legend.root.querySelectorAll("button[aria-pressed=true]")].map(
      (b) => b.textContent,
    );
    this.#host.setAttribute(
      "aria-valuetext",
      at === null ? "off" : [`step ${count(timeline.step(at))}`, ...values].join(", "),
    );
  }
}

function pictureOf(panel: Panel, scene: Scene, lead: boolean, width: number, height: number): Picture {
  const { run, timeline, palette } = scene;
  const { start, end } = timeline;
  const running = run.facts.status === "running";
  const lines = panel.lines.filter((line) => line.shown);
  const extents = lines.map((line) => line.series.extent);
  return {
    width,
    height,
    x: [start, running || end <= start ? roomAhead(start, end) : end],
    y: padded(
      Math.min(...extents.map((each) => (panel.log ? each.lowPositive : each.low))),
      Math.max(...extents.map((each) => each.high)),
      panel.log,
    ),
    log: panel.log,
    lines,
    timeline,
    marks: known(run.marks).sort((a, b) => timeline.markPlace(a) - timeline.markPlace(b)),
    labelMarks: lead,
    best: panel.title === LOSS ? run.validationLoss : null,
    palette,
  };
}

/** What the plot cannot show, in words. */
function noteOf(panel: Panel): string {
  const notes: string[] = [];
  const several = panel.lines.length > 1;
  for (const { series, label, kind } of panel.lines) {
    const who = several ? `${label} ${kind}: ` : "";
    const { extent } = series;
    const found = (["nan", "infinite"] as const)
      .filter((which) => extent[which] > 0)
      .map((which) => {
        const first = count(series.step(series.firstNonFinite(which)));
        return `${count(extent[which])} ${which === "nan" ? "NaN" : which}, first at step ${first}`;
      });
    if (!series.complete) found.push(`${count(series.count)} of ${count(series.length)} points are here`);
    if (found.length > 0) notes.push(who + found.join("; "));
  }
  if (panel.nonPositive > 0) {
    notes.push(`the log scale cannot show ${plural(panel.nonPositive, "value")} ≤ 0`);
  }
  return notes.join(" · ");
}

function plainly({ axis }: Timeline): string {
  return axis === "learning rate" ? "the learning rate, log scale" : `${axis}s`;
}

/** The plot in words, for those who do not see it. */
function summaryOf(panel: Panel, { run, timeline }: Scene): string {
  const lines = panel.lines
    .filter((line) => line.shown && line.series.count > 0)
    .map(({ series, label, kind }) => {
      const { low, high } = series.extent;
      const text = panel.title === RATE ? rate : value;
      const range = low <= high ? `from ${text(low)} to ${text(high)}, last ` : "last ";
      return `${label}, ${kind}: ${plural(series.count, "point")}, ${range}${text(series.last)}.`;
    });
  if (lines.length === 0) return "No values yet.";
  const marks = known(run.marks);
  return [
    `Plot of ${panel.title} over ${plainly(timeline)}${panel.log ? ", log scale" : ""}.`,
    ...lines,
    ...marks
      .slice(0, 20)
      .map(
        (mark) =>
          `Mark at ${mark.epoch === null ? "step" : "epoch"} ${count(mark.epoch ?? mark.step)}: ${mark.text}.`,
      ),
  ].join(" ");
}
