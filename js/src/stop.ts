/**
 * Asks the kernel to end a run, and says truthfully what has become of that.
 *
 * Once the kernel has heard, the run's own facts say so, in every view and after a reload as well. Until then it is
 * said what is tried: the control channel, which a busy kernel reads too; where the kernel does not listen there a
 * message, which waits until it is idle; and an interrupt where that is known to be harmless.
 */
import type { Ask } from "./detail";
import type { Run } from "./store";
import type { Granularity, RunFacts } from "./wire";

/** After so many milliseconds without an answer the next way is tried. Steps may hold the interpreter for a while. */
const PATIENCE = 2000;

/** How the kernel is reached. */
export interface Reach {
  readonly ask: Ask;
  /** Whether a busy kernel hears what it is asked. */
  readonly always: boolean;
  /** Interrupts the kernel, which takes the first interrupt for the wish to stop; null where it would not. */
  readonly interrupt: (() => void) | null;
}

/** The wishes of all views of a widget that runs end. */
export class Stopper {
  readonly #reach: Reach | null;
  readonly #changed: () => void;
  #asked: { run: string; after: Granularity } | null = null;
  #tried = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param reach - null where there is no kernel */
  constructor(reach: Reach | null, changed: () => void) {
    this.#reach = reach;
    this.#changed = changed;
  }

  /** Whether there is a kernel to be asked. */
  get possible(): boolean {
    return this.#reach !== null;
  }

  /** After what a run was asked to end, here or elsewhere; null if it was not. */
  askedFor({ facts }: Run): Granularity | null {
    const asked = this.#asked?.run === handleOf(facts) ? this.#asked.after : null;
    return asked === "batch" ? asked : (facts.stopping ?? asked);
  }

  /** Asks for the end of a run, unless that was done. */
  ask(run: Run, after: Granularity): void {
    const reach = this.#reach;
    const before = this.askedFor(run);
    if (reach === null || before === after || before === "batch") return;
    clearTimeout(this.#timer);
    const { id } = run.facts;
    this.#asked = { run: handleOf(run.facts), after };
    this.#tried = "asking the kernel to stop";
    const wish = { type: "stop", run: id, after };
    reach.ask(wish, false);
    this.#timer = setTimeout(() => {
      // By now it may have heard, or be over; and what was asked then is not for another run.
      const { stopping, status } = run.facts;
      const isOver = status !== "running" || this.#asked?.run !== handleOf(run.facts);
      if (stopping === after || stopping === "batch" || isOver) return;
      if (reach.always) this.#tried = "waiting for the kernel to hear Stop";
      else if (reach.interrupt === null) this.#tried = "the kernel cannot hear Stop while this cell runs";
      else {
        this.#tried = "the kernel cannot hear Stop, interrupting";
        reach.interrupt();
      }
      this.#changed();
    }, PATIENCE);
    this.#changed();
  }

  /** What has become of the wish that a run ends, in words; "" if nobody has it. */
  tells(run: Run): string {
    const { facts } = run;
    const after = this.askedFor(run);
    if (facts.status !== "running" || after === null) return "";
    if (facts.stopping !== after) return this.#tried;
    return `stopping after this ${facts.stoppable === "epoch" ? "epoch" : after}`;
  }
}

/** Which training of a run it is: one that ended may have gone on since. */
function handleOf({ id, resumed }: RunFacts): string {
  return `${id} ${resumed.length}`;
}
