/** The colours of lines, seen with and without the three common deficiencies of colour vision. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { RUN_COLOURS } from "./panels";

type Colour = readonly [number, number, number];

/**
 * How colours are seen, in linear RGB, by those who lack a kind of cone.
 *
 * G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for Simulation of Color Vision
 * Deficiency", IEEE TVCG 15 (2009), severity 1.0.
 */
const EYES: Readonly<Record<string, readonly Colour[]>> = {
  usual: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protan: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deutan: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritan: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

const linear = (c: number) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const times = (rows: readonly Colour[], [r, g, b]: Colour): Colour =>
  rows.map((row) => row[0] * r + row[1] * g + row[2] * b) as unknown as Colour;

/** CIELAB of a linear RGB colour, D65. */
function lab(rgb: Colour): Colour {
  const [x, y, z] = times(
    [
      [0.4124, 0.3576, 0.1805],
      [0.2126, 0.7152, 0.0722],
      [0.0193, 0.1192, 0.9505],
    ],
    rgb,
  );
  const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  const [fx, fy, fz] = [f(Math.max(0, x) / 0.95047), f(Math.max(0, y)), f(Math.max(0, z) / 1.08883)];
  return [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)];
}

const css = readFileSync(new URL("./styles.css", import.meta.url), "utf8");

function colours(theme: "light" | "dark"): Record<string, Colour> {
  const start =
    theme === "light" ? css.indexOf(".epochwidget {") : css.indexOf('.epochwidget[data-theme="dark"] {');
  const block = css.slice(start, css.indexOf("}", start));
  return Object.fromEntries(
    [...block.matchAll(/--ew-(?:line-)?(\w+): #([0-9a-f]{6})/g)].map(([, name, hex]) => [
      name!,
      [0, 2, 4].map((at) => linear(Number.parseInt(hex!.slice(at, at + 2), 16) / 255)) as unknown as Colour,
    ]),
  );
}

const distance = (a: Colour, b: Colour) => Math.hypot(...a.map((each, k) => each - b[k]!));

for (const theme of ["light", "dark"] as const) {
  const all = colours(theme);

  test.each(Object.keys(EYES))(
    `the first runs and the lines of one run are told apart (${theme}, %s)`,
    (eye) => {
      const seen = (name: string) => lab(times(EYES[eye]!, all[name]!));
      for (const names of [
        RUN_COLOURS.slice(0, 4),
        ["train", "validation", "rate"],
        ["train", "mean", "muted"],
      ]) {
        for (const [k, one] of names.entries()) {
          for (const other of names.slice(0, k)) {
            // Two colours are seen as different from about 2.3 on; thin lines need more.
            expect(distance(seen(one), seen(other)), `${one} and ${other}`).toBeGreaterThan(12);
          }
        }
      }
    },
  );

  test(`every line stands out from the page by 3:1 (${theme})`, () => {
    const luminance = ([r, g, b]: Colour) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
    const surface = luminance(all.surface!);
    for (const name of [...RUN_COLOURS, "mean"]) {
      const line = luminance(all[name]!);
      const contrast = (Math.max(line, surface) + 0.05) / (Math.min(line, surface) + 0.05);
      expect(contrast, name).toBeGreaterThan(3);
    }
  });
}
