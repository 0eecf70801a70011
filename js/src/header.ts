/** The head of the card: what is being trained, how far it is, how long it takes. */
import { element, on, setAttribute, setHidden, setText } from "./element";
import { count, duration } from "./format";
import type { Stopper } from "./stop";
import { known, type Run } from "./store";
import type { Granularity, RunFacts } from "./wire";

/** The word for each state of a run. */
export const STATE_WORDS = {
  running: "training",
  completed: "finished",
  stopped: "stopped",
  failed: "failed",
} as const;

/** Shows one run's progress. */
export class Header {
  readonly root: HTMLElement;
  readonly #dot = element("span", "ew-dot", { "aria-hidden": "true" });
  readonly #title = element("span", "ew-title");
  readonly #state = element("span", "ew-state", { role: "status" });
  readonly #epoch = element("span", "ew-epoch");
  readonly #batch = element("span", "ew-quiet ew-batch");
  readonly #time = element("span", "ew-quiet ew-time");
  readonly #stops = (["batch", "epoch"] as const).map((after) => {
    const button = element(
      "button",
      "ew-stop",
      { type: "button" },
      after === "batch" ? "Stop now" : "Stop after epoch",
    );
    on(button, "click", () => {
      if (this.#run !== null && button.ariaDisabled !== "true") this.#stopper.ask(this.#run, after);
    });
    return { button, after };
  });
  readonly #alarm = element("button", "ew-alarm", { type: "button", hidden: "" });
  readonly #bar = element("div", "ew-bar");
  readonly #progress = element(
    "div",
    "ew-progress",
    { role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" },
    this.#bar,
  );

  readonly #stopper: Stopper;
  #run: Run | null = null;
  #fault: { readonly step: number; readonly panel: string } = { step: 0, panel: "" };

  /** @param goTo - shows the surroundings of a step, on the panel of a metric */
  constructor(goTo: (step: number, metric: string) => void, stopper: Stopper) {
    this.#stopper = stopper;
    on(this.#alarm, "click", () => goTo(this.#fault.step, this.#fault.panel));
    const line = element(
      "div",
      "ew-header-line",
      {},
      element("span", "ew-name", {}, this.#dot, this.#title),
      this.#state,
      this.#epoch,
      this.#batch,
      this.#time,
      this.#alarm,
      element("span", "ew-stops", {}, ...this.#stops.map(({ button }) => button)),
    );
    this.root = element("div", "ew-header", {}, line, this.#progress);
  }

  /**
   * @param title - what it is called
   * @param now - the page's monotonic clock in milliseconds
   */
  update(run: Run | null, title: string, now: number): void {
    const name = title || "epochwidget";
    setText(this.#title, name);
    setAttribute(this.#title, "title", name);
    setHidden(this.root, run === null && title === "");
    setHidden(this.#progress, run === null);
    this.#run = run;
    for (const { button, after } of this.#stops) this.#offer(button, after);
    if (run === null) {
      for (const part of [this.#state, this.#epoch, this.#batch, this.#time]) setText(part, "");
      this.#dot.dataset.state = "none";
      setHidden(this.#alarm, true);
      return;
    }
    const { facts } = run;
    this.#dot.dataset.state = facts.status;
    this.#progress.dataset.state = facts.status;
    const state = this.#stopper.tells(run) || stateText(run);
    setText(this.#state, state);
    setAttribute(this.#state, "title", facts.status === "failed" ? state : null);
    setText(this.#epoch, epochText(facts));
    setText(this.#batch, batchText(facts));
    setText(this.#time, timeText(run, now));
    const fault = run.firstFault();
    setHidden(this.#alarm, fault === null);
    if (fault !== null) {
      const { what, step, panel } = fault;
      setText(this.#alarm, `⚠ ${what} in ${shortened(panel)} since step ${count(step)}`);
      setAttribute(this.#alarm, "title", `${what} in ${panel} since step ${count(step)}: click to go there`);
      this.#fault = fault;
    }
    this.#showProgress(progressOf(run), `${epochText(facts)}, ${batchText(facts)}`);
  }

  /** Offers to end the run, where that is possible and not on its way already. */
  #offer(button: HTMLButtonElement, after: Granularity): void {
    const run = this.#run;
    const { status, stoppable, epoch } = run?.facts ?? { status: "completed", stoppable: null, epoch: null };
    const asked = run === null ? null : this.#stopper.askedFor(run);
    // What looks only after each epoch, as boosting does, has nothing to stop before.
    const offered = after === "batch" || (stoppable === "batch" && epoch !== null);
    setHidden(
      button,
      status !== "running" || !this.#stopper.possible || !offered || asked === after || asked === "batch",
    );
    setAttribute(button, "aria-disabled", stoppable === null ? "true" : null);
    setAttribute(
      button,
      "title",
      stoppable === null
        ? "This loop does not look whether it is to stop: run.epochs, run.batches and run.stopping do"
        : stoppable === "epoch"
          ? "End the training after this epoch; the model is kept"
          : `End the training after this ${after}; the model is kept`,
    );
  }

  #showProgress(fraction: number | null, text: string): void {
    this.#progress.classList.toggle("ew-unknown", fraction === null);
    const percent = fraction === null ? null : Math.round(fraction * 100);
    setAttribute(this.#progress, "aria-valuenow", percent === null ? null : String(percent));
    setAttribute(this.#progress, "aria-valuetext", text.replace(/^, |, $/g, "") || null);
    this.#bar.style.transform = fraction === null ? "" : `scaleX(${fraction.toFixed(4)})`;
  }
}

function shortened(name: string): string {
  return name.length > 24 ? `${name.slice(0, 23)}…` : name;
}

function stateText({ facts, lastStep }: Run): string {
  const word = STATE_WORDS[facts.status];
  if (facts.status === "failed" && facts.error) return `${word}: ${facts.error}`;
  return facts.status === "stopped" && lastStep > 0 ? `${word} at step ${count(lastStep)}` : word;
}

function epochText({ epoch, epochs }: RunFacts): string {
  if (epoch === null) return "";
  return epochs === null ? `epoch ${count(epoch + 1)}` : `epoch ${count(epoch + 1)} of ${count(epochs)}`;
}

function batchText({ epoch, batch, batches }: RunFacts): string {
  if (epoch === null || (batch === 0 && !batches)) return "";
  return batches === null ? `batch ${count(batch)}` : `batch ${count(batch)} of ${count(batches)}`;
}

/** The time since the run's start; while it runs, the page counts on between two frames. */
export function timeText(run: Pick<Run, "facts" | "heard" | "pace">, now: number): string {
  const { status, elapsed, remaining } = run.facts;
  const since = status === "running" && run.heard !== null ? Math.max(0, (now - run.heard) / 1000) : 0;
  // A run that was read from a file may not tell how long it took.
  const parts = status === "running" || elapsed > 0 ? [duration(elapsed + since)] : [];
  if (status === "running" && remaining !== null) parts.push(`${duration(remaining - since)} left`);
  if (run.pace !== null)
    parts.push(`${run.pace >= 99.5 ? count(run.pace) : run.pace.toPrecision(3)} batch/s`);
  return parts.join(" · ");
}

/**
 * How far a run is, from 0 to 1: over all its epochs where their number is known, else over the present
 * epoch's batches; null where nobody knows.
 */
export function progressOf(run: Pick<Run, "facts" | "spans">): number | null {
  const { status, epoch, epochs, batch } = run.facts;
  if (status === "completed") return 1;
  const spans = known(run.spans);
  const batches = run.facts.batches ?? spans.at(-2)?.[2] ?? null;
  const inEpoch = batches !== null && batches > 0 ? Math.min(1, batch / batches) : null;
  if (epochs === null) return inEpoch ?? (status === "running" ? null : 0);
  if (epoch === null) return 0;
  const first = spans[0]?.[0] ?? 0;
  const all = epochs - first;
  return all > 0 ? Math.min(1, Math.max(0, (epoch - first + (inEpoch ?? 0)) / all)) : 1;
}
