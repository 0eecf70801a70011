/** One panel: its title, its legend, its plot, and what the plot cannot show in words. */
import type { Change } from "../controls";
import { type Detail, gapsOf } from "../detail";
import { element, on, setAttribute, setHidden, setText } from "../element";
import { count, plural, rate, value } from "../format";
import { Legend } from "../legend";
import { type Item, Menu } from "../menu";
import { type Line, type Panel, RATE, type Shown } from "../panels";
import { having, type Settings, withShown } from "../settings";
import type { Palette } from "../theme";
import type { Row } from "../tooltip";
import type { Mark } from "../wire";
import { CHECKPOINT } from "./annotations";
import { compose, type Picture } from "./drawing";
import { Plot } from "./plot";
import { Sampler } from "./sample";
import { csvOf, download, pngOf, svgOf } from "./save";
import type { Range } from "./scales";

/** What all panels of one drawing share. */
export interface Scene {
  /** The runs that are drawn; the first is the one that the header tells of. */
  readonly shown: readonly [Shown, ...Shown[]];
  readonly settings: Settings;
  readonly palette: Palette;
  /** The ends of the x axis. */
  readonly x: Range;
  readonly marks: readonly Mark[];
  /** The titles of all open panels in their order. */
  readonly titles: readonly string[];
  readonly detail: Detail;
  /** Whether the legends are to have the newest values. */
  readonly words: boolean;
}

/** What a panel tells its view. */
export interface Desk {
  readonly change: Change;
  /** The place under the crosshair, null for none, and the panel on which it was chosen. */
  point(place: number | null, panel: PanelFigure): void;
  zoom(range: Range | null, last: boolean): void;
  hold(range: Range | null): void;
}

// Within so many pixels of the crosshair a mark is named.
const NEAR = 6;

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
  readonly #enlarge = element("button", "ew-icon", { type: "button" }, "⤢");
  readonly #menu: Menu;
  readonly #host: HTMLElement;
  readonly #noteText = element("span", "");
  readonly #showAll = element("button", "ew-link", { type: "button" }, "show them");
  readonly #note = element("p", "ew-note", {}, this.#noteText, " ", this.#showAll);
  readonly #summary = element("p", "ew-unseen");
  readonly #lead: boolean;
  readonly #desk: Desk;
  #panel: Panel | null = null;
  #scene: Scene | null = null;
  #height = 0;
  #picture: Picture | null = null;
  #sampler = new Sampler();
  #plot: Plot | null = null;
  #place: number | null = null;

  /** @param lead - whether this is the large panel, the one that labels marks and moves the crosshair by keyboard */
  constructor(lead: boolean, desk: Desk) {
    this.#lead = lead;
    this.#desk = desk;
    this.#legend = new Legend((line, alone) => {
      const hidden = this.#scene?.settings.hidden ?? [];
      desk.change({
        hidden: alone ? this.#isolated(line) : withShown(hidden, line.key, line.shownByDefault, !line.shown),
      });
    });
    this.#menu = new Menu("Menu", () => this.#items());
    on(this.#enlarge, "click", () => this.#toggleSize());
    on(this.#showAll, "click", () => this.#toggleOutliers());
    this.#host = element("div", "ew-plot", lead ? CROSSHAIR : {});
    if (lead) this.#listenToKeys();
    this.root = element(
      "figure",
      lead ? "ew-panel ew-lead" : "ew-panel",
      {},
      element(
        "div",
        "ew-panel-head",
        {},
        element("span", "ew-tools", {}, this.#enlarge, this.#menu.root, this.#menu.list),
        this.#title,
        this.#legend.root,
      ),
      this.#host,
      this.#note,
      this.#summary,
    );
  }

  /** Shows a panel, all but its plot. */
  update(panel: Panel, scene: Scene, height: number): void {
    const isKnown = this.#panel?.lines.length === panel.lines.length;
    this.#panel = panel;
    this.#scene = scene;
    this.#height = height;
    const { title } = panel;
    setText(this.#title, title);
    setAttribute(this.#title, "title", title);
    setAttribute(this.root, "aria-label", title);
    this.#menu.label = `${title}: more`;
    const large = scene.settings.enlarged === title;
    for (const name of ["aria-label", "title"])
      setAttribute(this.#enlarge, name, large ? "Show all panels" : `Enlarge ${title}`);
    setAttribute(this.#enlarge, "aria-pressed", String(large));
    // The room is taken before there is a plot, so nothing jumps when it comes.
    this.#host.style.height = `${height}px`;
    if (!scene.words && isKnown) return;
    setText(this.#summary, summaryOf(panel, scene));
    this.#updateLegend();
  }

  /** The width of the plot. To read it makes the browser lay out the whole notebook, if anything was changed since. */
  get width(): number {
    return this.#host.clientWidth;
  }

  /** Draws the plot; not while the widget is out of sight. */
  draw(width: number, awake: boolean): void {
    if (!awake) this.release();
    else if (width >= 40) this.#draw(this.#panel!, this.#scene!, width, this.#height);
    this.#updateNote();
  }

  /** Gives the plot back, and with it all that it keeps alive in the page. */
  release(): void {
    this.#plot?.destroy();
    this.#plot = null;
    this.#picture = null;
    this.#sampler = new Sampler();
    this.#place = null;
  }

  /** Puts the crosshair on a place, and the values there into the legend. */
  point(place: number | null): void {
    this.#plot?.point(place);
    if (place === this.#place) return;
    this.#place = place;
    this.#updateLegend();
    if (this.#lead) this.#describeCrosshair();
  }

  /** Where the crosshair stands in the page; null if it is not to be seen. */
  pin(): { x: number; y: number } | null {
    const x = this.#plot?.point(this.#place) ?? null;
    if (x === null) return null;
    const box = this.#host.getBoundingClientRect();
    return { x: box.left + x, y: box.top };
  }

  /** Whether a metric is drawn here. */
  shows(metric: string): boolean {
    return this.#panel?.lines.some(({ series }) => series.spec.panel === metric) ?? false;
  }

  /** The texts of the marks at the crosshair. */
  marks(): string[] {
    const area = this.#plot?.area;
    const scene = this.#scene;
    const place = this.#place;
    if (area == null || scene === null || place === null) return [];
    const { timeline } = scene.shown[0];
    const near = (mark: Mark) => Math.abs(area.x(timeline.markPlace(mark)) - area.x(place)) <= NEAR;
    const texts = scene.marks.filter(near).map(({ text }) => text);
    return [...new Set(texts)].slice(0, 6);
  }

  /** Every value at the crosshair. */
  rows(): Row[] {
    const panel = this.#panel;
    const place = this.#place;
    if (panel === null || place === null) return [];
    const text = textOf(panel);
    const rows: Row[] = [];
    for (const line of panel.lines) {
      const { series, smoothed, stroke, kind, of } = line;
      // Whether it is drawn or not: people compare it with what they read in the console.
      const isConsole = series.spec.kind === "running" && of === this.#scene?.shown[0];
      const i = nearest(line, place);
      if (i < 0 || !(line.shown || isConsole)) continue;
      const who = of.colour === null ? line.label : `${of.name}: ${line.label}`;
      const step = series.step(i);
      const epoch =
        series.spec.granularity === "epoch"
          ? `of epoch ${count(series.epoch(i) + 1)}`
          : step === of.timeline.step(place)
            ? ""
            : `of step ${count(step)}`;
      const [words, ...aside] = kind.split(/(?= \()/);
      if (smoothed === null || stroke.beneath) {
        const pale = smoothed === null ? stroke : { ...stroke, width: 1.5, opacity: 0.45 };
        const raw = smoothed === null ? words! : words!.replace(/, smoothed.*/, "");
        rows.push({
          stroke: pale,
          words: `${who} ${raw}`,
          value: text(series.value(i)),
          aside: [aside.join("").replace(/[()]/g, "").trim(), epoch].filter((each) => each !== "").join(", "),
        });
      }
      if (smoothed !== null && (series.complete || !Number.isNaN(smoothed.value(i)))) {
        const where = stroke.beneath ? "" : epoch;
        rows.push({ stroke, words: `${who} smoothed`, value: text(smoothed.value(i)), aside: where });
      }
    }
    return rows;
  }

  #draw(panel: Panel, scene: Scene, width: number, height: number): void {
    this.#plot ??= new Plot(this.#host, {
      point: (place) => this.#desk.point(place, this),
      zoom: (range, last) => this.#desk.zoom(range, last),
      hold: (range) => this.#desk.hold(range),
    });
    const { settings, palette, x, marks } = scene;
    const { timeline } = scene.shown[0];
    this.#picture = compose(
      {
        width,
        height,
        x,
        axis: timeline.axis,
        log: panel.log,
        clip: !settings.unclipped.includes(panel.title),
        gap: settings.gap && panel.title !== RATE,
        bare: settings.compact,
        ratio: devicePixelRatio,
        lines: panel.lines.filter((line) => line.shown),
        timeline,
        marks,
        labelMarks: this.#lead,
        palette,
      },
      this.#sampler,
    );
    this.#plot.draw(this.#picture);
  }

  #updateLegend(): void {
    const panel = this.#panel;
    if (panel === null) return;
    const text = textOf(panel);
    const place = this.#place;
    // Lines of the same name share an entry: that of the first run. What that one does not have is another's.
    const first = this.#scene?.shown[0];
    const lines = panel.lines
      .filter((line, k) => panel.lines.findIndex(({ key }) => key === line.key) === k)
      .map((line) => (line.of === first ? line : { ...line, label: `${line.of.name}: ${line.label}` }));
    this.#legend.update(lines, panel.expected, (line) => {
      const { series, smoothed, best } = line;
      if (series.count === 0) return ["", ""];
      const drawn = smoothed ?? series;
      const i = place === null ? drawn.end - 1 : nearest(line, place);
      return [i < 0 ? "–" : text(drawn.value(i)), best < 0 ? "" : `best ${text(series.value(best))}`];
    });
  }

  #updateNote(): void {
    const [panel, scene] = [this.#panel, this.#scene];
    if (panel === null || scene === null) return;
    const notes = notesOf(panel, scene);
    const saved = scene.marks.filter(({ text }) => text === CHECKPOINT).length;
    if (this.#lead && saved > 0) notes.unshift(`▴ ${plural(saved, CHECKPOINT)}`);
    if (this.#isEmptyStretch()) notes.push("no values in this part of the x axis");
    const { count: out, low, high } = this.#picture?.clipped ?? { count: 0, low: 0, high: 0 };
    if (out > 0) {
      const text = textOf(panel);
      const far = [high, low].filter(Number.isFinite);
      notes.push(`${plural(out, "outlier")} beyond the scale, as far as ${far.map(text).join(" and ")}:`);
    }
    setText(this.#noteText, notes.join(" · "));
    setHidden(this.#showAll, out === 0);
    setHidden(this.#note, notes.length === 0);
  }

  /** Whether there are values, and none of them where the person zoomed in. */
  #isEmptyStretch(): boolean {
    const picture = this.#picture;
    if (picture === null || this.#scene?.settings.zoom.length !== 2 || picture.strands.length === 0)
      return false;
    const [start, end] = picture.x;
    return picture.strands.every(({ sample: [places] }) => places.every((at) => at < start || at > end));
  }

  /** The list of hidden lines with which one line of this panel is alone. */
  #isolated(line: Line): readonly string[] {
    let hidden = this.#scene?.settings.hidden ?? [];
    const lines = this.#panel?.lines ?? [];
    // Alone already: then all come back.
    const alone = line.shown && lines.every((each) => each.key === line.key || !each.shown);
    for (const { key, shownByDefault } of lines) {
      hidden = withShown(hidden, key, shownByDefault, alone ? shownByDefault : key === line.key);
    }
    return hidden;
  }

  #toggleSize(): void {
    const { enlarged } = this.#scene!.settings;
    const { title } = this.#panel!;
    this.#desk.change({ enlarged: enlarged === title ? "" : title });
  }

  #toggleOutliers(): void {
    const { unclipped } = this.#scene!.settings;
    const { title } = this.#panel!;
    this.#desk.change({ unclipped: having(unclipped, title, !unclipped.includes(title)) });
  }

  #items(): Item[] {
    const panel = this.#panel;
    const scene = this.#scene;
    const picture = this.#picture;
    if (panel === null || scene === null || picture === null) return [];
    const { title } = panel;
    const { settings, titles } = scene;
    const { change } = this.#desk;
    const at = titles.indexOf(title);
    const move = (to: number) => {
      const order = titles.filter((each) => each !== title);
      order.splice(to, 0, title);
      change({ order });
    };
    const named = `${scene.shown[0].name} ${title}`;
    return [
      {
        text: "Log scale",
        checked: panel.log,
        act: () => change({ scales: { ...settings.scales, [title]: panel.log ? "linear" : "log" } }),
      },
      {
        text: "Show outliers",
        checked: settings.unclipped.includes(title),
        act: () => this.#toggleOutliers(),
      },
      { text: "Move forward", disabled: at <= 0, act: () => move(at - 1) },
      { text: "Move back", disabled: at >= titles.length - 1, act: () => move(at + 1) },
      {
        text: "Close",
        disabled: titles.length < 2,
        act: () => change({ closed: having(settings.closed, title, true), enlarged: "" }),
      },
      {
        text: "Copy picture",
        disabled: !("ClipboardItem" in window) || !isSecureContext,
        act: () =>
          void navigator.clipboard.write([new ClipboardItem({ "image/png": pngOf(panel, picture) })]),
      },
      {
        text: "Save as PNG",
        act: () => void pngOf(panel, picture).then((blob) => download(blob, "image/png", `${named}.png`)),
      },
      { text: "Save as SVG", act: () => download(svgOf(panel, picture), "image/svg+xml", `${named}.svg`) },
      { text: "Save values as CSV", act: () => download(csvOf(panel.lines), "text/csv", `${named}.csv`) },
    ];
  }

  /** Arrows move the crosshair, Escape takes it away, + and - zoom about it, 0 shows all. */
  #listenToKeys(): void {
    on(this.#host, "keydown", (event) => {
      const scene = this.#scene;
      if (scene === null || event.altKey || event.ctrlKey || event.metaKey) return;
      const [start, right] = scene.x;
      const end = Math.min(right, Math.max(...scene.shown.map(({ timeline }) => timeline.end)));
      const small = (end - start) / (event.shiftKey && event.key.startsWith("Arrow") ? 20 : 200);
      const from = this.#place ?? end;
      const factor = { "+": 0.5, "=": 0.5, "-": 2, _: 2 }[event.key];
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
      if (factor !== undefined)
        this.#desk.zoom([from - (from - start) * factor, from + (right - from) * factor], true);
      else if (event.key === "0") this.#desk.zoom(null, true);
      else if (to === undefined) return;
      else this.#desk.point(to === null ? null : Math.min(end, Math.max(start, to)), this);
      // The page would scroll.
      event.preventDefault();
    });
    on(this.#host, "blur", () => {
      if (this.#place !== null) this.#desk.point(null, this);
    });
  }

  #describeCrosshair(): void {
    const scene = this.#scene;
    if (scene === null) return;
    const at = this.#place;
    const [start, end] = scene.x;
    const part = at === null ? 1 : (at - start) / (end - start || 1);
    setAttribute(this.#host, "aria-valuenow", String(Math.round(Math.min(1, part) * 100)));
    const step = at === null ? 0 : scene.shown[0].timeline.step(at);
    const marks = this.marks();
    const values = this.rows().map(({ words, value, aside }) => `${words} ${value} ${aside}`.trim());
    setAttribute(
      this.#host,
      "aria-valuetext",
      at === null ? "off" : [`step ${count(step)}`, ...marks, ...values].join(", "),
    );
  }
}

function textOf({ title }: Panel): (v: number) => string {
  return title === RATE ? rate : value;
}

/** The index of the point nearest to a place; -1 where the run was not. */
function nearest({ series, of }: Line, place: number): number {
  return of.timeline.reaches(place) ? series.nearest(place, of.timeline.placement(series)) : -1;
}

/** What the plot cannot show, in words. */
function notesOf(panel: Panel, { x, detail }: Scene): string[] {
  const notes: string[] = [];
  const several = panel.lines.length > 1;
  for (const { series, label, kind, of } of panel.lines) {
    const run = of.colour === null ? "" : `${of.name}: `;
    const whole = `${run}${label} ${kind.replace(/, smoothed.*/, "")}`;
    const who = several ? `${whole.length > 80 ? `${whole.slice(0, 79)}…` : whole}: ` : "";
    const most = series.complete ? "" : "at least ";
    const found = series
      .faults()
      .map(({ what, times, step }) => `${most}${count(times)} ${what}, first at step ${count(step)}`);
    if (found.length > 0) notes.push(who + found.join("; "));
  }
  const gaps = gapsOf(panel, x).filter(({ series }) => series.spec.kind !== "clock");
  if (gaps.length > 0) {
    const here = panel.lines.reduce((sum, { series }) => sum + series.count, 0);
    const all = panel.lines.reduce((sum, { series }) => sum + series.length, 0);
    notes.push(`a summary: ${count(here)} of ${count(all)} points are here${detail.tells(gaps)}`);
  }
  if (panel.nonPositive > 0) {
    const values = plural(panel.nonPositive, "value");
    notes.push(
      panel.log
        ? `the log scale cannot show ${values} ≤ 0`
        : `linear, for a log scale shows none of ${values} ≤ 0`,
    );
  }
  return notes;
}

const PLAINLY = {
  epoch: "epochs",
  step: "steps",
  time: "time",
  wall: "the time of day",
  "learning rate": "the learning rate, log scale",
} as const;

/** The plot in words, for those who do not see it. */
function summaryOf(panel: Panel, { shown, marks }: Scene): string {
  const text = textOf(panel);
  const lines = panel.lines
    .filter((line) => line.shown && line.series.count > 0)
    .map(({ series, smoothed, label, kind, of, best }) => {
      const { low, high } = series.extent;
      const range = low <= high ? `from ${text(low)} to ${text(high)}, ` : "";
      const top =
        best < 0 ? "" : `, best ${text(series.value(best))} at epoch ${count(series.epoch(best) + 1)}`;
      const run = of.colour === null ? "" : `${of.name}: `;
      const trend = trendOf(series);
      const [raw, smooth] = kind.split(/, (?=smoothed)/);
      const average = smoothed === null ? "" : `, ${smooth}: ${text(smoothed.last)}`;
      return `${run}${label}, ${raw}: ${plural(series.length, "point")}, ${range}last ${text(series.last)}${average}${top}${trend}.`;
    });
  if (lines.length === 0)
    return panel.lines.some(({ series }) => series.count > 0) ? "All lines are hidden." : "No values yet.";
  const [{ timeline }] = shown;
  return [
    `Plot of ${panel.title} over ${PLAINLY[timeline.axis]}${panel.log ? ", log scale" : ""}.`,
    ...lines,
    ...marks
      .filter(({ text }) => text !== CHECKPOINT)
      .slice(0, 20)
      .map(
        (mark) =>
          `Mark at ${mark.epoch === null ? "step" : "epoch"} ${count(mark.epoch ?? mark.step)}: ${mark.text}.`,
      ),
  ].join(" ");
}

/** Whether a line rises or falls of late: its last tenth against the one before. */
function trendOf(series: { end: number; value(i: number): number }): string {
  const part = Math.floor(Math.min(series.end, 10_000) / 10);
  if (part < 1 || series.end < 4) return "";
  const mean = (from: number) => {
    let sum = 0;
    for (let i = from; i < from + part; i++) sum += series.value(i);
    return sum / part;
  };
  const before = mean(series.end - 2 * part);
  const now = mean(series.end - part);
  const change = (now - before) / (Math.abs(before) || 1);
  if (!Number.isFinite(change)) return "";
  return Math.abs(change) < 0.01 ? ", steady" : change < 0 ? ", falling" : ", rising";
}
