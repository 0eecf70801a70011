/** The foot of the card: the runs and which of them are drawn, the best result, and what went wrong on the way here. */
import { bestOf, directionOf, judged, sinceBest } from "./best";
import type { Change } from "./controls";
import { arrange, element, on, setAttribute, setHidden, setText } from "./element";
import { count, duration, plural, value } from "./format";
import { STATE_WORDS } from "./header";
import { type Item, Menu } from "./menu";
import { type Colour, RUN_COLOURS } from "./panels";
import { having, type Settings } from "./settings";
import type { Run, Store } from "./store";

// As many runs of one name are drawn together unless the person asks for others.
const ALIKE = 3;

/** The runs that are drawn, the one in the header first. */
export function shownRuns(store: Store, settings: Settings): Run[] {
  const offered = offeredRuns(store, settings);
  const { hidden_runs, pinned, last, runs } = settings;
  const wanted = offered.filter(({ facts }) => !hidden_runs.includes(facts.id));
  const first = offered.find((run) => run.facts.id === settings.run) ?? wanted[0] ?? offered[0];
  if (first === undefined) return [];
  // A search for a learning rate is drawn over another axis than all else.
  if (first.searched !== null) return [first];
  // A cell that is run again makes another run of the same name; one of another model has another.
  const alike = offered.filter((run) => stem(run) === stem(first)).slice(0, ALIKE);
  const newest = last === null ? alike : offered.slice(0, last);
  const others = wanted.filter(
    (run) =>
      run !== first &&
      run.searched === null &&
      (newest.includes(run) || runs.length > 0 || pinned.includes(run.facts.id)),
  );
  return [first, ...others];
}

/** The name of a run without its number. */
function stem({ facts }: Run): string {
  return facts.name.replace(/(^| · )run \d+$/, "");
}

/** The runs that there are to choose from, the newest first. */
function offeredRuns(store: Store, { runs }: Settings): Run[] {
  return store.newestFirst().filter(({ facts }) => runs.length === 0 || runs.includes(facts.id));
}

/** The colour of a run among several, which stays the same whichever others are drawn, and how often it was given. */
export function colourOf(store: Store, run: Run): { colour: Colour; round: number } {
  const at = store.oldestFirst().indexOf(run);
  return { colour: RUN_COLOURS[at % RUN_COLOURS.length]!, round: Math.floor(at / RUN_COLOURS.length) };
}

/** The name that the person gave a run, or its own. */
export function nameOf({ facts }: Run, { names }: Settings): string {
  return (Object.hasOwn(names, facts.id) && names[facts.id]) || facts.name;
}

interface Entry {
  readonly root: HTMLElement;
  readonly box: HTMLButtonElement;
  readonly button: HTMLButtonElement;
  readonly name: HTMLElement;
  readonly best: HTMLElement;
  readonly state: HTMLElement;
  readonly menu: Menu;
}

/** Shows the runs, and the best result of the one in the header. */
export class Runs {
  readonly root: HTMLElement;
  readonly #runs = element("div", "ew-runs", { role: "group", "aria-label": "Runs" });
  readonly #list = element("div", "ew-run-list");
  readonly #follow = element("button", "ew-link", { type: "button", hidden: "" }, "follow the newest");
  readonly #cost = element("span", "ew-quiet", {
    title: "The part of the training time that watching has taken, and the time in validation, as measured",
  });
  readonly #best = element("span", "ew-quiet ew-best");
  readonly #fault = element("p", "ew-fault");
  readonly #entries = new Map<string, Entry>();
  readonly #change: Change;
  #settings: Settings | null = null;
  #store: Store | null = null;
  #shown: readonly string[] = [];
  #newest = "";

  constructor(change: Change) {
    this.#change = change;
    on(this.#follow, "click", () => change({ run: "", hidden_runs: [] }));
    this.#runs.append(element("span", "ew-quiet", { "aria-hidden": "true" }, "Runs"), this.#list);
    this.root = element(
      "div",
      "ew-footer",
      {},
      element("div", "ew-footer-line", {}, this.#runs, this.#follow, this.#cost, this.#best),
      this.#fault,
    );
  }

  update(store: Store, shown: readonly Run[], settings: Settings): void {
    const runs = offeredRuns(store, settings);
    this.#settings = settings;
    this.#store = store;
    this.#shown = shown.map(({ facts }) => facts.id);
    this.#newest = runs[0]?.facts.id ?? "";
    setHidden(this.#runs, runs.length < 2);
    // Whoever chose an older run may not know that there is another by now.
    setHidden(this.#follow, shown[0] === undefined || shown[0] === runs[0]);
    if (runs.length > 1) {
      arrange(
        this.#list,
        // A run that is drawn alone has the colours of its lines, and not one of its own.
        runs.map((run) =>
          this.#entry(run, shown.length < 2 ? "muted" : colourOf(store, run).colour, settings),
        ),
      );
    }
    setText(this.#cost, shown[0] === undefined ? "" : costText(shown[0]));
    setText(this.#best, shown[0] === undefined ? "" : bestText(shown[0], settings));
    setText(
      this.#fault,
      store.fault === null ? "" : `[epochwidget] A message could not be read: ${store.fault}`,
    );
    setHidden(this.#fault, store.fault === null);
    // While a run goes on, room is kept for its best result.
    this.root.hidden =
      shown[0]?.facts.status !== "running" &&
      runs.length < 2 &&
      this.#best.textContent === "" &&
      this.#cost.textContent === "" &&
      store.fault === null;
  }

  #entry(run: Run, colour: Colour, settings: Settings): HTMLElement {
    const { id } = run.facts;
    const entry = this.#entries.get(id) ?? this.#add(id);
    const name = nameOf(run, settings);
    const drawn = this.#shown.includes(id);
    setText(entry.name, name);
    setAttribute(entry.button, "title", name);
    entry.menu.label = `${name}: more`;
    setText(entry.best, bestShort(run, settings));
    setText(entry.state, stateText(run) + (settings.pinned.includes(id) ? ", pinned" : ""));
    setAttribute(entry.button, "aria-pressed", String(this.#shown[0] === id));
    setAttribute(entry.box, "aria-checked", String(drawn));
    setAttribute(entry.box, "aria-label", `Draw ${name}`);
    setAttribute(entry.box, "title", drawn ? "Hide this run" : "Draw this run, too");
    entry.box.style.setProperty("--ew-run", `var(--ew-line-${colour})`);
    return entry.root;
  }

  #add(id: string): Entry {
    const name = element("span", "ew-run-name");
    const best = element("b", "");
    const state = element("span", "ew-quiet");
    const button = element("button", "ew-run", { type: "button" }, name, " ", best, " ", state);
    const box = element("button", "ew-run-box", { type: "button", role: "checkbox" });
    const menu = new Menu("Menu", () => this.#items(id));
    // The newest run is not kept: whoever looks at it wants the next one too when it starts.
    on(button, "click", () => this.#change({ run: id === this.#newest ? "" : id }));
    on(box, "click", ({ altKey }) => this.#toggle(id, altKey));
    on(button, "dblclick", () => this.#rename(id));
    const root = element("span", "ew-run-entry", {}, box, button, menu.root, menu.list);
    const entry = { root, box, button, name, best, state, menu };
    this.#entries.set(id, entry);
    return entry;
  }

  #toggle(id: string, alone: boolean): void {
    const { hidden_runs, pinned, run } = this.#settings!;
    const drawn = this.#shown.includes(id);
    if (alone) {
      const others = [...this.#entries.keys()].filter((each) => each !== id);
      this.#change({ hidden_runs: others, run: id === this.#newest ? "" : id });
    } else if (!drawn) {
      const back = { ...this.#settings!, hidden_runs: having(hidden_runs, id, false) };
      // What is drawn anyway once it is not hidden need not be kept when newer runs come.
      const isBack = shownRuns(this.#store!, back).some(({ facts }) => facts.id === id);
      this.#change({
        hidden_runs: back.hidden_runs,
        ...(isBack ? {} : { pinned: having(pinned, id, true) }),
      });
    } else if (this.#shown.length > 1) {
      this.#change({
        hidden_runs: having(hidden_runs, id, true),
        pinned: having(pinned, id, false),
        // The newest of the others takes its place in the header.
        run: run === id ? "" : run,
      });
    }
  }

  #items(id: string): Item[] {
    const { pinned } = this.#settings!;
    const pin = pinned.includes(id);
    return [
      { text: "Rename", act: () => this.#rename(id) },
      {
        text: "Keep when newer runs come",
        checked: pin,
        act: () => this.#change({ pinned: having(pinned, id, !pin) }),
      },
      { text: "Draw this run alone", act: () => this.#toggle(id, true) },
    ];
  }

  #rename(id: string): void {
    const { button, name } = this.#entries.get(id)!;
    const input = element("input", "ew-rename", { "aria-label": "Name of the run", maxlength: "200" });
    input.value = name.textContent ?? "";
    button.replaceWith(input);
    input.select();
    let open = true;
    const close = (keep: boolean) => {
      if (!open) return;
      open = false;
      input.replaceWith(button);
      button.focus();
      const { [id]: _old, ...names } = this.#settings!.names;
      const given = input.value.trim();
      if (keep) this.#change({ names: given === "" ? names : { ...names, [id]: given } });
    };
    on(input, "keydown", (event) => {
      if (event.key === "Enter") close(true);
      else if (event.key === "Escape") close(false);
    });
    on(input, "blur", () => close(true));
  }
}

function stateText({ facts }: Run): string {
  const word = STATE_WORDS[facts.status];
  return facts.status === "running" || facts.elapsed === 0 ? word : `${word} ${duration(facts.elapsed)}`;
}

function bestShort(run: Run, { directions }: Settings): string {
  const series = judged(run, directions);
  const i = series === null ? -1 : bestOf(series, directionOf(series.spec.panel, directions));
  return series === null || i < 0 ? "" : value(series.value(i));
}

/** What else than training took time. */
function costText({ facts: { watching, validating, elapsed } }: Run): string {
  if (!(elapsed > 0)) return "";
  // A hook may begin before its run does.
  const share = `watching ${(Math.min(1, watching / elapsed) * 100).toFixed(1)} %`;
  return validating < 1 ? share : `${share} · ${duration(validating)} in validation`;
}

/** The best result in words, and for how many epochs none was better; empty if there is none. */
export function bestText(run: Run, { directions }: Pick<Settings, "directions">): string {
  const series = judged(run, directions);
  const direction = series === null ? null : directionOf(series.spec.panel, directions);
  const i = series === null ? -1 : bestOf(series, direction);
  if (series === null || i < 0) return "";
  const { split, panel } = series.spec;
  const what = `${split === "validation" ? "validation " : ""}${panel.slice(0, 40)}`;
  const since = sinceBest(series, direction);
  const plateau = since >= 2 ? ` · no better for ${plural(since, "epoch")}` : "";
  return `best ${what} ${value(series.value(i))} at epoch ${count(series.epoch(i) + 1)}${plateau}`;
}
