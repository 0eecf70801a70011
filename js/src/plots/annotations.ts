/** What is drawn beside lines: epoch borders and marks behind them; the best point, NaN and infinities over them. */
import type uPlot from "uplot";
import type { Line } from "../panels";
import type { Series } from "../series";
import type { Palette } from "../theme";
import type { Timeline } from "../timeline";
import type { Mark } from "../wire";

/** What annotations tell. */
export interface Notes {
  readonly timeline: Timeline;
  readonly lines: readonly Line[];
  readonly marks: readonly Mark[];
  /** Whether marks are labelled here: once is enough. */
  readonly labelMarks: boolean;
  /** The series whose lowest point is marked as the best. */
  readonly best: Series | null;
  readonly palette: Palette;
}

const BORDER_ROOM = 32;

/** Draws what belongs behind the lines. */
export function annotateBehind(u: uPlot, notes: Notes, fontSize: number): void {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineWidth = ratio;
  ctx.font = `${fontSize * ratio}px ${notes.palette.font}`;
  drawBorders(u, notes, ratio);
  drawMarks(u, notes, ratio);
  ctx.restore();
}

/** Draws what belongs over the lines. */
export function annotateOver(u: uPlot, notes: Notes): void {
  u.ctx.save();
  for (const line of notes.lines) {
    drawNonFinite(u, notes, line, devicePixelRatio);
    if (line.series === notes.best) drawBest(u, notes, line, devicePixelRatio);
  }
  u.ctx.restore();
}

/** Dashed hairlines where epochs meet, thinned until they have room. */
function drawBorders(u: uPlot, { timeline, palette }: Notes, ratio: number): void {
  const borders = timeline.borders();
  const room = (x(u, timeline.end) - x(u, timeline.start)) / borders.length;
  let every = 1;
  for (let k = 0; room * every < BORDER_ROOM * ratio && every < borders.length; k++) {
    every = [1, 2, 5][k % 3]! * 10 ** Math.floor(k / 3);
  }
  u.ctx.strokeStyle = palette.hairline;
  u.ctx.setLineDash([3 * ratio, 4 * ratio]);
  verticals(
    u,
    borders.filter((_, k) => (k + 1) % every === 0).map((border) => x(u, border)),
    ratio,
  );
}

/** What the person marked: a line, and on one panel its text. */
function drawMarks(u: uPlot, notes: Notes, ratio: number): void {
  const { marks, timeline, palette, labelMarks } = notes;
  const { ctx, bbox } = u;
  const places = marks.map((mark) => x(u, timeline.markPlace(mark)));
  ctx.strokeStyle = palette.faint;
  ctx.setLineDash([]);
  verticals(u, places, ratio);
  if (!labelMarks) return;
  ctx.fillStyle = palette.text;
  ctx.textBaseline = "top";
  const gap = 4 * ratio;
  marks.forEach(({ text }, k) => {
    const at = places[k]!;
    const before = at - (places[k - 1] ?? bbox.left) - 2 * gap;
    const after = (places[k + 1] ?? bbox.left + bbox.width) - at - 2 * gap;
    // At the right edge there may be more room on the line's other side.
    const left = k === marks.length - 1 && before > after && ctx.measureText(text.slice(0, 8)).width > after;
    ctx.textAlign = left ? "right" : "left";
    ctx.fillText(
      shortened(ctx, text, left ? before : after),
      left ? at - gap : at + gap,
      // Below the crosses of what is not finite; and below the label before, which reaches into the same room.
      bbox.top + (left && k > 0 ? 23 : 8) * ratio,
    );
  });
}

/** A triangle over the lowest point. */
function drawBest(u: uPlot, { timeline, palette }: Notes, { series, stroke }: Line, ratio: number): void {
  const i = series.lowest();
  if (i < 0) return;
  const at = x(u, timeline.placement(series)(i));
  const top = u.valToPos(series.value(i), "y", true) - 6 * ratio;
  // A log scale cannot show every value.
  if (top > u.bbox.top + u.bbox.height) return;
  u.ctx.fillStyle = palette.lines[stroke.colour];
  u.ctx.beginPath();
  u.ctx.moveTo(at, top);
  u.ctx.lineTo(at - 4.5 * ratio, top - 7 * ratio);
  u.ctx.lineTo(at + 4.5 * ratio, top - 7 * ratio);
  u.ctx.fill();
}

/** A cross at the upper edge over every NaN or infinity, or over every stretch of them. */
function drawNonFinite(
  u: uPlot,
  { timeline, palette }: Notes,
  { series, stroke }: Line,
  ratio: number,
): void {
  const place = timeline.placement(series);
  const size = 3 * ratio;
  const y = u.bbox.top + size;
  let last = -Infinity;
  u.ctx.strokeStyle = palette.lines[stroke.colour];
  u.ctx.lineWidth = 1.75 * ratio;
  u.ctx.beginPath();
  for (const i of series.nonFinite()) {
    const at = x(u, place(i));
    if (at - last < 2.5 * size) continue;
    last = at;
    u.ctx.moveTo(at - size, y - size);
    u.ctx.lineTo(at + size, y + size);
    u.ctx.moveTo(at - size, y + size);
    u.ctx.lineTo(at + size, y - size);
  }
  u.ctx.stroke();
}

function x(u: uPlot, place: number): number {
  return u.valToPos(place, "x", true);
}

/** Lines from top to bottom, moved to where they cover whole pixels. */
function verticals({ ctx, bbox }: uPlot, places: readonly number[], width: number): void {
  ctx.beginPath();
  for (const place of places) {
    const at = Math.round(place - width / 2) + width / 2;
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bbox.top + bbox.height);
  }
  ctx.stroke();
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
