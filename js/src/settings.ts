/**
 * What the person chooses: the traits that page and kernel keep in step.
 *
 * `hidden` lists what differs from the default. A line's key is `granularity:name` ("batch:loss"). The key alone
 * hides the line; the key after an exclamation mark ("!batch:running_loss") shows a line that is hidden by
 * default. Names may hold anything, but a key begins with its granularity, so the mark cannot be mistaken.
 */

const X_AXES = ["epoch", "step", "time", "wall"] as const;
const VIEWS = ["batch", "epoch", "both"] as const;
const THEMES = ["auto", "light", "dark"] as const;

export type XAxis = (typeof X_AXES)[number];
export type View = (typeof VIEWS)[number];
export type ThemeChoice = (typeof THEMES)[number];
export type Scale = "auto" | "log" | "linear";
export type Direction = "min" | "max";

/** A panel that the person made up. */
export interface OwnPanel {
  readonly title: string;
  /** Names of series, or metrics. */
  readonly metrics: readonly string[];
  readonly scale: Scale;
}

/** Texts by text. */
export type Texts<T extends string = string> = Readonly<Record<string, T>>;

export interface Settings {
  readonly granularity: View;
  readonly x_axis: XAxis;
  readonly log_scale: boolean;
  /** The weight of the exponential average over batch values, 0 to 0.999. */
  readonly smoothing: number;
  readonly hidden: readonly string[];
  /** The ends of what is seen of the x axis; empty for all of it. */
  readonly zoom: readonly number[];
  /** Whether the newest part stays in sight while zoomed. */
  readonly follow: boolean;
  /** What differs from `log_scale`, by panel. */
  readonly scales: Texts<Scale>;
  /** Panels whose outliers are shown. */
  readonly unclipped: readonly string[];
  /** Which value of a metric is its best, where the name does not tell. */
  readonly directions: Texts<Direction>;
  /** Where the mean of an epoch stands. */
  readonly means_at: "middle" | "end";
  /** Whether the gap between training and validation is shaded. */
  readonly gap: boolean;
  /** The id of the run in the header; empty to follow the newest. */
  readonly run: string;
  /** How many of the newest runs are drawn; null for the newest and those of its name, three in all. */
  readonly last: number | null;
  /** The ids of the only runs; empty for all. */
  readonly runs: readonly string[];
  readonly hidden_runs: readonly string[];
  /** Runs that are drawn however old they are. */
  readonly pinned: readonly string[];
  /** Names that the person gave, by id. */
  readonly names: Texts;
  readonly panels: readonly OwnPanel[];
  /** The titles of panels that were closed, of those to come first, and of the one that is enlarged. */
  readonly closed: readonly string[];
  readonly order: readonly string[];
  readonly enlarged: string;
  /** One row of numbers and sparklines. */
  readonly compact: boolean;
  /** Whether the epochs are shown as a table, too. */
  readonly table: boolean;
  /** Empty for the run's own name. */
  readonly title: string;
  /** The height of the loss plot in pixels. */
  readonly height: number;
  readonly theme: ThemeChoice;
}

/** What holds where the kernel says nothing, or nothing that makes sense. */
export const DEFAULTS: Settings = {
  granularity: "both",
  x_axis: "epoch",
  log_scale: false,
  smoothing: 0.9,
  hidden: [],
  zoom: [],
  follow: false,
  scales: {},
  unclipped: [],
  directions: {},
  means_at: "middle",
  gap: false,
  run: "",
  last: null,
  runs: [],
  hidden_runs: [],
  pinned: [],
  names: {},
  panels: [],
  closed: [],
  order: [],
  enlarged: "",
  compact: false,
  table: false,
  title: "",
  height: 300,
  theme: "auto",
};

/** The names of the traits. */
export const TRAITS = Object.keys(DEFAULTS) as (keyof Settings)[];

/** Reads all settings; what is missing or makes no sense is replaced by its default. */
export function readSettings(get: (trait: string) => unknown): Settings {
  const number = (trait: "smoothing" | "height", low: number, high: number): number => {
    const value = get(trait);
    return typeof value === "number" && Number.isFinite(value)
      ? Math.min(high, Math.max(low, value))
      : DEFAULTS[trait];
  };
  const text = (trait: string): string => word(get(trait));
  const texts = (trait: string): readonly string[] => words(get(trait));
  const zoom = get("zoom");
  const last = get("last");
  return {
    granularity: oneOf(get("granularity"), VIEWS, DEFAULTS.granularity),
    x_axis: oneOf(get("x_axis"), X_AXES, DEFAULTS.x_axis),
    log_scale: get("log_scale") === true,
    smoothing: number("smoothing", 0, 0.999),
    hidden: texts("hidden"),
    zoom:
      Array.isArray(zoom) && zoom.length === 2 && zoom.every(Number.isFinite) && zoom[0] < zoom[1]
        ? zoom
        : [],
    follow: get("follow") === true,
    scales: record(get("scales"), ["log", "linear"]),
    unclipped: texts("unclipped"),
    directions: record(get("directions"), ["min", "max"]),
    means_at: oneOf(get("means_at"), ["middle", "end"], DEFAULTS.means_at),
    gap: get("gap") === true,
    run: text("run"),
    last: typeof last === "number" && last >= 1 ? Math.floor(last) : null,
    runs: texts("runs"),
    hidden_runs: texts("hidden_runs"),
    pinned: texts("pinned"),
    names: record(get("names")),
    panels: ownPanels(get("panels")),
    closed: texts("closed"),
    order: texts("order"),
    enlarged: text("enlarged"),
    compact: get("compact") === true,
    table: get("table") === true,
    title: text("title"),
    height: Math.round(number("height", 120, 2000)),
    theme: oneOf(get("theme"), THEMES, DEFAULTS.theme),
  };
}

function oneOf<T>(value: unknown, known: readonly T[], fallback: T): T {
  return known.find((item) => item === value) ?? fallback;
}

function word(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function words(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}

function record<T extends string>(value: unknown, known?: readonly T[]): Texts<T> {
  if (typeof value !== "object" || value === null) return {};
  const kept = Object.entries(value).filter(
    ([, item]) => typeof item === "string" && (known === undefined || known.includes(item as T)),
  );
  return Object.fromEntries(kept) as Texts<T>;
}

function ownPanels(value: unknown): readonly OwnPanel[] {
  if (!Array.isArray(value)) return [];
  return value
    .map((item) => ({
      title: word(item?.title),
      metrics: words(item?.metrics),
      scale: oneOf<Scale>(item?.scale, ["log", "linear"], "auto"),
    }))
    .filter(({ title }) => title !== "");
}

/** Whether a line is shown. */
export function isShown(hidden: readonly string[], key: string, byDefault: boolean): boolean {
  return byDefault ? !hidden.includes(key) : hidden.includes(`!${key}`);
}

/** The list after showing or hiding a line. Keys of lines that are not here now are kept. */
export function withShown(
  hidden: readonly string[],
  key: string,
  byDefault: boolean,
  shown: boolean,
): readonly string[] {
  const rest = hidden.filter((item) => item !== key && item !== `!${key}`);
  if (shown === byDefault) return rest;
  return [...rest, shown ? `!${key}` : key];
}

/** A list with an item, or without it. */
export function having<T>(list: readonly T[], item: T, has: boolean): readonly T[] {
  const rest = list.filter((each) => each !== item);
  return has ? [...rest, item] : rest;
}
