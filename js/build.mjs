// Bundles the page half into what the Python package ships: one script and one style sheet.
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// Every widget instance carries both files in its state, so their size is a feature.
const BUDGET = 80_000;

const result = await build({
  entryPoints: { widget: here("src/widget.ts"), "widget-style": here("src/styles.css") },
  entryNames: "[name]",
  outdir: here("../epochwidget/static"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  charset: "utf8",
  metafile: true,
  write: false,
});

const { mkdir, writeFile } = await import("node:fs/promises");
await mkdir(here("../epochwidget/static"), { recursive: true });
for (const file of result.outputFiles) {
  const path = file.path.replace("widget-style.css", "widget.css");
  await writeFile(path, file.contents);
  const { size } = await stat(path);
  console.log(`${path.slice(here("..").length)}  ${size.toLocaleString("en-US")} bytes`);
  if (path.endsWith(".js") && size > BUDGET)
    throw new Error(`the bundle is over its budget of ${BUDGET} bytes`);
}
