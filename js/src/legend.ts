/** A panel's legend: every line in words, with its last value, and the button that shows or hides it. */
import { arrange, element, on, setAttribute, setText } from "./element";
import type { Expected, Line, Stroke } from "./panels";

const SVG = "http://www.w3.org/2000/svg";

interface Entry {
  readonly item: HTMLLIElement;
  readonly button: HTMLButtonElement;
  readonly swatch: SVGSVGElement;
  readonly label: HTMLElement;
  readonly kind: HTMLElement;
  readonly aside: HTMLElement;
  readonly value: HTMLElement;
  readonly best: HTMLElement;
  look: string;
  line: Line;
}

/** The list of a panel's lines. */
export class Legend {
  readonly root = element("ul", "ew-legend");
  readonly #entries = new Map<string, Entry>();
  readonly #rooms: HTMLElement[] = [];
  readonly #toggle: (line: Line, alone: boolean) => void;

  /** @param toggle - asked to show or hide a line, or to show it alone */
  constructor(toggle: (line: Line, alone: boolean) => void) {
    this.#toggle = toggle;
  }

  /**
   * @param expected - the lines that are likely to come: their room is kept, so that nothing jumps when they do
   * @param textOf - the texts of the value to show for a line, and of its best
   */
  update(
    lines: readonly Line[],
    expected: readonly Expected[],
    textOf: (line: Line) => readonly [string, string],
  ): void {
    const items: HTMLElement[] = lines.map((line) => {
      const entry = this.#entries.get(line.key) ?? this.#add(line);
      entry.line = line;
      setText(entry.label, line.label);
      // What stands in brackets goes where there is no room for it; the title always has it.
      const [kind, ...aside] = line.kind.split(/(?= \()/);
      setText(entry.kind, kind!);
      setText(entry.aside, aside.join(""));
      const [value, best] = textOf(line);
      setText(entry.value, value);
      setText(entry.best, best);
      setAttribute(entry.button, "aria-pressed", String(line.shown));
      setAttribute(
        entry.button,
        "title",
        `${line.label} ${line.kind}: click to ${line.shown ? "hide" : "show"}, Alt-click to show it alone`,
      );
      const look = JSON.stringify(line.stroke);
      if (look !== entry.look) {
        entry.look = look;
        drawSwatch(entry.swatch, line.stroke);
      }
      return entry.item;
    });
    const rooms = expected.map((kind, k) => {
      const room = this.#rooms[k] ?? element("li", "", { "aria-hidden": "true" });
      this.#rooms[k] = room;
      setAttribute(room, "class", `ew-expected ew-expected-${kind}`);
      return room;
    });
    arrange(this.root, [...items, ...rooms]);
  }

  #add(line: Line): Entry {
    const swatch = emptySwatch();
    const label = element("span", "ew-label");
    const kind = element("span", "ew-quiet ew-kind");
    const aside = element("span", "ew-quiet ew-aside");
    const value = element("b", "ew-value");
    // The spaces keep the words apart in the button's accessible name.
    const best = element("span", "ew-quiet ew-at-best");
    const words = [swatch, label, " ", kind, aside, " ", value, " ", best];
    const button = element("button", "ew-entry", { type: "button" }, ...words);
    const item = element("li", "", {}, button);
    const entry: Entry = { item, button, swatch, label, kind, aside, value, best, look: "", line };
    on(button, "click", ({ altKey }) => this.#toggle(entry.line, altKey));
    this.#entries.set(line.key, entry);
    return entry;
  }
}

function emptySwatch(): SVGSVGElement {
  const made = document.createElementNS(SVG, "svg");
  for (const [name, value] of [
    ["class", "ew-swatch"],
    ["viewBox", "0 0 24 12"],
    ["aria-hidden", "true"],
  ] as const) {
    made.setAttribute(name, value);
  }
  return made;
}

/** A short piece of a line as the plot draws it. */
export function swatch(stroke: Stroke): SVGSVGElement {
  const made = emptySwatch();
  drawSwatch(made, stroke);
  return made;
}

/** Draws a short piece of a line as the plot draws it. */
function drawSwatch(swatch: SVGSVGElement, stroke: Stroke): void {
  const colour = `var(--ew-line-${stroke.colour})`;
  const line = shape("line", {
    x1: "1",
    x2: "23",
    y1: "6",
    y2: "6",
    "stroke-width": String(Math.max(1.5, stroke.width)),
    "stroke-dasharray": stroke.dash.join(" ") || "none",
  });
  line.style.stroke = colour;
  line.style.strokeOpacity = String(stroke.opacity);
  swatch.replaceChildren(line);
  if (stroke.marker === "none") return;
  const ring = stroke.marker === "ring";
  const marker = shape("circle", { cx: "12", cy: "6", r: ring ? "3.2" : "3", "stroke-width": "1.75" });
  marker.style.fill = ring ? "var(--ew-surface)" : colour;
  marker.style.stroke = ring ? colour : "none";
  swatch.append(marker);
}

function shape(tag: "line" | "circle", attributes: Readonly<Record<string, string>>): SVGElement {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
