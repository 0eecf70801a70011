/**
 * A plot's picture: axes, lines, and what stands beside the lines. Draws with any `Ink`, so that what is saved is
 * what was seen.
 */
import { rate } from "../format";
import type { Line, Stroke } from "../panels";
import { robust } from "../ranges";
import type { Series } from "../series";
import type { Palette } from "../theme";
import { annotateBehind, annotateOver, type Notes, triangle } from "./annotations";
import type { Ink } from "./ink";
import type { Sample, Sampler } from "./sample";
import {
  linearTicks,
  logTicks,
  padded,
  type Range,
  ROOM_X,
  ROOM_Y,
  tickLabels,
  timeLabels,
  timeTicks,
} from "./scales";

/** What a drawing is made of. */
export interface Motif extends Notes {
  readonly width: number;
  readonly height: number;
  /** The ends of the x axis. */
  readonly x: Range;
  readonly log: boolean;
  /** Whether the few values that are far away from all others may be left out of sight. */
  readonly clip: boolean;
  /** Whether the gap between training and validation is shaded. */
  readonly gap: boolean;
  /** Whether there is nothing but lines. */
  readonly bare: boolean;
  /** Pixels of the device in one of CSS. */
  readonly ratio: number;
}

/** Everything one drawing of a plot needs. */
export interface Picture extends Motif {
  /** The ends of the y axis. */
  readonly y: Range;
  readonly strands: readonly Strand[];
  /** From which place on its lines differ from those composed before: -Infinity if they may anywhere. */
  readonly from: number;
  /** The values that are out of sight: how many, and the farthest. */
  readonly clipped: { readonly count: number; readonly low: number; readonly high: number };
}

/** What is drawn of a line in one go: its values, or the average over them. */
interface Strand {
  readonly line: Line;
  readonly stroke: Stroke;
  readonly sample: Sample;
  /** Whether there are so many points that no marker or dash would be seen. */
  readonly dense: boolean;
  /** Whether these are values; an average beyond the scale is not marked. */
  readonly isRaw: boolean;
}

/** The part of a plot in which lines are drawn, and where things stand in it. */
export interface Area {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  /** Pixels of a place on the x axis, and back. */
  readonly x: (place: number) => number;
  readonly place: (x: number) => number;
  /** Pixels of a value. */
  readonly y: (value: number) => number;
  /** Moves a pixel to where a line of one pixel covers a whole one of the device. */
  readonly snap: (pixel: number) => number;
}

const FONT_SIZE = 11;
// Above one point in so many pixels, markers would hide their line.
const MARKER_ROOM = 9;
const LABEL_GAP = 8;
// Room around the plot for what reaches over the edge. A common least width keeps plots in a column in line.
const TOP = 8;
const RIGHT = 12;
const BOTTOM = 24;
const LEFT = 46;

/** Takes the points to be drawn, and finds the y axis that shows them. */
export function compose(motif: Motif, sampler: Sampler): Picture {
  const { lines, x, log, width, ratio } = motif;
  const window = { start: x[0], end: x[1], columns: Math.round(width * ratio) };
  const strands: Strand[] = [];
  // The values by run and split: a mean over an epoch is an outlier among its batches, not among few other means.
  const groups = new Map<string, { values: number[]; averages: number[][] }>();
  const clipped = { count: 0, low: Infinity, high: -Infinity };
  let low = Infinity;
  let high = -Infinity;
  let from = Infinity;
  const add = (line: Line, series: Series, stroke: Stroke): Sample => {
    const { timeline } = line.of;
    const taken = sampler.sample(series, timeline, timeline.placement(line.series), window, log);
    from = Math.min(from, sampler.changedFrom(series));
    strands.push({ line, stroke, sample: taken, dense: series.count > width, isRaw: series === line.series });
    return taken;
  };
  // The first run lies over the others, and its validation over its training.
  for (const line of [...lines].reverse().sort((a, b) => depth(a) - depth(b))) {
    const { series, smoothed, stroke } = line;
    const pale = { ...stroke, width: 1, opacity: motif.palette.pale, marker: "none", dash: [] } as const;
    const drawn =
      smoothed === null
        ? add(line, series, stroke)
        : stroke.beneath
          ? add(line, series, pale)
          : add(line, smoothed, stroke);
    const average = smoothed !== null && stroke.beneath ? add(line, smoothed, stroke) : null;
    const key = `${line.of.run.facts.id} ${series.spec.split} ${series.spec.panel}`;
    const group = groups.get(key) ?? { values: [], averages: [] };
    groups.set(key, group);
    for (const value of seen(drawn, x)) group.values.push(value);
    if (average !== null) group.averages.push(seen(average, x));
  }
  for (const { values, averages } of groups.values()) {
    const shown = motif.clip ? robust(values, log) : { ...ends(values), below: 0, above: 0 };
    low = Math.min(low, shown.low);
    high = Math.max(high, shown.high);
    // Of an average that lags behind its values, most is in sight, too; but not where it follows an outlier.
    for (const average of averages) {
      const all = ends(average);
      if (all.low >= low && all.high <= high) continue;
      const [bottom, top] = most(average);
      if (shown.below === 0) low = Math.min(low, bottom);
      if (shown.above === 0) high = Math.max(high, top);
    }
  }
  if (motif.clip) {
    // One line's outlier may lie within what another shows.
    for (const { values } of groups.values()) {
      for (const value of values) {
        if (value >= low && value <= high) continue;
        clipped.count++;
        if (value < low) clipped.low = Math.min(clipped.low, value);
        else clipped.high = Math.max(clipped.high, value);
      }
    }
  }
  return { ...motif, strands, from, clipped, y: padded(low, high, log) };
}

function depth({ stroke, series }: Line): number {
  return stroke.beneath ? 0 : series.spec.granularity === "batch" ? 1 : 2;
}

/** The ends of the middle four fifths. */
function most(values: readonly number[]): Range {
  const sorted = Float64Array.from(values).sort();
  const tenth = Math.floor(sorted.length / 10);
  return [sorted[tenth] ?? Infinity, sorted[sorted.length - 1 - tenth] ?? -Infinity];
}

function ends(values: readonly number[]): { low: number; high: number } {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

/** The values of a sample that stand on the x axis: it reaches one point beyond each end. */
function seen([places, values]: Sample, [start, end]: Range): number[] {
  const found: number[] = [];
  for (let i = 0; i < places.length; i++) {
    const value = values[i];
    if (value != null && places[i]! >= start && places[i]! <= end) found.push(value);
  }
  return found;
}

/**
 * Draws a picture, and returns where its lines were drawn.
 *
 * @param left - the pixel before which nothing of it is seen
 */
export function draw(ink: Ink, picture: Picture, left = 0): Area {
  const { palette, width, height } = picture;
  ink.font = `${FONT_SIZE}px ${palette.font}`;
  ink.lineJoin = "round";
  const area = picture.bare ? areaOf(picture, 1, 3, width - 2, height - 6) : drawAxes(ink, picture);
  const { top } = area;

  ink.save();
  ink.beginPath();
  ink.rect(area.left, top, area.width, area.height);
  ink.clip();
  if (!picture.bare) annotateBehind(ink, area, picture);
  if (picture.gap) shadeGap(ink, area, picture);
  ink.restore();

  ink.save();
  ink.beginPath();
  // Half a line may lie outside, where it runs along the edge.
  ink.rect(area.left, top - 2, area.width, area.height + 4);
  ink.clip();
  for (const strand of picture.strands) drawLine(ink, area, strand, picture, left);
  ink.restore();
  for (const strand of picture.strands) {
    if (picture.bare) continue;
    drawMarkers(ink, area, strand, picture);
    if (picture.clipped.count > 0 && strand.isRaw) markClipped(ink, area, strand, picture);
  }
  if (!picture.bare) annotateOver(ink, area, picture);
  return area;
}

/** Draws the axes, and returns what they leave for the lines. */
function drawAxes(ink: Ink, picture: Picture): Area {
  const { palette, y, log, width, height } = picture;
  const tall = height - TOP - BOTTOM;
  const rows = log ? logTicks(y, tall) : linearTicks(y, tall, ROOM_Y);
  const rowLabels = tickLabels(rows);
  const left = Math.ceil(Math.max(LEFT, widest(ink, rowLabels) + LABEL_GAP + 2));
  const [columns, columnLabels] = ticksBelow(picture, width - left - RIGHT);
  const right = Math.max(RIGHT, Math.ceil(widest(ink, columnLabels.slice(-1)) / 2));
  const area = areaOf(picture, left, TOP, Math.max(1, width - left - right), Math.max(1, tall));
  ink.strokeStyle = palette.grid;
  ink.lineWidth = 1;
  ink.setLineDash([]);
  ink.beginPath();
  for (const tick of rows) {
    const at = area.snap(area.y(tick));
    ink.moveTo(left, at);
    ink.lineTo(left + area.width, at);
  }
  ink.stroke();
  ink.fillStyle = palette.faint;
  ink.textBaseline = "middle";
  ink.textAlign = "right";
  for (const [k, tick] of rows.entries()) ink.fillText(rowLabels[k]!, left - LABEL_GAP, area.y(tick));
  ink.textBaseline = "top";
  ink.textAlign = "center";
  for (const [k, tick] of columns.entries())
    ink.fillText(columnLabels[k]!, area.x(tick), TOP + area.height + 6);
  return area;
}

function areaOf(
  { x, y, log, ratio }: Picture,
  left: number,
  top: number,
  width: number,
  height: number,
): Area {
  const scale = (value: number) => (log ? Math.log10(value) : value);
  const [low, high] = [scale(y[0]), scale(y[1])];
  const [start, end] = x;
  return {
    left,
    top,
    width,
    height,
    x: (place) => left + ((place - start) / (end - start)) * width,
    place: (pixel) => start + ((pixel - left) / width) * (end - start),
    y: (value) => top + (1 - (scale(value) - low) / (high - low)) * height,
    snap: (pixel) => (Math.round(pixel * ratio - 0.5) + 0.5) / ratio,
  };
}

function ticksBelow({ x, axis }: Picture, length: number): [number[], string[]] {
  if (axis === "time" || axis === "wall") {
    const ticks = timeTicks(x, length, ROOM_X, axis === "wall");
    return [ticks, timeLabels(ticks, axis === "wall")];
  }
  const ticks = linearTicks(x, length, ROOM_X, x[1] - x[0] >= 2 && axis !== "learning rate" ? 1 : 0);
  return [ticks, axis === "learning rate" ? ticks.map((tick) => rate(10 ** tick)) : tickLabels(ticks)];
}

function drawLine(
  ink: Ink,
  area: Area,
  { stroke, sample, dense }: Strand,
  picture: Picture,
  left: number,
): void {
  const [places, values] = sample;
  ink.globalAlpha = stroke.opacity;
  if (places.length > area.width && !ink.isVector) {
    ink.fillStyle = picture.palette.lines[stroke.colour];
    fillColumns(ink, area, sample, stroke.width, picture.ratio, left);
    ink.globalAlpha = 1;
    return;
  }
  ink.strokeStyle = picture.palette.lines[stroke.colour];
  ink.lineWidth = stroke.width;
  // Where there are more points than pixels, dashes would cost more than they say.
  ink.setLineDash(dense ? [] : stroke.dash);
  ink.beginPath();
  let goesOn = false;
  for (let i = 0; i < places.length; i++) {
    const value = values[i]!;
    if (value === null) goesOn = false;
    else if (goesOn) ink.lineTo(area.x(places[i]!), bounded(area.y(value)));
    else {
      ink.moveTo(area.x(places[i]!), bounded(area.y(value)));
      goesOn = true;
    }
  }
  ink.stroke();
  ink.globalAlpha = 1;
  ink.setLineDash([]);
}

/**
 * Draws a line of more points than pixels as what it covers: in each column of pixels all between its lowest and its
 * highest point. It looks the same; to stroke a thousand short pieces takes a browser without a graphics card 50 ms.
 */
function fillColumns(
  ink: Ink,
  area: Area,
  [places, values]: Sample,
  width: number,
  ratio: number,
  left: number,
): void {
  // The line comes from a point out of sight.
  let begin = 0;
  while (begin + 1 < places.length && area.x(places[begin + 1]!) < left - 2) begin++;
  let column = Number.NaN;
  let top = 0;
  let bottom = 0;
  let last: number | null = null;
  const fill = () => {
    if (!Number.isNaN(column)) ink.fillRect(column / ratio, top - width / 2, 1 / ratio, bottom - top + width);
  };
  for (let i = begin; i < places.length; i++) {
    const value = values[i]!;
    const y: number | null = value === null ? null : bounded(area.y(value));
    const next = y === null ? Number.NaN : Math.round(area.x(places[i]!) * ratio);
    if (next !== column) {
      fill();
      // One that is skipped is so by rounding: it is like the one before.
      if (next === column + 2 && last !== null && y !== null) {
        column++;
        fill();
      }
      // Where there is no point in a column, the line passes through it.
      for (let c = column + 1; c < next && last !== null && y !== null; c++) {
        const [a, b] = [0, 1].map((k) => last! + ((y - last!) * (c - column - 0.5 + k)) / (next - column));
        ink.fillRect(c / ratio, Math.min(a!, b!) - width / 2, 1 / ratio, Math.abs(b! - a!) + width);
      }
      column = next;
      // From where the line comes.
      top = Math.min(y ?? 0, last ?? y ?? 0);
      bottom = Math.max(y ?? 0, last ?? y ?? 0);
    } else if (y !== null) {
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
    last = y;
  }
  fill();
}

/** A canvas draws nothing at all of a line that leaves it too far. */
function bounded(pixel: number): number {
  return Math.min(1e5, Math.max(-1e5, pixel));
}

/** The points to draw as such: all, if they have room; else those that no line reaches. */
function drawMarkers(ink: Ink, area: Area, { stroke, sample }: Strand, { palette }: Picture): void {
  const [places, values] = sample;
  const all = stroke.marker !== "none" && places.length * MARKER_ROOM <= area.width;
  values.forEach((value, i) => {
    if (value === null || !(all || (values[i - 1] ?? values[i + 1] ?? null) === null)) return;
    const x = area.x(places[i]!);
    const y = area.y(value);
    // A marker may reach over the edge, but not stand beyond it.
    if (
      x < area.left - 1 ||
      x > area.left + area.width + 1 ||
      y < area.top - 1 ||
      y > area.top + area.height + 1
    )
      return;
    drawMarker(ink, x, y, stroke, palette);
  });
}

/** Draws the marker of a line; where it has none, a dot. */
export function drawMarker(
  ink: Ink,
  x: number,
  y: number,
  { marker, colour }: Stroke,
  palette: Palette,
): void {
  const ring = marker === "ring";
  ink.fillStyle = ring ? palette.surface : palette.lines[colour];
  ink.strokeStyle = palette.lines[colour];
  ink.lineWidth = 1.75;
  ink.beginPath();
  ink.arc(x, y, { none: 2.5, dot: 3, ring: 3.5 }[marker], 0, 2 * Math.PI);
  ink.fill();
  if (ring) ink.stroke();
}

/** A triangle at the edge beyond which a value lies that is out of sight. */
function markClipped(
  ink: Ink,
  area: Area,
  { stroke, sample: [places, values] }: Strand,
  { palette, y }: Picture,
): void {
  let last = -Infinity;
  values.forEach((value, i) => {
    if (value === null || (value >= y[0] && value <= y[1])) return;
    const x = area.x(places[i]!);
    if (x - last < 9 || x < area.left || x > area.left + area.width) return;
    last = x;
    const above = value > y[1];
    triangle(ink, x, above ? area.top : area.top + area.height, above ? 6 : -6, palette.lines[stroke.colour]);
  });
}

/** Shades what lies between the mean of training and validation, of the first run. */
function shadeGap(ink: Ink, area: Area, { strands, lines, palette }: Picture): void {
  const first = lines[0]?.of;
  const of = (split: string) =>
    strands.find(
      ({ line: { of, series } }) =>
        of === first && series.spec.split === split && series.spec.granularity === "epoch",
    );
  const [train, validation] = [of("train"), of("validation")];
  if (train === undefined || validation === undefined) return;
  // Where either has no value, nothing is known of the gap: it goes on behind that.
  const breaks = [train.sample, validation.sample]
    .flatMap(([places, values]) => places.filter((_, i) => values[i] === null))
    .sort((a, b) => a - b);
  const pieces = (sample: Sample) => {
    const found: (readonly [number, number])[][] = Array.from({ length: breaks.length + 1 }, () => []);
    let k = 0;
    sample[0].forEach((place, i) => {
      while (k < breaks.length && breaks[k]! < place) k++;
      const value = sample[1][i]!;
      if (value !== null) found[k]!.push([area.x(place), bounded(area.y(value))]);
    });
    return found;
  };
  const back = pieces(validation.sample);
  ink.fillStyle = palette.lines[validation.stroke.colour];
  ink.globalAlpha = 0.13;
  for (const [k, there] of pieces(train.sample).entries()) {
    if (there.length === 0 || back[k]!.length === 0) continue;
    ink.beginPath();
    [...there, ...back[k]!.reverse()].forEach(([x, y], i) => {
      if (i === 0) ink.moveTo(x, y);
      else ink.lineTo(x, y);
    });
    ink.closePath();
    ink.fill();
  }
  ink.globalAlpha = 1;
}

function widest(ink: Ink, labels: readonly string[]): number {
  return Math.max(0, ...labels.map((label) => ink.measureText(label).width));
}
