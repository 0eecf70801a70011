/** The epochs of a run as a table: every value of an epoch in a row, for those who would rather read. */
import { element } from "./element";
import { count, rate, value } from "./format";
import { type Line, type Panel, RATE } from "./panels";
import type { Run } from "./store";

/** The table of the run in the header. */
export class EpochTable {
  readonly root = element("div", "ew-table", {
    hidden: "",
    tabindex: "0",
    role: "region",
    "aria-label": "Epochs",
  });
  #drawn = "";

  update(run: Run, panels: readonly Panel[]): void {
    const columns = panels.flatMap(({ title, lines }) =>
      lines.filter(({ of }) => of.run === run).flatMap((line) => columnOf(title, line)),
    );
    const state = JSON.stringify([
      run.facts.id,
      run.spans.length,
      columns.map(({ head, line }) => [head, line.series.count]),
    ]);
    // Rows come with the epochs: a table that is read is left alone between.
    if (state === this.#drawn) return;
    this.#drawn = state;
    const epochs = [...new Set(columns.flatMap(({ values }) => [...values.keys()]))].sort((a, b) => a - b);
    const head = element("tr", "", {}, cell("th", "Epoch", "col"));
    head.append(...columns.map((column) => cell("th", column.head, "col")));
    const rows = epochs.map((epoch) => {
      const row = element("tr", "", {}, cell("th", count(epoch + 1), "row"));
      row.append(
        ...columns.map(({ values, line, title }) => {
          const i = values.get(epoch);
          const text = i === undefined ? "" : (title === RATE ? rate : value)(line.series.value(i));
          return i !== undefined && i === line.best
            ? element("td", "", { title: "the best" }, element("b", "", {}, text))
            : cell("td", text);
        }),
      );
      return row;
    });
    this.root.replaceChildren(
      element(
        "table",
        "",
        {},
        element("caption", "ew-unseen", {}, `Epochs of ${run.facts.name}`),
        element("thead", "", {}, head),
        element("tbody", "", {}, ...rows),
      ),
    );
  }
}

interface ValueColumn {
  readonly title: string;
  readonly head: string;
  readonly line: Line;
  /** The index of each epoch's point. */
  readonly values: ReadonlyMap<number, number>;
}

/** The values of epochs; of a learning rate that is known per batch, the last of each epoch. */
function columnOf(title: string, line: Line): ValueColumn[] {
  const { series, of, label } = line;
  const values = new Map<number, number>();
  if (series.spec.granularity === "epoch") {
    for (let i = 0; i < series.end; i++) if (series.has(i)) values.set(series.epoch(i), i);
  } else if (title === RATE) {
    of.run.spans.forEach((span, k) => {
      const last = of.run.spans[k + 1]?.[1] ?? of.run.lastStep;
      const i = series.nearest(last);
      if (span !== undefined && i >= 0) values.set(span[0], i);
    });
  } else return [];
  const head = title === RATE ? `${title}, last` : `${title}, ${label}`;
  return [{ title, head, line, values }];
}

function cell(tag: "td" | "th", text: string, scope?: "col" | "row"): HTMLElement {
  return element(tag, "", scope === undefined ? {} : { scope }, text);
}
