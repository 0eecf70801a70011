/** An `Ink` that writes SVG: the picture stands by itself, with its text as text. */
import type { Ink } from "./ink";

const ANCHORS: Readonly<Record<string, string>> = { left: "start", center: "middle", right: "end" };
// Where the first line of a text stands, as parts of the size of its letters.
const RISE: Readonly<Record<string, number>> = { top: 0.8, middle: 0.36, alphabetic: 0 };

/** Writes SVG. */
export class SvgInk implements Ink {
  readonly isVector = true;
  fillStyle: string | CanvasGradient | CanvasPattern = "#000";
  strokeStyle: string | CanvasGradient | CanvasPattern = "#000";
  lineWidth = 1;
  globalAlpha = 1;
  font = "11px sans-serif";
  lineJoin: CanvasLineJoin = "miter";
  textAlign: CanvasTextAlign = "left";
  textBaseline: CanvasTextBaseline = "alphabetic";
  readonly #ruler: Pick<CanvasRenderingContext2D, "font" | "measureText">;
  readonly #parts: string[] = [];
  /** How many groups each `save` has opened. */
  readonly #groups: number[] = [0];
  #dash: readonly number[] = [];
  #path = "";
  #clips = 0;

  /** @param ruler - measures texts, as a canvas does */
  constructor(ruler: Pick<CanvasRenderingContext2D, "font" | "measureText">) {
    this.#ruler = ruler;
  }

  /** The whole picture. */
  svg(width: number, height: number, title: string): string {
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
      `<title>${escaped(title)}</title>`,
      ...this.#parts,
      "</svg>",
    ].join("\n");
  }

  beginPath(): void {
    this.#path = "";
  }

  moveTo(x: number, y: number): void {
    this.#path += `M${short(x)} ${short(y)}`;
  }

  lineTo(x: number, y: number): void {
    this.#path += `${this.#path === "" ? "M" : "L"}${short(x)} ${short(y)}`;
  }

  /** Whole circles only. */
  arc(x: number, y: number, r: number): void {
    const [left, right, size] = [short(x - r), short(x + r), short(r)];
    this.#path += `M${left} ${short(y)}A${size} ${size} 0 1 0 ${right} ${short(y)}A${size} ${size} 0 1 0 ${left} ${short(y)}Z`;
  }

  rect(x: number, y: number, width: number, height: number): void {
    this.#path += `M${short(x)} ${short(y)}h${short(width)}v${short(height)}h${short(-width)}Z`;
  }

  closePath(): void {
    this.#path += "Z";
  }

  stroke(): void {
    if (this.#path === "") return;
    const dash = this.#dash.length > 0 ? ` stroke-dasharray="${this.#dash.join(" ")}"` : "";
    const alpha = this.globalAlpha < 1 ? ` stroke-opacity="${this.globalAlpha}"` : "";
    this.#parts.push(
      `<path d="${this.#path}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}" stroke-linejoin="round"${dash}${alpha}/>`,
    );
  }

  fill(): void {
    if (this.#path === "") return;
    const alpha = this.globalAlpha < 1 ? ` fill-opacity="${this.globalAlpha}"` : "";
    this.#parts.push(`<path d="${this.#path}" fill="${this.fillStyle}"${alpha}/>`);
  }

  clip(): void {
    const id = `clip${++this.#clips}`;
    this.#parts.push(`<clipPath id="${id}"><path d="${this.#path}"/></clipPath><g clip-path="url(#${id})">`);
    this.#groups[this.#groups.length - 1]!++;
  }

  translate(x: number, y: number): void {
    this.#parts.push(`<g transform="translate(${short(x)} ${short(y)})">`);
    this.#groups[this.#groups.length - 1]!++;
  }

  save(): void {
    this.#groups.push(0);
  }

  restore(): void {
    this.#parts.push("</g>".repeat(this.#groups.pop() ?? 0));
  }

  setLineDash(dash: readonly number[]): void {
    this.#dash = dash;
  }

  measureText(text: string): TextMetrics {
    this.#ruler.font = this.font;
    return this.#ruler.measureText(text);
  }

  fillRect(x: number, y: number, width: number, height: number): void {
    this.beginPath();
    this.rect(x, y, width, height);
    this.fill();
  }

  fillText(text: string, x: number, y: number): void {
    const [, style = "", size = "11", family = "sans-serif"] = /^(.*?)([\d.]+)px (.*)$/.exec(this.font) ?? [];
    const weight = style.trim() === "" ? "" : ` font-weight="${escaped(style.trim())}"`;
    const rise = (RISE[this.textBaseline] ?? 0) * Number(size);
    this.#parts.push(
      `<text x="${short(x)}" y="${short(y + rise)}" text-anchor="${ANCHORS[this.textAlign] ?? "start"}" font-family="${escaped(family)}" font-size="${size}"${weight} fill="${this.fillStyle}" xml:space="preserve">${escaped(text)}</text>`,
    );
  }
}

function short(n: number): string {
  return String(Math.round(n * 100) / 100);
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Text as XML holds it; what XML cannot hold is left out. */
export function escaped(text: string): string {
  return (
    text
      .replace(/\p{Surrogate}/gu, "\ufffd")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML has no place for.
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
      .replace(/[&<>"]/g, (c: string) => ENTITIES[c]!)
  );
}
