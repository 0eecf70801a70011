/** The row of controls. They show the settings and ask for changes; they keep no state of their own. */
import { element, on, setAttribute, setHidden, setText } from "./element";
import { type Item, Menu } from "./menu";
import { RATE } from "./panels";
import type { Settings, View, XAxis } from "./settings";
import type { Axis } from "./timeline";

const VIEWS: readonly [View, string][] = [
  ["batch", "Batch"],
  ["epoch", "Epoch"],
  ["both", "Both"],
];

const AXES: readonly [XAxis, string][] = [
  ["epoch", "epoch"],
  ["step", "step"],
  ["time", "time"],
  ["wall", "time of day"],
];

/** The steps of the slider: fine where a small change is seen. */
const WEIGHTS = [
  0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.993, 0.995, 0.997, 0.998, 0.999,
];

/** Asks for a change of settings. */
export type Change = (patch: Partial<Settings>) => void;

/** Granularity, x axis, smoothing, log scale, zoom, and what is rarely asked for. */
export class Controls {
  readonly root: HTMLElement;
  readonly #views = new Map<View, HTMLButtonElement>();
  readonly #axis = element("select", "ew-select", { "aria-label": "X axis" });
  readonly #rate = element("option", "", { value: RATE }, RATE);
  readonly #smoothing = element("input", "ew-slider", {
    type: "range",
    min: "0",
    max: String(WEIGHTS.length - 1),
    step: "1",
    "aria-label": "Smoothing",
  });
  readonly #weight = element("span", "ew-weight");
  readonly #log = toggle("Log scale");
  readonly #follow = toggle("Follow");
  // Short, so that the row does not break, and no plot moves, when it appears under the pointer that has just zoomed.
  readonly #reset = element(
    "button",
    "ew-icon",
    { type: "button", "aria-label": "Reset zoom", title: "Reset zoom" },
    "↺",
  );
  readonly #zoom: HTMLElement;

  /** @param items - what stands in the menu */
  constructor(change: Change, items: () => readonly Item[]) {
    const group = element("div", "ew-segments", { role: "group", "aria-label": "Granularity" });
    for (const [view, word] of VIEWS) {
      const button = element("button", "ew-segment", { type: "button" }, word);
      on(button, "click", () => change({ granularity: view }));
      this.#views.set(view, button);
      group.append(button);
    }
    for (const [axis, word] of AXES) this.#axis.append(element("option", "", { value: axis }, word));
    this.#axis.append(this.#rate);
    on(this.#axis, "change", () => {
      const known = AXES.find(([axis]) => axis === this.#axis.value);
      if (known !== undefined) change({ x_axis: known[0] });
    });
    on(this.#smoothing, "input", () => change({ smoothing: WEIGHTS[Number(this.#smoothing.value)] ?? 0 }));
    for (const [button, key] of [
      [this.#log, "log_scale"],
      [this.#follow, "follow"],
    ] as const) {
      on(button, "click", () => change({ [key]: button.getAttribute("aria-checked") !== "true" }));
    }
    on(this.#reset, "click", () => change({ zoom: [] }));
    this.#zoom = element("span", "ew-field", {}, this.#follow, this.#reset);
    const menu = new Menu("More", items);
    this.root = element(
      "div",
      "ew-controls",
      {},
      group,
      element("label", "ew-field", {}, element("span", "ew-quiet", {}, "X axis"), this.#axis),
      element(
        "label",
        "ew-field",
        {},
        element("span", "ew-quiet", {}, "Smoothing"),
        this.#smoothing,
        this.#weight,
      ),
      this.#log,
      this.#zoom,
      element("span", "ew-last", {}, menu.root, menu.list),
    );
  }

  /**
   * @param axis - what is really drawn over; a search for a learning rate leaves no choice
   * @param live - whether there is anything to follow
   */
  update(settings: Settings, axis: Axis, live: boolean): void {
    for (const [view, button] of this.#views) {
      setAttribute(button, "aria-pressed", String(view === settings.granularity));
    }
    const fixed = axis === RATE;
    this.#axis.disabled = fixed;
    setHidden(this.#rate, !fixed);
    const shown = fixed ? axis : settings.x_axis;
    if (this.#axis.value !== shown) this.#axis.value = shown;
    const at = WEIGHTS.filter((weight) => weight <= settings.smoothing).length - 1;
    if (this.#smoothing.value !== String(at)) this.#smoothing.value = String(at);
    setAttribute(this.#smoothing, "aria-valuetext", String(settings.smoothing));
    setText(this.#weight, String(settings.smoothing));
    setAttribute(this.#log, "aria-checked", String(settings.log_scale));
    setAttribute(this.#follow, "aria-checked", String(settings.follow));
    setHidden(this.#follow, !live && !settings.follow);
    setHidden(this.#zoom, settings.zoom.length === 0);
  }
}

function toggle(name: string): HTMLButtonElement {
  return element(
    "button",
    "ew-switch",
    { type: "button", role: "switch", "aria-label": name },
    element("span", "ew-quiet", {}, name),
    element("span", "ew-track"),
  );
}
