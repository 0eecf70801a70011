/** The foot of the card: the runs to choose from, the best result, and what went wrong on the way here. */
import type { Change } from "./controls";
import { arrange, element, setAttribute, setText } from "./element";
import { count, duration, value } from "./format";
import { STATE_WORDS } from "./header";
import type { Run, Store } from "./store";

interface RunButton {
  readonly root: HTMLButtonElement;
  readonly name: HTMLElement;
  readonly state: HTMLElement;
}

/** Shows the runs and the best validation loss of the one shown. */
export class Footer {
  readonly root: HTMLElement;
  readonly #runs = element("div", "ew-runs", { role: "group", "aria-label": "Runs" });
  readonly #list = element("div", "ew-run-list");
  readonly #best = element("span", "ew-quiet ew-best");
  readonly #fault = element("p", "ew-fault");
  readonly #buttons = new Map<string, RunButton>();
  readonly #change: Change;
  #newest = "";

  constructor(change: Change) {
    this.#change = change;
    this.#runs.append(element("span", "ew-quiet", { "aria-hidden": "true" }, "Runs"), this.#list);
    this.root = element(
      "div",
      "ew-footer",
      {},
      element("div", "ew-footer-line", {}, this.#runs, this.#best),
      this.#fault,
    );
  }

  update(store: Store, shown: Run | null): void {
    const runs = store.newestFirst();
    this.#newest = runs[0]?.facts.id ?? "";
    this.#runs.hidden = runs.length < 2;
    if (runs.length > 1) {
      arrange(
        this.#list,
        runs.map((run) => this.#button(run, run === shown)),
      );
    }
    setText(this.#best, shown === null ? "" : bestText(shown));
    setText(
      this.#fault,
      store.fault === null ? "" : `[epochwidget] A message could not be read: ${store.fault}`,
    );
    this.#fault.hidden = store.fault === null;
    // While a run goes on, room is kept for its best result.
    this.root.hidden =
      shown?.facts.status !== "running" &&
      runs.length < 2 &&
      this.#best.textContent === "" &&
      store.fault === null;
  }

  #button(run: Run, shown: boolean): HTMLElement {
    const { id } = run.facts;
    let button = this.#buttons.get(id);
    if (button === undefined) {
      const name = element("span", "ew-run-name");
      const state = element("span", "ew-quiet");
      const root = element("button", "ew-run", { type: "button" }, name, " ", state);
      // The newest run is not pinned: whoever looks at it wants the next one too when it starts.
      root.addEventListener("click", () => this.#change({ run: id === this.#newest ? "" : id }));
      button = { root, name, state };
      this.#buttons.set(id, button);
    }
    setText(button.name, run.facts.name);
    setAttribute(button.root, "title", run.facts.name);
    setText(button.state, stateText(run));
    setAttribute(button.root, "aria-pressed", String(shown));
    return button.root;
  }
}

function stateText({ facts }: Run): string {
  const word = STATE_WORDS[facts.status];
  return facts.status === "running" ? word : `${word} ${duration(facts.elapsed)}`;
}

/** The best validation loss in words; empty if there is none. */
export function bestText(run: Run): string {
  const series = run.validationLoss;
  const i = series?.lowest() ?? -1;
  if (series === null || i < 0) return "";
  const where =
    series.spec.granularity === "epoch"
      ? `epoch ${count(series.epoch(i) + 1)}`
      : `step ${count(series.step(i))}`;
  return `best validation loss ${value(series.value(i))} at ${where}`;
}
