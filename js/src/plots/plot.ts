/**
 * One plot, drawn by uPlot.
 *
 * uPlot's mode 2 gives every series an x of its own: a validation point stands where it was measured, whatever
 * the batches do, and nothing has to be joined into one table.
 */
import uPlot from "uplot";
import { rate } from "../format";
import type { Line } from "../panels";
import { annotateBehind, annotateOver, type Notes } from "./annotations";
import { type Sample, sample } from "./sample";
import { logTicks, ROOM_Y, STEPS, tickLabels, WHOLE_STEPS } from "./scales";

/** Everything one drawing of a plot needs. */
export interface Picture extends Notes {
  readonly width: number;
  readonly height: number;
  /** The ends of the axes. */
  readonly x: readonly [number, number];
  readonly y: readonly [number, number];
  readonly log: boolean;
}

const FONT_SIZE = 11;
// Above one point in so many pixels, markers would hide their line.
const MARKER_ROOM = 9;
const ROOM_X = 56;
const LABEL_GAP = 8;
// Room around the plot for what reaches over the edge. A common least width keeps plots in a column in line.
const TOP = 8;
const RIGHT = 12;
const BOTTOM = 24;
const LEFT = 46;

/** A plot in the page. */
export class Plot {
  readonly #uplot: uPlot;
  readonly #look: string;
  #picture: Picture;

  /**
   * @param sync - plots with the same key share their crosshair
   * @param onCursor - told the place under the crosshair, or null when it leaves
   */
  constructor(host: HTMLElement, picture: Picture, sync: string, onCursor: (place: number | null) => void) {
    this.#picture = picture;
    this.#look = lookOf(picture);
    const { lines, palette, log, width, height } = picture;
    const font = `${FONT_SIZE}px ${palette.font}`;
    let places: string[] = [];
    const axis = { font, stroke: palette.faint, ticks: { show: false } };
    const options: uPlot.Options = {
      mode: 2,
      width,
      height,
      padding: [TOP, (u) => Math.max(RIGHT, Math.ceil(widest(u, font, places.slice(-1)) / 2)), 0, 0],
      legend: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: false, y: false },
        dataIdx: () => null as unknown as number,
        sync: { key: sync, scales: ["x", null] },
      },
      scales: {
        x: { time: false, range: () => [...this.#picture.x] },
        y: { distr: log ? 3 : 1, range: () => [...this.#picture.y] },
      },
      axes: [
        {
          ...axis,
          size: BOTTOM,
          gap: 6,
          space: ROOM_X,
          grid: { show: false },
          incrs: (_u, _axis, min, max) => (max - min >= 2 ? WHOLE_STEPS : STEPS),
          values: (_u, ticks) => {
            const { timeline } = this.#picture;
            places =
              timeline.axis === "learning rate" ? ticks.map((tick) => rate(10 ** tick)) : tickLabels(ticks);
            return places;
          },
        },
        {
          ...axis,
          size: (u, labels) => Math.max(LEFT, widest(u, font, labels) + LABEL_GAP + 2),
          gap: LABEL_GAP,
          space: ROOM_Y,
          grid: { stroke: palette.grid, width: 1 },
          incrs: STEPS,
          values: (_u, ticks) => tickLabels(ticks),
          filter: (_u, ticks) => ticks,
          ...(log && {
            splits: (u, _axis, min, max, step) => logTicks(min, max, u.bbox.height / uPlot.pxRatio, step),
          }),
        },
      ],
      // uPlot needs one series to find its scales, and there may be none to show.
      series: [{}, { scale: "y", show: false }, ...lines.map((line) => seriesOf(line, picture))],
      hooks: {
        drawAxes: [(u) => annotateBehind(u, this.#picture, FONT_SIZE)],
        draw: [(u) => annotateOver(u, this.#picture)],
        setCursor: [(u) => onCursor(placeUnderCursor(u))],
      },
    };
    this.#uplot = new uPlot(options, dataOf(picture), (u, start) => {
      u.root.ariaHidden = "true";
      host.append(u.root);
      // At once, not in a microtask: the host must never be seen empty.
      u.batch(start);
    });
  }

  /** Draws, unless the look has changed so much that a new plot is needed. */
  draw(picture: Picture): boolean {
    if (lookOf(picture) !== this.#look) return false;
    this.#picture = picture;
    const u = this.#uplot;
    u.batch(() => {
      if (u.width !== picture.width || u.height !== picture.height) u.setSize(picture);
      u.setData(dataOf(picture));
    });
    return true;
  }

  /** Puts the crosshair of all plots on a place, or takes it away. */
  point(place: number | null): void {
    const u = this.#uplot;
    const left = place === null ? -10 : u.valToPos(place, "x");
    // The third argument tells the other plots; the types do not know it.
    (u.setCursor as (at: object, fire: boolean, tell: boolean) => void)({ left, top: 0 }, true, true);
  }

  destroy(): void {
    this.#uplot.destroy();
  }
}

/** What cannot change in a uPlot once it is made. */
function lookOf({ lines, palette, log, width }: Picture): string {
  return JSON.stringify([
    lines.map(({ stroke, series }) => [stroke, series.count > width]),
    palette,
    log,
    uPlot.pxRatio,
  ]);
}

function dataOf({ lines, timeline, log, x: [start, end], width }: Picture): uPlot.AlignedData {
  const window = { start, end, columns: Math.round(width * uPlot.pxRatio) };
  const samples = lines.map(({ series }) => sample(series, timeline.placement(series), window, log));
  // The types know mode 1 alone.
  return [null, [[], []], ...samples] as unknown as uPlot.AlignedData;
}

function seriesOf({ stroke, series }: Line, { palette, width }: Picture): uPlot.Series {
  const colour = palette.lines[stroke.colour];
  const ring = stroke.marker === "ring";
  const size = { none: 5, dot: 6, ring: 8.75 }[stroke.marker];
  return {
    scale: "y",
    stroke: colour,
    width: stroke.width,
    alpha: stroke.opacity,
    // Where there are more points than pixels, dashes would cost more than they say.
    dash: series.count > width ? [] : stroke.dash.map((length) => length * uPlot.pxRatio),
    pxAlign: 0,
    points: {
      show: false,
      filter: (u, k) => marked(u.data[k] as unknown as Sample, stroke.marker !== "none", u.bbox.width),
      size,
      width: ring ? 1.75 : 0,
      stroke: colour,
      fill: ring ? palette.surface : colour,
    },
  };
}

/** The points to draw as such: all, if they have room; else those that no line reaches. */
function marked([places, values]: Sample, all: boolean, width: number): number[] {
  const room = all && places.length * MARKER_ROOM * uPlot.pxRatio <= width;
  return [...values.keys()].filter((i) => room || (values[i - 1] ?? values[i + 1] ?? null) === null);
}

function placeUnderCursor(u: uPlot): number | null {
  const { left } = u.cursor;
  return left === undefined || left < 0 ? null : u.posToVal(left, "x");
}

/** The width of the widest label; uPlot asks for it before there are any. */
function widest(u: uPlot, font: string, labels: readonly string[] | null): number {
  u.ctx.save();
  u.ctx.font = font;
  const widths = (labels ?? []).map((label) => u.ctx.measureText(label).width);
  u.ctx.restore();
  return Math.max(0, ...widths);
}
