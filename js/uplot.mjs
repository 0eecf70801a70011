// An esbuild plugin that leaves out of uPlot what no plot here uses, a quarter of it: bars, steps and splines; axes of
// dates; joined tables; its legend and the selection by dragging. uPlot is one file that ties these to the rest, so
// that no bundler can see by itself that they are dead. Here the ties are cut, and the bundler drops what hung on
// them. Nothing else of uPlot is changed. Who needs one of these deletes its line below.
import { readFile } from "node:fs/promises";

// What to cut, what to put in its place, and how often it is there: another uPlot must not pass unseen.
const CUTS = [
  [/\(paths\.(stepped|bars|spline)\s*= \w+\);/g, "", 3],
  [/let isTime = .*;/g, "", 3],
  [/\bisTime\b/g, "false", 7],
  [/\tconst _(tzDate|fmtDate|timeAxisSplits|timeAxisVals|timeSeriesVal) .*/g, "", 5],
  [/const \[ timeIncrs\w+.*/g, "", 2],
  [/(?<=const (days3|months3|localTz) = )/g, "/* @__PURE__ */ ", 3],
  [/uPlot\.(fmtDate|tzDate|join|fmtNum|rangeNum|rangeLog|rangeAsinh|addGap)\s*= .*/g, "", 8],
  [/const showLegend = .*/g, "", 1],
  [/\bshowLegend\b/g, "false", 9],
  [/\bselect\.show\b/g, "false", 6],
];

export const withoutUnused = {
  name: "uPlot without what is not used",
  setup({ onLoad }) {
    onLoad({ filter: /uPlot\.esm\.js$/ }, async ({ path }) => {
      let contents = await readFile(path, "utf8");
      for (const [pattern, replacement, times] of CUTS) {
        const found = contents.match(pattern)?.length ?? 0;
        if (found !== times) throw new Error(`uPlot has ${pattern} ${found} times, not ${times}`);
        contents = contents.replace(pattern, replacement);
      }
      return { contents };
    });
  },
};
