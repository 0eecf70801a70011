import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Reach, Stopper } from "./stop";
import { Store } from "./store";
import { encode, type RunDraft } from "./testing";
import { decode } from "./wire";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A run that can be stopped, the wishes of a page, and what the kernel is sent. */
function page(reach: Partial<Reach> = {}) {
  const store = new Store();
  const tell = (facts: RunDraft) =>
    store.apply(decode(encode({ stoppable: "batch", epoch: 0, elapsed: 1, ...facts })), null);
  tell({});
  const sent: [message: object, again: boolean][] = [];
  const changed = vi.fn();
  const ask = (message: object, again: boolean) => void sent.push([message, again]);
  const stopper = new Stopper({ ask, always: true, interrupt: null, ...reach }, changed);
  return { stopper, sent, changed, tell, run: store.choose("")! };
}

const WISH = { type: "stop", run: "r1", after: "batch" };

describe("Stop", () => {
  test("is asked once, and said as the kernel hears it", () => {
    const { stopper, sent, changed, tell, run } = page();
    expect([stopper.possible, stopper.tells(run), stopper.askedFor(run)]).toEqual([true, "", null]);
    stopper.ask(run, "batch");
    stopper.ask(run, "batch");
    stopper.ask(run, "epoch");
    expect(sent).toEqual([[WISH, false]]);
    expect(changed).toHaveBeenCalledOnce();
    expect(stopper.tells(run)).toBe("asking the kernel to stop");
    tell({ stopping: "batch" });
    expect(stopper.tells(run)).toBe("stopping after this batch");
    vi.advanceTimersByTime(60_000);
    tell({ stopping: "batch", status: "stopped", elapsed: 2 });
    expect(stopper.tells(run)).toBe("");
    expect(sent).toHaveLength(1);
  });

  test("after the epoch may become now", () => {
    const { stopper, sent, tell, run } = page();
    stopper.ask(run, "epoch");
    tell({ stopping: "epoch" });
    expect(stopper.tells(run)).toBe("stopping after this epoch");
    stopper.ask(run, "batch");
    expect(sent.map(([wish]) => wish)).toEqual([{ ...WISH, after: "epoch" }, WISH]);
    expect(stopper.tells(run)).toBe("asking the kernel to stop");
    tell({ stopping: "batch" });
    expect(stopper.tells(run)).toBe("stopping after this batch");
  });

  test("of a booster is after its iteration, whatever was clicked", () => {
    const { stopper, tell, run } = page();
    stopper.ask(run, "batch");
    tell({ stopping: "batch", stoppable: "epoch" });
    expect(stopper.tells(run)).toBe("stopping after this epoch");
  });

  test.each([
    ["over the control channel, it waits", { always: true }, "waiting for the kernel to hear Stop"],
    ["by messages alone, it cannot hear", {}, "the kernel cannot hear Stop while this cell runs"],
  ])("of a kernel that does not answer %s", (_, reach, words) => {
    const { stopper, tell, run } = page({ always: false, ...reach });
    stopper.ask(run, "batch");
    vi.advanceTimersByTime(2000);
    expect(stopper.tells(run)).toBe(words);
    tell({ stopping: "batch" });
    expect(stopper.tells(run)).toBe("stopping after this batch");
  });

  test("interrupts a kernel that does not answer, once, where that is harmless", () => {
    const interrupt = vi.fn();
    const { stopper, run } = page({ always: false, interrupt });
    stopper.ask(run, "batch");
    vi.advanceTimersByTime(1999);
    expect(interrupt).not.toHaveBeenCalled();
    vi.advanceTimersByTime(60_000);
    expect(interrupt).toHaveBeenCalledOnce();
    expect(stopper.tells(run)).toBe("the kernel cannot hear Stop, interrupting");
  });

  test.each<[string, RunDraft]>([
    ["has heard", { stopping: "batch" }],
    ["is over", { status: "completed", elapsed: 2 }],
    ["has gone on since", { elapsed: 2, resumed: [[1, 1, 1]] as unknown as RunDraft["resumed"] & object }],
  ])("interrupts nothing where the run %s", (_, facts) => {
    const interrupt = vi.fn();
    const { stopper, tell, run } = page({ always: false, interrupt });
    stopper.ask(run, "batch");
    tell(facts);
    vi.advanceTimersByTime(60_000);
    expect(interrupt).not.toHaveBeenCalled();
  });

  test("a run that goes on was not asked", () => {
    const { stopper, sent, tell, run } = page();
    stopper.ask(run, "batch");
    tell({ stopping: "batch", status: "stopped", elapsed: 2 });
    tell({ elapsed: 3, resumed: [[1, 1, 1]] as unknown as RunDraft["resumed"] & object });
    expect([stopper.askedFor(run), stopper.tells(run)]).toEqual([null, ""]);
    stopper.ask(run, "batch");
    expect(sent).toHaveLength(2);
  });

  test("is not there without a kernel", () => {
    const stopper = new Stopper(null, vi.fn());
    const { run } = page();
    stopper.ask(run, "batch");
    expect([stopper.possible, stopper.askedFor(run)]).toEqual([false, null]);
  });
});
