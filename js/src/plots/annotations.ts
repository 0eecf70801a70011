/** What is drawn beside lines: epoch borders and marks behind them; the best point, NaN and infinities over them. */
import type { Line } from "../panels";
import type { Palette } from "../theme";
import type { Axis, Timeline } from "../timeline";
import type { Mark } from "../wire";
import type { Area } from "./drawing";
import type { Ink } from "./ink";

/** What annotations tell. */
export interface Notes {
  readonly axis: Axis;
  /** That of the run whose epochs and marks are shown. */
  readonly timeline: Timeline;
  readonly lines: readonly Line[];
  readonly marks: readonly Mark[];
  /** Whether marks are labelled here: once is enough. */
  readonly labelMarks: boolean;
  readonly palette: Palette;
}

const BORDER_ROOM = 32;
/** What a framework's callback marks when a checkpoint was saved. */
export const CHECKPOINT = "checkpoint";
/** What no person wrote: drops of the learning rate, and what callbacks of ours mark. */
const BY_ITSELF = /^(lr\b.* → |early stopping$|weights restored from here$)/;

/** Draws what belongs behind the lines. */
export function annotateBehind(ink: Ink, area: Area, notes: Notes): void {
  ink.lineWidth = 1;
  drawBorders(ink, area, notes);
  drawMarks(ink, area, notes);
}

/** Draws what belongs over the lines. */
export function annotateOver(ink: Ink, area: Area, notes: Notes): void {
  for (const line of notes.lines) {
    drawNonFinite(ink, area, notes, line);
    drawBest(ink, area, notes, line);
  }
}

/** Dashed hairlines where epochs meet, thinned until they have room. */
function drawBorders(ink: Ink, area: Area, { timeline, palette }: Notes): void {
  const every = thinning(area, timeline);
  ink.strokeStyle = palette.hairline;
  ink.setLineDash([3, 4]);
  verticals(
    ink,
    area,
    timeline
      .borders()
      .filter((_, k) => (k + 1) % every === 0)
      .map((border) => area.x(border)),
  );
}

/** Every which border is drawn. */
export function thinning(area: Area, timeline: Timeline): number {
  const { length } = timeline.borders();
  const room = (area.x(timeline.end) - area.x(timeline.start)) / length;
  let every = 1;
  for (let k = 0; room * every < BORDER_ROOM && every < length; k++) {
    every = [1, 2, 5][k % 3]! * 10 ** Math.floor(k / 3);
  }
  return every;
}

/** What was marked: a line, and on one panel its text. */
function drawMarks(ink: Ink, area: Area, notes: Notes): void {
  const { timeline, palette, labelMarks } = notes;
  const right = area.left + area.width;
  const within = notes.marks
    .map((mark) => ({ text: mark.text, at: area.x(timeline.markPlace(mark)) }))
    .filter(({ at }) => at >= area.left - 1 && at <= right + 1)
    // At the very end of the axis a line would stand outside.
    .map(({ text, at }) => ({ text, at: Math.min(at, right - 1) }));
  const marks = within.filter(({ text }) => text !== CHECKPOINT);
  ink.strokeStyle = palette.faint;
  ink.setLineDash([]);
  verticals(
    ink,
    area,
    marks.map(({ at }) => at),
  );
  // There may be one in every epoch.
  for (const { text, at } of within)
    if (text === CHECKPOINT) triangle(ink, at, area.top + area.height - 6, 6, palette.faint);
  if (labelMarks) drawLabels(ink, area, marks, palette);
}

interface Place {
  readonly row: number;
  readonly from: number;
  readonly room: number;
  readonly isLeft: boolean;
}

/** The texts of marks, in as many rows as they need and there are; what a person wrote goes before all else. */
function drawLabels(
  ink: Ink,
  area: Area,
  marks: readonly { text: string; at: number }[],
  palette: Palette,
): void {
  const gap = 4;
  const right = area.left + area.width;
  const rows: [from: number, to: number][][] = Array.from({ length: area.height > 160 ? 3 : 1 }, () => []);
  /** Where a label that begins at a mark, or ends at it, may stand in a row, until the next label. */
  const placeIn = (row: number, at: number, isLeft: boolean): Place => {
    const edge = isLeft ? at - gap : at + gap;
    const taken = rows[row]!;
    if (taken.some(([from, to]) => from < edge && edge < to)) return { row, from: edge, room: 0, isLeft };
    const end = isLeft
      ? Math.max(area.left, ...taken.filter(([, to]) => to <= edge).map(([, to]) => to))
      : Math.min(right, ...taken.filter(([from]) => from >= edge).map(([from]) => from));
    return { row, from: edge, room: Math.abs(end - edge) - gap, isLeft };
  };
  ink.fillStyle = palette.text;
  ink.textBaseline = "top";
  const own = (text: string) => Number(BY_ITSELF.test(text));
  for (const { text, at } of [...marks].sort((a, b) => own(a.text) - own(b.text))) {
    const whole = text.length > 80 ? `${text.slice(0, 79)}…` : text;
    const width = ink.measureText(whole).width;
    const places = rows.flatMap((_, row) => [placeIn(row, at, false), placeIn(row, at, true)]);
    const place =
      places.find(({ room }) => room >= width) ?? places.reduce((a, b) => (b.room > a.room ? b : a));
    const label = shortened(ink, whole, place.room);
    if (label === "") continue;
    const { row, from, isLeft } = place;
    const length = ink.measureText(label).width;
    rows[row]!.push(isLeft ? [from - length, from] : [from, from + length]);
    ink.textAlign = isLeft ? "right" : "left";
    // Below the crosses of what is not finite.
    ink.fillText(label, from, area.top + 8 + 15 * row);
  }
}

/** A triangle over the best point. */
function drawBest(ink: Ink, area: Area, { palette }: Notes, { series, stroke, of, best }: Line): void {
  if (best < 0) return;
  const at = area.x(of.timeline.placement(series)(best));
  const top = area.y(series.value(best)) - 6;
  // A log scale cannot show every value, nor a part every point.
  if (!(top > area.top - 6 && top < area.top + area.height)) return;
  if (at < area.left - 1 || at > area.left + area.width + 1) return;
  triangle(ink, at, top, -7, palette.lines[stroke.colour]);
}

/** A filled triangle with its tip at a point. */
export function triangle(ink: Ink, x: number, tip: number, height: number, colour: string): void {
  ink.fillStyle = colour;
  ink.beginPath();
  ink.moveTo(x, tip);
  ink.lineTo(x - 4.5, tip + height);
  ink.lineTo(x + 4.5, tip + height);
  ink.closePath();
  ink.fill();
}

/** A cross at the upper edge over every NaN or infinity, or over every stretch of them. */
function drawNonFinite(ink: Ink, area: Area, { palette }: Notes, { series, stroke, of }: Line): void {
  const place = of.timeline.placement(series);
  const size = 3;
  const y = area.top + size;
  let last = -Infinity;
  ink.strokeStyle = palette.lines[stroke.colour];
  ink.lineWidth = 1.75;
  ink.beginPath();
  for (const i of series.nonFinite()) {
    const at = area.x(place(i));
    if (at - last < 2.5 * size || at < area.left || at > area.left + area.width) continue;
    last = at;
    ink.moveTo(at - size, y - size);
    ink.lineTo(at + size, y + size);
    ink.moveTo(at - size, y + size);
    ink.lineTo(at + size, y - size);
  }
  ink.stroke();
}

/** Lines from top to bottom. */
function verticals(ink: Ink, area: Area, pixels: readonly number[]): void {
  ink.beginPath();
  for (const pixel of pixels) {
    const at = area.snap(pixel);
    ink.moveTo(at, area.top);
    ink.lineTo(at, area.top + area.height);
  }
  ink.stroke();
}

/** The text, or as much of it as fits, with an ellipsis; empty if hardly anything does. */
function shortened(ink: Ink, whole: string, room: number): string {
  if (ink.measureText(whole).width <= room) return whole;
  let end = whole.length - 1;
  while (end > 0 && ink.measureText(`${whole.slice(0, end)}…`).width > room) end--;
  return end < 2 ? "" : `${whole.slice(0, end)}…`;
}
