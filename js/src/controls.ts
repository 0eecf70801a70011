/** The row of controls. They show the settings and ask for changes; they keep no state of their own. */
import { element, setAttribute, setText } from "./element";
import { RATE } from "./panels";
import type { Settings, View, XAxis } from "./settings";

const VIEWS: readonly [View, string][] = [
  ["batch", "Batch"],
  ["epoch", "Epoch"],
  ["both", "Both"],
];

const AXES: readonly XAxis[] = ["epoch", "step"];

/** Asks for a change of settings. */
export type Change = (patch: Partial<Settings>) => void;

/** Granularity, x axis, log scale, and the place under the crosshair. */
export class Controls {
  readonly root: HTMLElement;
  readonly #views = new Map<View, HTMLButtonElement>();
  readonly #axis = element("select", "ew-select", { "aria-label": "X axis" });
  readonly #rate = element("option", "", { value: RATE }, RATE);
  readonly #log = element("button", "ew-switch", {
    type: "button",
    role: "switch",
    "aria-label": "Log scale",
  });
  readonly #readout = element("span", "ew-quiet ew-readout");

  constructor(change: Change) {
    const group = element("div", "ew-segments", { role: "group", "aria-label": "Granularity" });
    for (const [view, word] of VIEWS) {
      const button = element("button", "ew-segment", { type: "button" }, word);
      button.addEventListener("click", () => change({ granularity: view }));
      this.#views.set(view, button);
      group.append(button);
    }
    for (const axis of AXES) this.#axis.append(element("option", "", { value: axis }, axis));
    this.#axis.append(this.#rate);
    this.#axis.addEventListener("change", () => {
      const axis = AXES.find((known) => known === this.#axis.value);
      if (axis !== undefined) change({ x_axis: axis });
    });
    this.#log.addEventListener("click", () =>
      change({ log_scale: this.#log.getAttribute("aria-checked") !== "true" }),
    );
    this.#log.append(element("span", "ew-quiet", {}, "Log scale"), element("span", "ew-track"));
    this.root = element(
      "div",
      "ew-controls",
      {},
      group,
      element("label", "ew-field", {}, element("span", "ew-quiet", {}, "X axis"), this.#axis),
      this.#log,
      this.#readout,
    );
  }

  /** @param axis - what the run shown is really drawn over; a search for a learning rate leaves no choice */
  update(settings: Settings, axis: string = settings.x_axis): void {
    for (const [view, button] of this.#views) {
      setAttribute(button, "aria-pressed", String(view === settings.granularity));
    }
    const fixed = axis === RATE;
    this.#axis.disabled = fixed;
    this.#rate.hidden = !fixed;
    const shown = fixed ? axis : settings.x_axis;
    if (this.#axis.value !== shown) this.#axis.value = shown;
    setAttribute(this.#log, "aria-checked", String(settings.log_scale));
  }

  /** Shows the place under the crosshair. */
  read(text: string): void {
    setText(this.#readout, text);
  }
}
