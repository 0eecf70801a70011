/**
 * What the person chooses: the traits that page and kernel keep in step.
 *
 * `hidden` lists what differs from the default. A line's key is `granularity:name` ("batch:loss"). The key alone
 * hides the line; the key after an exclamation mark ("!batch:running_loss") shows a line that is hidden by
 * default. Names may hold anything, but a key begins with its granularity, so the mark cannot be mistaken.
 */

export type XAxis = "epoch" | "step";
export type View = "batch" | "epoch" | "both";
export type ThemeChoice = "auto" | "light" | "dark";

export interface Settings {
  readonly granularity: View;
  readonly x_axis: XAxis;
  readonly log_scale: boolean;
  readonly hidden: readonly string[];
  /** The id of the run shown; empty to follow the newest. */
  readonly run: string;
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
  hidden: [],
  run: "",
  title: "",
  height: 300,
  theme: "auto",
};

/** The names of the traits. */
export const TRAITS = Object.keys(DEFAULTS) as (keyof Settings)[];

/** Reads all settings; what is missing or makes no sense is replaced by its default. */
export function readSettings(get: (trait: string) => unknown): Settings {
  const word = <T extends string>(trait: keyof Settings, known: readonly T[], fallback: T): T =>
    known.find((item) => item === get(trait)) ?? fallback;
  const text = (trait: keyof Settings): string => {
    const value = get(trait);
    return typeof value === "string" ? value : "";
  };
  const hidden = get("hidden");
  const height = get("height");
  return {
    granularity: word("granularity", ["batch", "epoch", "both"], DEFAULTS.granularity),
    x_axis: word("x_axis", ["epoch", "step"], DEFAULTS.x_axis),
    log_scale: get("log_scale") === true,
    hidden: Array.isArray(hidden) ? hidden.filter((key): key is string => typeof key === "string") : [],
    run: text("run"),
    title: text("title"),
    height:
      typeof height === "number" && Number.isFinite(height)
        ? Math.min(2000, Math.max(120, Math.round(height)))
        : DEFAULTS.height,
    theme: word("theme", ["auto", "light", "dark"], DEFAULTS.theme),
  };
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
