/**
 * Which series is drawn on which panel, how, and under which words. Pure functions.
 */
import { bestOf, directionOf, LOSS } from "./best";
import type { Series } from "./series";
import { isShown, type Scale, type Settings } from "./settings";
import type { Run } from "./store";
import type { Timeline } from "./timeline";
import type { SeriesSpec } from "./wire";

/** The colours lines can have, by role; `theme.ts` says what they look like. */
export const COLOURS = ["train", "mean", "validation", "rate", "muted", "purple", "yellow", "sky"] as const;

export type Colour = (typeof COLOURS)[number];

/** How a line is drawn. Lines are told apart by dash and marker as well as by colour. */
export interface Stroke {
  readonly colour: Colour;
  readonly width: number;
  readonly opacity: number;
  /** Whether the values are drawn, too, pale beneath their average. */
  readonly beneath: boolean;
  readonly dash: readonly number[];
  readonly marker: "none" | "dot" | "ring";
}

/** One line of a panel, shown or not. */
export interface Line {
  readonly series: Series;
  /** The average to be drawn over the values, which are pale then; null if there is none. */
  readonly smoothed: Series | null;
  readonly of: Shown;
  /** Its key in the setting `hidden`; runs of the same names share it. */
  readonly key: string;
  readonly label: string;
  /** What its values stand for, in words. */
  readonly kind: string;
  readonly stroke: Stroke;
  readonly shown: boolean;
  readonly shownByDefault: boolean;
  /** The index of its best point; -1 if none is to be marked. */
  readonly best: number;
}

/** A run as it is drawn. */
export interface Shown {
  readonly run: Run;
  readonly name: string;
  readonly timeline: Timeline;
  /** Its colour among several runs; null if it is alone. */
  readonly colour: Colour | null;
  /** How often all colours had been given before: then dashes tell runs apart. */
  readonly round: number;
}

/** A line that is likely to come: validation of a metric that is judged has a best value beside the last. */
export type Expected = "mean" | "validation" | "judged";

/** What one panel shows. */
export interface Panel {
  readonly title: string;
  /** Those of the first run first. */
  readonly lines: readonly Line[];
  /** The lines that are likely to come with the end of the first epoch. */
  readonly expected: readonly Expected[];
  readonly log: boolean;
  /** Values that the log axis cannot show. */
  readonly nonPositive: number;
}

export const RATE = "learning rate";

/** The colours of runs, in the order in which they began. */
export const RUN_COLOURS: readonly Colour[] = ["train", "purple", "rate", "yellow", "validation", "muted"];

/**
 * The panels of some runs in their order: the loss first, the learning rate last, unless the person ordered them.
 *
 * @param shown - the run that the header tells of first; never empty
 */
export function panelsOf(shown: readonly Shown[], settings: Settings): Panel[] {
  const titles = new Map<string, Map<Shown, Series[]>>();
  for (const of of shown) {
    for (const series of of.run.series.values()) {
      if (series.spec.kind === "clock" || (series.spec.panel === RATE && of.run.searched !== null)) continue;
      const title = titleOf(series.spec, settings);
      const panel = titles.get(title) ?? new Map<Shown, Series[]>();
      titles.set(title, panel.set(of, [...(panel.get(of) ?? []), series]));
    }
  }
  const own = settings.panels.map(({ title }) => title);
  const rank = (title: string) => {
    const chosen = settings.order.indexOf(title);
    if (chosen >= 0) return chosen - settings.order.length;
    return title === LOSS ? 0 : own.includes(title) ? 2 : title === RATE ? 3 : 1;
  };
  return [...titles]
    .sort(([a], [b]) => rank(a) - rank(b))
    .map(([title, series]) => panel(title, series, shown[0]!, settings));
}

/** The panel on which a series stands: one of the person's that names it or its metric, else its metric's. */
function titleOf({ name, panel }: SeriesSpec, { panels }: Settings): string {
  const naming = (metric: string) => panels.find(({ metrics }) => metrics.includes(metric));
  return (naming(name) ?? naming(panel))?.title ?? panel;
}

function panel(title: string, all: ReadonlyMap<Shown, Series[]>, first: Shown, settings: Settings): Panel {
  const lines = [...all].flatMap(([of, series]) =>
    series
      .filter(({ spec }) => isWanted(spec, series, settings.granularity))
      .map((each) => line(each, series, of, of === first, settings)),
  );
  const extents = lines.filter((each) => each.shown).map((each) => each.series.extent);
  const low = Math.min(...extents.map((each) => each.lowPositive));
  const high = Math.max(...extents.map((each) => each.high));
  const nonPositive = extents.reduce((sum, each) => sum + each.nonPositive, 0);
  // The rule for the switch "Log scale": it holds for the loss and the learning rate, and for any other
  // panel whose values are all above zero and span more than two decades. Accuracies stay linear.
  const suits = title === LOSS || title === RATE || (nonPositive === 0 && high > 100 * low);
  const scale = scaleOf(title, settings);
  const isLog = scale === "auto" ? settings.log_scale && suits : scale === "log";
  const inEpochs = title !== RATE && first.run.facts.status === "running" && first.run.spans.length > 0;
  const isJudgedMetric = directionOf(title, settings.directions) !== null;
  const expected = inEpochs ? missing(lines, settings.granularity, isJudgedMetric) : [];
  return { title, lines, expected, log: isLog && high > 0, nonPositive: isLog ? nonPositive : 0 };
}

/** The scale that the person chose for one panel. */
export function scaleOf(title: string, { scales, panels }: Settings): Scale {
  if (Object.hasOwn(scales, title)) return scales[title]!;
  return panels.find((own) => own.title === title)?.scale ?? "auto";
}

/** The lines that are missing of those that a run in epochs usually has: its means, and its validation. */
function missing(lines: readonly Line[], view: Settings["granularity"], isJudgedMetric: boolean): Expected[] {
  const has = (test: (spec: SeriesSpec) => boolean) => lines.some((each) => test(each.series.spec));
  const mean = view !== "both" || has(standsForEpoch);
  const validation = has(({ split }) => split === "validation");
  return [
    ...(mean ? [] : ["mean" as const]),
    ...(validation ? [] : ([isJudgedMetric ? "judged" : "validation"] as const)),
  ];
}

/** Whether a series belongs to the chosen view. */
function isWanted(spec: SeriesSpec, all: readonly Series[], view: Settings["granularity"]): boolean {
  if (view === "both" || spec.granularity === view) return true;
  // Validation was measured when it was measured: there is no other granularity to look at.
  if (spec.split === "validation") return true;
  // Better what there is than nothing: a learning rate is known per batch only.
  return !all.some(
    ({ spec: other }) =>
      other.granularity === view && other.label === spec.label && other.split === spec.split,
  );
}

function line(series: Series, all: readonly Series[], of: Shown, first: boolean, settings: Settings): Line {
  const { spec } = series;
  // On a panel of the person's own there may be several metrics, each with a training and a validation.
  const isMixed = all.some((other) => other.spec.panel !== spec.panel);
  const { granularity, hidden, smoothing, directions } = settings;
  const key = `${spec.granularity}:${spec.name}`;
  // The running mean stays out of the plot as long as the batches' own values are there to be seen.
  const shownByDefault = !(
    spec.kind === "running" &&
    all.some(
      ({ spec: other }) =>
        other.kind !== "running" &&
        other.granularity === spec.granularity &&
        other.label === spec.label &&
        other.split === spec.split,
    )
  );
  // A rate is what it is, and a search for one is over before an average could follow it.
  const suits = smoothing > 0 && spec.kind === "batch" && spec.panel !== RATE && of.run.searched === null;
  const smoothed = suits ? of.run.smoothed(series, smoothing) : null;
  // Of a summary's last points there may be no average.
  const smooth = smoothed !== null && (series.complete || !Number.isNaN(smoothed.last));
  const kind = kindInWords(spec);
  const stroke = inRound(strokeOf(spec, all, of.colour, granularity, smooth), of.round);
  return {
    series,
    smoothed: smooth ? smoothed : null,
    of,
    key,
    label: alike(spec, all).length > 1 || isMixed ? spec.name : spec.label,
    kind: smooth ? `${kind}, smoothed ${smoothing}` : kind,
    // Of several runs only the first shows every batch.
    stroke: smooth && !first ? { ...stroke, beneath: false } : stroke,
    shown: isShown(hidden, key, shownByDefault),
    shownByDefault,
    best: isJudged(spec, all) ? bestOf(series, directionOf(spec.panel, directions)) : -1,
  };
}

/** Whether a metric is judged by this series: by its validation, and by training if there is none. */
function isJudged(spec: SeriesSpec, all: readonly Series[]): boolean {
  if (spec.granularity !== "epoch" || spec.panel === RATE) return false;
  return spec.split === "validation" || !all.some(({ spec: other }) => other.split === "validation");
}

/**
 * The series whose words would be the same, as of a mean that the framework reports and one computed beside it: their
 * names tell them apart.
 */
function alike({ granularity, kind, label }: SeriesSpec, all: readonly Series[]): SeriesSpec[] {
  return all
    .map(({ spec }) => spec)
    .filter((other) => other.granularity === granularity && other.kind === kind && other.label === label);
}

/** What a series' values stand for. */
export function kindInWords(spec: SeriesSpec): string {
  switch (spec.kind) {
    case "batch":
      return spec.panel === RATE ? "each step" : "batch";
    case "running":
      return "running mean (the console's number)";
    case "epoch":
      return standsForEpoch(spec) ? "epoch mean" : "epoch";
    case "evaluation":
      return "evaluated";
    case "smoothed":
      return "smoothed by the framework";
    case "window":
      return "mean since the last log";
    case "reported":
      return "reported by the training step";
    default:
      return spec.kind;
  }
}

/**
 * Whether each point is a mean over an epoch, as the training loss of a `History` is. Validation is measured at
 * the epoch's end, and a learning rate is read there.
 */
export function standsForEpoch({ split, granularity, kind, panel }: SeriesSpec): boolean {
  return granularity === "epoch" && kind === "epoch" && split === "train" && panel !== RATE;
}

const OTHERS: readonly Colour[] = ["purple", "yellow", "sky", "rate", "muted"];
const DASHES: readonly (readonly number[])[] = [[], [8, 3], [2, 3], [8, 3, 2, 3]];

/** A stroke of a run whose colour others have, too. */
function inRound(stroke: Stroke, round: number): Stroke {
  if (round === 0) return stroke;
  const gap = 2 + 2 * round;
  const dash = stroke.dash.length === 0 ? [12, gap] : stroke.dash.flatMap((length) => [length, 2, 1, gap]);
  return { ...stroke, dash };
}

function strokeOf(
  spec: SeriesSpec,
  all: readonly Series[],
  run: Colour | null,
  view: Settings["granularity"],
  smooth: boolean,
): Stroke {
  const labels: string[] = [];
  for (const { spec: other } of all) {
    if (other.split === spec.split && !labels.includes(other.label)) labels.push(other.label);
  }
  // Among several lines of one split (two learning rates, say) the first has the split's own colour.
  const rank = labels.indexOf(spec.label) + alike(spec, all).indexOf(spec);
  const own: Colour = spec.split === "validation" ? "validation" : spec.panel === RATE ? "rate" : "train";
  // Among several runs each has its colour, and its lines are told apart by dash and marker.
  const colour = run ?? (rank === 0 ? own : OTHERS[(rank - 1) % OTHERS.length]!);
  const ranked = DASHES[rank % DASHES.length]!;
  const plain: Stroke = { colour, width: 2, opacity: 1, beneath: false, dash: ranked, marker: "none" };
  if (spec.kind === "running" && spec.granularity === "batch")
    return { ...plain, colour: run ?? "muted", width: 1.5, dash: run === null ? [] : [1, 3] };
  if (spec.split === "validation") return { ...plain, dash: rank === 0 ? [6, 4] : ranked, marker: "dot" };
  // The framework's moving average stands beside the mean over the epoch, which it is not.
  if (spec.granularity === "epoch" && spec.kind === "smoothed")
    return { ...plain, colour: run ?? "purple", dash: [8, 3], marker: "ring" };
  if (spec.granularity === "epoch")
    return {
      ...plain,
      colour: colour === "train" && run === null ? "mean" : colour,
      dash: [2, 4],
      marker: "ring",
    };
  if (smooth) return { ...plain, beneath: true };
  if (spec.kind === "batch" && spec.panel !== RATE) {
    // Pale where the epochs' means lie over them.
    const pale = view === "both" && all.some((other) => other.spec.granularity === "epoch");
    return { ...plain, width: 1, opacity: pale ? 0.45 : 0.9, dash: [] };
  }
  // Several kinds of one metric may stand on one panel: each has a look of its own.
  if (spec.kind === "window") return { ...plain, colour: run ?? "purple", dash: [8, 3] };
  if (spec.kind === "reported") return { ...plain, colour: run ?? "yellow", dash: [8, 3, 2, 3] };
  return plain;
}
