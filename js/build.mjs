// Bundles the page half into what the Python package ships: one script and one style sheet.
import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// Every widget instance carries both files in its state, so their size is a feature.
const BUDGET = 80_000;
// Of our own names the long ones that stand often are shortened. Nothing outside the bundle knows them: neither the
// browser nor the kernel (so nothing that is in a message), no trait, and not who reads `store` in the console.
const SHORTENED = `
  timeline lastStep rewritten nearest position placement reaches markPlace borders blockHas blockLowest blockHighest
  isHole extent lowest highest settled heard lowPositive nonPositive colour smoothed shownByDefault beneath marker dash
  isRaw lines palette expected strands sample clipped schedule release spans marks columns purpose resumed watching
  validating remaining elapsed batches panel kind axis shown settings started point
  facts status label root stoppable stopping series spec count text list epochs complete searched clock ratio words
  indices newestFirst oldestFirst place high low labelMarks averages askedFor nonFinite infinite firstNonFinite pieces
  placesAs isLeft isVector missing dense always faults firstFault swatch pace best faint hairline surface
  change tells possible hold line fault aside bare room below above
`;
const folder = process.argv[2] ?? here("../epochwidget/static");

const result = await build({
  entryPoints: { widget: here("src/widget.ts"), "widget-style": here("src/styles.css") },
  entryNames: "[name]",
  outdir: folder,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  mangleProps: new RegExp(`^(${SHORTENED.trim().split(/\s+/).join("|")})$`),
  legalComments: "none",
  charset: "utf8",
  write: false,
});

for (const { path, contents } of result.outputFiles) {
  if (path.endsWith(".js") && contents.length > BUDGET)
    throw new Error(`the bundle has ${contents.length} bytes, its budget is ${BUDGET}`);
}
await mkdir(folder, { recursive: true });
for (const { path, contents } of result.outputFiles) {
  const name = basename(path).replace("widget-style", "widget");
  await writeFile(join(folder, name), contents);
  console.log(`${name}  ${contents.length.toLocaleString("en-US")} bytes`);
}
