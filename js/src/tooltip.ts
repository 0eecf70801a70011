/** What stands beside the crosshair: the place, and every value there under its full name. */
import { element } from "./element";
import { swatch } from "./legend";
import type { Stroke } from "./panels";

/** One line of the tooltip. */
export interface Row {
  readonly stroke: Stroke;
  readonly words: string;
  readonly value: string;
  readonly aside: string;
}

/** The tooltip of one view. */
export class Tooltip {
  readonly root = element("div", "ew-tooltip", { "aria-hidden": "true", hidden: "" });
  readonly #title = element("b", "");
  readonly #marks = element("div", "ew-tooltip-marks");
  readonly #rows = element("div", "ew-tooltip-rows");

  constructor() {
    this.root.append(this.#title, this.#marks, this.#rows);
  }

  /**
   * @param marks - what was marked there
   * @param card - what it must not reach out of
   * @param x - of the crosshair, and `y` of the plot's upper edge, in the page
   */
  show(
    title: string,
    marks: readonly string[],
    rows: readonly Row[],
    card: HTMLElement,
    x: number,
    y: number,
  ): void {
    this.#title.textContent = title;
    this.#marks.replaceChildren(
      ...marks.map((text) => element("div", "", {}, text.length > 160 ? `${text.slice(0, 159)}…` : text)),
    );
    this.#rows.replaceChildren(
      ...rows.map(({ stroke, words, value, aside }) =>
        element(
          "div",
          "ew-tooltip-row",
          {},
          swatch(stroke),
          element("span", "ew-tooltip-words", {}, words),
          element("b", "", {}, value),
          element("span", "ew-quiet", {}, aside),
        ),
      ),
    );
    this.root.hidden = false;
    const box = card.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.root;
    const gap = 12;
    const right = x - box.left + gap;
    const left = right + width <= box.width - 4 ? right : Math.max(4, x - box.left - gap - width);
    const top = Math.max(4, Math.min(y - box.top + 10, box.height - height - 4));
    this.root.style.cssText = `left:${left}px;top:${top}px`;
  }

  hide(): void {
    this.root.hidden = true;
  }
}
