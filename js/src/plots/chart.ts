/**
 * One plot on a canvas: axes, grid, epoch borders, marks, lines and markers; over it the crosshair.
 *
 * Drawn by hand. A plotting library scans and copies every point of every series on each append, and wants all
 * series of a plot on one x; here a validation point stands where it was measured, whatever the batches do,
 * and the cost of a drawing follows the plot's width.
 */
import { element } from "../element";
import type { Line, Panel } from "../panels";
import type { Series } from "../series";
import type { Palette } from "../theme";
import type { Timeline } from "../timeline";
import type { Mark } from "../wire";
import { placeTicks, type Tick, type ValueAxis } from "./axis";
import { trace } from "./lines";

/** Everything one drawing of a plot needs. */
export interface Picture {
  readonly panel: Panel;
  readonly timeline: Timeline;
  /** The ends of the x axis. */
  readonly start: number;
  readonly end: number;
  readonly axis: ValueAxis;
  readonly marks: readonly Mark[];
  /** Whether marks are labelled here: once is enough. */
  readonly labelMarks: boolean;
  /** The series whose lowest point is marked as the best. */
  readonly best: Series | null;
  readonly palette: Palette;
}

const FONT_SIZE = 11;
// Above one point in so many pixels, markers would hide their line, and dashes would cost more than they say.
const MARKER_ROOM = 9;
const DASH_ROOM = 1;
const BORDER_ROOM = 32;
// Room around the plot for labels and for what reaches over the edge.
const TOP = 8;
const RIGHT = 12;
const BOTTOM = 24;
// A common least width keeps plots in a column in line.
const LEFT = 46;
const LABEL_GAP = 8;

/** The plot's own area in pixels of the canvas. */
interface Area {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** A plot in the page. */
export class Chart {
  readonly #canvas = element("canvas", "", { "aria-hidden": "true" });
  readonly #crosshair = element("div", "ew-crosshair", { hidden: "" });
  readonly #ctx: CanvasRenderingContext2D | null = this.#canvas.getContext("2d");
  #picture: Picture | null = null;
  #place: number | null = null;
  // Pixels of the canvas in one of the page.
  #ratio = 1;
  #area: Area = { left: 0, top: 0, width: 1, height: 1 };

  /** @param onCursor - told the place under the pointer, or null when it leaves */
  constructor(host: HTMLElement, onCursor: (place: number | null) => void) {
    host.append(this.#canvas, this.#crosshair);
    this.#canvas.addEventListener("pointermove", (event) => onCursor(this.#placeAt(event.offsetX)));
    this.#canvas.addEventListener("pointerleave", () => onCursor(null));
  }

  /** Draws a picture into an area of the page of this size. */
  draw(picture: Picture, width: number, height: number): void {
    const ctx = this.#ctx;
    if (ctx === null) return;
    this.#picture = picture;
    this.#fit(width, height);
    const ratio = this.#ratio;
    ctx.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    ctx.font = `${FONT_SIZE * ratio}px ${picture.palette.font}`;
    const inner = height - TOP - BOTTOM;
    const ticksY = picture.axis.ticks(inner);
    const labels = Math.max(0, ...ticksY.map((tick) => ctx.measureText(tick.label).width));
    const left = Math.ceil(Math.max(LEFT * ratio, labels + (LABEL_GAP + 2) * ratio));
    this.#area = {
      left,
      top: TOP * ratio,
      width: Math.max(1, Math.round((width - RIGHT) * ratio) - left),
      height: Math.round(inner * ratio),
    };
    this.#paintAxes(ctx, ticksY);
    this.#paint(ctx, picture);
    this.#moveCrosshair();
  }

  /** Puts the crosshair on a place, or takes it away. */
  point(place: number | null): void {
    this.#place = place;
    this.#moveCrosshair();
  }

  destroy(): void {
    this.#canvas.remove();
    this.#crosshair.remove();
  }

  #fit(width: number, height: number): void {
    this.#ratio = window.devicePixelRatio || 1;
    const wide = Math.round(width * this.#ratio);
    const high = Math.round(height * this.#ratio);
    if (this.#canvas.width === wide && this.#canvas.height === high) return;
    this.#canvas.width = wide;
    this.#canvas.height = high;
    this.#canvas.style.width = `${width}px`;
    this.#canvas.style.height = `${height}px`;
  }

  #x(place: number): number {
    const { start, end } = this.#picture!;
    return this.#area.left + ((place - start) / (end - start)) * this.#area.width;
  }

  /** Where a value stands, NaN if the axis cannot show it. */
  #y(value: number): number {
    const { axis } = this.#picture!;
    return this.#level(axis.place(value));
  }

  #level(at: number): number {
    const { axis } = this.#picture!;
    return this.#area.top + (1 - (at - axis.min) / (axis.max - axis.min)) * this.#area.height;
  }

  #placeAt(offset: number): number | null {
    if (this.#picture === null) return null;
    const part = (offset * this.#ratio - this.#area.left) / this.#area.width;
    if (part < -0.02 || part > 1.02) return null;
    const { start, end } = this.#picture;
    return start + Math.min(1, Math.max(0, part)) * (end - start);
  }

  #moveCrosshair(): void {
    const hidden = this.#place === null || this.#picture === null;
    this.#crosshair.hidden = hidden;
    if (hidden) return;
    const { style } = this.#crosshair;
    style.transform = `translateX(${Math.round(this.#x(this.#place!) / this.#ratio)}px)`;
    style.top = `${this.#area.top / this.#ratio}px`;
    style.height = `${this.#area.height / this.#ratio}px`;
  }

  #paintAxes(ctx: CanvasRenderingContext2D, ticksY: readonly Tick[]): void {
    const { palette, start, end } = this.#picture!;
    const { left, top, width, height } = this.#area;
    const ratio = this.#ratio;
    ctx.fillStyle = palette.faint;
    ctx.strokeStyle = palette.grid;
    ctx.lineWidth = ratio;
    ctx.setLineDash([]);
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    ctx.beginPath();
    for (const { at, label } of ticksY) {
      const y = this.#level(at);
      ctx.fillText(label, left - LABEL_GAP * ratio, y);
      ctx.moveTo(left, crisp(y, ratio));
      ctx.lineTo(left + width, crisp(y, ratio));
    }
    ctx.stroke();
    ctx.textBaseline = "alphabetic";
    const right = left + width + RIGHT * ratio;
    for (const { at, label } of placeTicks(start, end, width / ratio)) {
      // The last label stands under its tick as far as the edge lets it.
      const half = ctx.measureText(label).width / 2;
      ctx.textAlign = "center";
      ctx.fillText(label, Math.min(this.#x(at), right - half), top + height + 17 * ratio);
    }
  }

  #paint(ctx: CanvasRenderingContext2D, picture: Picture): void {
    const { left, top, width, height } = this.#area;
    const lines = picture.panel.lines.filter((line) => line.shown);
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    this.#paintBorders(ctx);
    this.#paintMarks(ctx);
    ctx.restore();

    ctx.save();
    ctx.lineJoin = "round";
    for (const line of lines) this.#paintLine(ctx, line);
    for (const line of lines) this.#paintMarkers(ctx, line);
    for (const line of lines) this.#paintNonFinite(ctx, line);
    ctx.restore();
  }

  /** Dashed hairlines where epochs meet, thinned until they have room. */
  #paintBorders(ctx: CanvasRenderingContext2D): void {
    const { timeline, start, end, palette } = this.#picture!;
    const borders = timeline.borders();
    const ratio = this.#ratio;
    const room =
      borders.length > 0 ? this.#area.width / ((borders.length * (end - start)) / (timeline.end - start)) : 0;
    let every = 1;
    for (let k = 0; room * every < BORDER_ROOM * ratio && every < borders.length; k++) {
      every = [1, 2, 5][k % 3]! * 10 ** Math.floor(k / 3);
    }
    ctx.strokeStyle = palette.hairline;
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 4 * ratio]);
    ctx.beginPath();
    for (let k = every - 1; k < borders.length; k += every) {
      const x = crisp(this.#x(borders[k]!), ratio);
      ctx.moveTo(x, this.#area.top);
      ctx.lineTo(x, this.#area.top + this.#area.height);
    }
    ctx.stroke();
  }

  /** What the person marked: a line, and on one panel its text. */
  #paintMarks(ctx: CanvasRenderingContext2D): void {
    const { marks, timeline, palette, labelMarks } = this.#picture!;
    if (marks.length === 0) return;
    const ratio = this.#ratio;
    const places = marks.map((mark) => this.#x(timeline.position(mark.step)));
    ctx.setLineDash([]);
    ctx.strokeStyle = palette.faint;
    ctx.lineWidth = ratio;
    ctx.beginPath();
    for (const x of places) {
      ctx.moveTo(crisp(x, ratio), this.#area.top);
      ctx.lineTo(crisp(x, ratio), this.#area.top + this.#area.height);
    }
    ctx.stroke();
    if (!labelMarks) return;
    ctx.fillStyle = palette.text;
    ctx.font = `${FONT_SIZE * ratio}px ${palette.font}`;
    ctx.textBaseline = "top";
    marks.forEach((mark, k) => {
      const x = places[k]! + 4 * ratio;
      const end = Math.min(places[k + 1] ?? Number.POSITIVE_INFINITY, this.#area.left + this.#area.width);
      const left = places[k]! - this.#area.left;
      const fits = shortened(ctx, mark.text, end - x - 4 * ratio);
      // At the right edge there may be more room on the line's other side.
      if (fits.length < Math.min(mark.text.length, 8) && places[k + 1] === undefined) {
        const before = shortened(
          ctx,
          mark.text,
          left - ((places[k - 1] ?? this.#area.left) - this.#area.left) - 8 * ratio,
        );
        ctx.textAlign = "right";
        ctx.fillText(before, places[k]! - 4 * ratio, this.#area.top + 2 * ratio);
      } else {
        ctx.textAlign = "left";
        ctx.fillText(fits, x, this.#area.top + 2 * ratio);
      }
    });
  }

  #paintLine(ctx: CanvasRenderingContext2D, line: Line): void {
    const { timeline, panel, palette } = this.#picture!;
    const ratio = this.#ratio;
    const { stroke, series } = line;
    const place = timeline.placement(series);
    const path = new Path2D();
    trace(
      series,
      {
        x: (i) => this.#x(place(i)),
        y: (value) => this.#y(value),
        log: panel.log,
      },
      path,
    );
    ctx.strokeStyle = palette.lines[stroke.colour];
    ctx.globalAlpha = stroke.opacity;
    ctx.lineWidth = stroke.width * ratio;
    const dense = series.count * DASH_ROOM * ratio > this.#area.width;
    ctx.setLineDash(dense ? [] : stroke.dash.map((length) => length * ratio));
    ctx.stroke(path);
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  }

  #paintMarkers(ctx: CanvasRenderingContext2D, line: Line): void {
    const { timeline, palette, best } = this.#picture!;
    const { stroke, series } = line;
    const ratio = this.#ratio;
    const place = timeline.placement(series);
    const at = (i: number): [number, number] => [this.#x(place(i)), this.#y(series.value(i))];
    const colour = palette.lines[stroke.colour];
    // A lone point has no line yet, so it always gets a marker.
    const lone = series.count === 1;
    if ((stroke.marker !== "none" || lone) && series.count * MARKER_ROOM * ratio <= this.#area.width) {
      for (let i = 0; i < series.end; i++) {
        if (!series.has(i)) continue;
        const [x, y] = at(i);
        if (!Number.isFinite(y)) continue;
        ctx.beginPath();
        ctx.arc(x, y, (stroke.marker === "ring" ? 3.5 : 3) * ratio, 0, 2 * Math.PI);
        ctx.fillStyle = stroke.marker === "ring" ? palette.surface : colour;
        ctx.fill();
        if (stroke.marker !== "ring") continue;
        ctx.strokeStyle = colour;
        ctx.lineWidth = 1.75 * ratio;
        ctx.stroke();
      }
    }
    if (series !== best) return;
    const lowest = series.lowest();
    if (lowest < 0) return;
    const [x, y] = at(lowest);
    if (!Number.isFinite(y)) return;
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.moveTo(x, y - 6 * ratio);
    ctx.lineTo(x - 4.5 * ratio, y - 13 * ratio);
    ctx.lineTo(x + 4.5 * ratio, y - 13 * ratio);
    ctx.fill();
  }

  /** A cross at the upper edge over every NaN or infinity, or over every stretch of them. */
  #paintNonFinite(ctx: CanvasRenderingContext2D, line: Line): void {
    const { timeline, palette } = this.#picture!;
    const { series, stroke } = line;
    const { nan, infinite } = series.extent;
    if (nan + infinite === 0) return;
    const ratio = this.#ratio;
    const place = timeline.placement(series);
    const size = 3 * ratio;
    const y = this.#area.top + size;
    let last = Number.NEGATIVE_INFINITY;
    ctx.strokeStyle = palette.lines[stroke.colour];
    ctx.lineWidth = 1.75 * ratio;
    ctx.beginPath();
    series.eachNonFinite((i) => {
      const x = this.#x(place(i));
      if (x - last < 2.5 * size) return;
      last = x;
      ctx.moveTo(x - size, y - size);
      ctx.lineTo(x + size, y + size);
      ctx.moveTo(x - size, y + size);
      ctx.lineTo(x + size, y - size);
    });
    ctx.stroke();
  }
}

/** The text, or as much of it as fits, with an ellipsis; empty if hardly anything does. */
function shortened(ctx: CanvasRenderingContext2D, text: string, room: number): string {
  // No label is worth more than this, and measuring a very long text would be slow.
  const whole = text.length > 80 ? `${text.slice(0, 79)}…` : text;
  if (ctx.measureText(whole).width <= room) return whole;
  let end = whole.length - 1;
  while (end > 0 && ctx.measureText(`${whole.slice(0, end)}…`).width > room) end--;
  return end < 2 ? "" : `${whole.slice(0, end)}…`;
}

/** Moves a thin line to where it covers whole pixels. */
function crisp(at: number, width: number): number {
  return Math.round(at - width / 2) + width / 2;
}
