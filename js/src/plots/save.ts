/** What a person takes away from a panel: its picture, as PNG or SVG, and its values. */

import { rate, value } from "../format";
import { type Line, type Panel, RATE } from "../panels";
import { draw, drawMarker, type Picture } from "./drawing";
import type { Ink } from "./ink";
import { SvgInk } from "./svg";

const MARGIN = 14;
const ROW = 18;
const SWATCH = 24;
const SCALE = 2;

/** What the x axis is called on a picture that stands alone. */
const AXES = {
  epoch: "epoch",
  step: "step",
  time: "time",
  wall: "time of day",
  "learning rate": RATE,
} as const;

/** A panel as SVG: its title, its legend, its plot and the name of its x axis. */
export function svgOf(panel: Panel, picture: Picture): string {
  const ink = new SvgInk(document.createElement("canvas").getContext("2d")!);
  const [width, height] = poster(ink, panel, { ...picture, ratio: 1 });
  return ink.svg(width, height, panel.title);
}

/** The same as PNG, with two pixels for each of the page's. */
export function pngOf(panel: Panel, picture: Picture): Promise<Blob> {
  const canvas = document.createElement("canvas");
  const ink = canvas.getContext("2d")!;
  const measured = { ...picture, ratio: SCALE };
  const [width, height] = sizeOf(ink, panel, measured);
  canvas.width = width * SCALE;
  canvas.height = height * SCALE;
  ink.scale(SCALE, SCALE);
  poster(ink, panel, measured);
  return new Promise((done, fail) => {
    canvas.toBlob(
      (blob) => (blob === null ? fail(new Error("the picture is too large")) : done(blob)),
      "image/png",
    );
  });
}

function poster(ink: Ink, panel: Panel, picture: Picture): [number, number] {
  const { palette, axis } = picture;
  const [width, height] = sizeOf(ink, panel, picture);
  ink.fillStyle = palette.surface;
  ink.beginPath();
  ink.rect(0, 0, width, height);
  ink.fill();
  ink.textAlign = "left";
  ink.textBaseline = "middle";
  ink.font = bold(picture);
  ink.fillStyle = palette.text;
  ink.fillText(panel.title.slice(0, 80), MARGIN, MARGIN + ROW / 2);
  for (const { line, words, x, y } of entriesOf(ink, panel, picture).entries) {
    ink.strokeStyle = palette.lines[line.stroke.colour];
    ink.lineWidth = Math.max(1.5, line.stroke.width);
    ink.globalAlpha = line.stroke.opacity;
    ink.setLineDash(line.stroke.dash);
    ink.beginPath();
    ink.moveTo(x, y);
    ink.lineTo(x + SWATCH, y);
    ink.stroke();
    ink.globalAlpha = 1;
    ink.setLineDash([]);
    if (line.stroke.marker !== "none") drawMarker(ink, x + SWATCH / 2, y, line.stroke, palette);
    ink.fillStyle = palette.text;
    ink.font = plain(picture);
    ink.textAlign = "left";
    ink.textBaseline = "middle";
    ink.fillText(words, x + SWATCH + 6, y);
  }
  ink.save();
  ink.translate(MARGIN, height - picture.height - ROW - MARGIN / 2);
  draw(ink, picture);
  ink.restore();
  ink.fillStyle = palette.faint;
  ink.textAlign = "center";
  ink.textBaseline = "middle";
  ink.font = plain(picture);
  ink.fillText(AXES[axis], width / 2, height - ROW / 2 - 2);
  return [width, height];
}

function sizeOf(ink: Ink, panel: Panel, picture: Picture): [number, number] {
  const { bottom } = entriesOf(ink, panel, picture);
  return [picture.width + 2 * MARGIN, bottom + picture.height + ROW + MARGIN];
}

/** The legend, in as many rows as it needs. */
function entriesOf(ink: Ink, panel: Panel, picture: Picture) {
  const text = panel.title === RATE ? rate : value;
  let x = MARGIN;
  let y = MARGIN + 1.5 * ROW;
  ink.font = plain(picture);
  const entries = picture.lines.map((line) => {
    const run = line.of.colour === null ? "" : `${line.of.name}: `;
    const words = `${run}${line.label} ${line.kind} ${text((line.smoothed ?? line.series).last)}`.slice(
      0,
      160,
    );
    const width = SWATCH + 6 + ink.measureText(words).width + 16;
    if (x > MARGIN && x + width > picture.width + MARGIN) {
      x = MARGIN;
      y += ROW;
    }
    const entry = { line, words, x, y };
    x += width;
    return entry;
  });
  return { entries, bottom: y + ROW };
}

function plain({ palette }: Picture): string {
  return `12px ${palette.font}`;
}

function bold({ palette }: Picture): string {
  return `600 13px ${palette.font}`;
}

/** The values of some lines as CSV, one point a row, every number exact. */
export function csvOf(lines: readonly Line[]): string {
  const rows = [
    [
      "run",
      "name",
      "metric",
      "split",
      "granularity",
      "kind",
      "step",
      "epoch_from_0",
      "seconds",
      "value",
    ].join(","),
  ];
  for (const { series, of } of lines) {
    const { name, panel, split, granularity, kind } = series.spec;
    const head = [of.name, name, panel, split, granularity, kind].map(quoted).join(",");
    const { clock } = of.run;
    for (let i = 0; i < series.end; i++) {
      if (!series.has(i)) continue;
      const step = series.step(i);
      const at = clock?.nearest(step) ?? -1;
      const seconds = clock !== null && at >= 0 && clock.step(at) === step ? clock.value(at) : "";
      const epoch = granularity === "epoch" ? series.epoch(i) : "";
      rows.push(`${head},${step},${epoch},${seconds},${series.value(i)}`);
    }
  }
  return `${rows.join("\r\n")}\r\n`;
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Has the browser save something. */
export function download(content: Blob | string, type: string, name: string): void {
  const blob = typeof content === "string" ? new Blob([content], { type }) : content;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  // What a file system would take for something else.
  const [, stem, ending] = /^(.*?)(\.\w+)?$/s.exec(name)!;
  link.download = `${stem!.replace(/[\\/:*?"<>|\p{C}]+/gu, "_").slice(0, 76)}${ending ?? ""}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
