/**
 * The widget as anywidget loads it. The only file that talks to the model.
 *
 * What the kernel says is kept beside the model, not in a view: messages sent before the first view exists, or
 * between two views, are not lost, and a further view shows everything at once.
 */
import { type Ask, Detail } from "./detail";
import { drawGivenUp, type Manager } from "./restore";
import { readSettings, type Settings, TRAITS } from "./settings";
import { type Reach, Stopper } from "./stop";
import { Store } from "./store";
import { View } from "./view";
import { decode } from "./wire";

/** The part of anywidget's model that is used here. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  /** Not in a page that stands alone. */
  send?(content: object): void;
  /** Jupyter's, where it is that. */
  readonly widget_manager?: Manager & { readonly kernel?: Kernel | null };
}

/** The part of a kernel's connection that is used here. */
interface Kernel {
  readonly clientId?: string;
  readonly username?: string;
  interrupt?(): Promise<void>;
  sendControlMessage?(message: object, expectReply: boolean, disposeOnDone: boolean): unknown;
}

const SNAPSHOT = "_snapshot";
// By then a page that is being loaded has found this model, or has given up on it.
const LOOKED_FOR = 500;

export default () => {
  const store = new Store();
  const scope = new AbortController();
  // Held weakly: the page owns its views, and drops them without a word.
  const views = new Set<WeakRef<View>>();
  let settings: Settings | null = null;
  let detail: Detail | null = null;
  let stopper: Stopper | null = null;
  let warned = false;

  const eachView = (visit: (view: View) => void): void => {
    for (const reference of views) {
      const view = reference.deref();
      if (view === undefined) views.delete(reference);
      else visit(view);
    }
  };

  const take = (bytes: unknown, heard: number | null): void => {
    try {
      if (!(bytes instanceof ArrayBuffer || ArrayBuffer.isView(bytes)))
        throw new TypeError("it holds no bytes");
      if (bytes.byteLength > 0) store.apply(decode(bytes), heard);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (!warned) console.warn(`[epochwidget] A message could not be read: ${reason}`);
      warned = true;
      store.reject(reason);
    }
  };

  const listen = (model: Model, event: string, callback: (...args: never[]) => void): void => {
    model.on(event, callback);
    scope.signal.addEventListener("abort", () => model.off(event, callback));
  };

  const initialize = ({ model }: { model: Model }): (() => void) => {
    if (settings !== null) return () => {};
    settings = readSettings((trait) => model.get(trait));
    const schedule = () => eachView((view) => view.schedule());
    store.subscribe(schedule);
    const reach = reachOf(model);
    const questions = new Detail(reach?.ask ?? null, schedule);
    detail = questions;
    // What was clicked is seen at once, and not with the next numbers.
    stopper = new Stopper(reach, () => eachView((view) => view.apply(settings!)));
    // A snapshot that is already there may come from a saved page, where no time passes.
    if (model.get(SNAPSHOT) != null) take(model.get(SNAPSHOT), null);
    listen(model, `change:${SNAPSHOT}`, () => take(model.get(SNAPSHOT), performance.now()));
    listen(model, "msg:custom", (content: unknown, buffers: readonly unknown[] | undefined) => {
      const { type, question } = (content ?? {}) as { type?: unknown; question?: unknown };
      if (type === "append" || (type === "detail" && buffers?.[0] !== undefined))
        take(buffers?.[0], performance.now());
      if (type === "detail") questions.answer(question);
    });
    for (const trait of TRAITS) {
      listen(model, `change:${trait}`, () => {
        const next = readSettings((name) => model.get(name));
        if (JSON.stringify(next) === JSON.stringify(settings)) return;
        settings = next;
        eachView((view) => view.apply(next));
      });
    }
    const looked = setTimeout(() => {
      // It is fine as it is where the page is built otherwise.
      if (views.size === 0 && model.widget_manager) drawGivenUp(model.widget_manager).catch(() => {});
    }, LOOKED_FOR);
    scope.signal.addEventListener("abort", () => clearTimeout(looked));
    return () => scope.abort();
  };

  const render = ({ model, el }: { model: Model; el: HTMLElement }): (() => void) => {
    // Some hosts make a new widget for a view and render it straight away.
    initialize({ model });
    const change = (patch: Partial<Settings>): void => {
      const next = { ...settings!, ...patch };
      settings = next;
      // The page first: the kernel may be busy for hours.
      eachView((other) => other.apply(next));
      for (const [trait, value] of Object.entries(patch)) model.set(trait, value);
      model.save_changes();
    };
    const view = new View(store, detail!, stopper!, settings!, change);
    const reference = new WeakRef(view);
    views.add(reference);
    el.append(view.root);
    return () => {
      views.delete(reference);
      view.destroy();
    };
  };

  return { initialize, render };
};

/** How the kernel is asked something, also while a cell keeps it busy; null where there is none. */
function reachOf(model: Model): Reach | null {
  const manager = model.widget_manager;
  const uid = model.get("_uid");
  if (typeof uid !== "string" || model.send === undefined) return null;
  if (manager !== undefined && manager.kernel == null) return null;
  const way = model.get("_reach");
  const always = way === "control" && manager?.kernel?.sendControlMessage !== undefined;
  const ask: Ask = (question, again) => {
    const kernel = manager?.kernel;
    if (always && !again && kernel?.sendControlMessage !== undefined) {
      const header = {
        msg_id: `${uid}-${Math.random()}`,
        msg_type: "comm_msg",
        session: kernel.clientId ?? "",
        username: kernel.username ?? "",
        date: new Date().toISOString(),
        version: "5.3",
      };
      const content = { comm_id: uid, data: { method: "custom", content: question } };
      const message = { header, parent_header: {}, metadata: {}, content, channel: "control", buffers: [] };
      kernel.sendControlMessage(message, false, true);
    } else model.send?.(question);
  };
  const interrupt =
    way === "interrupt" && manager?.kernel?.interrupt !== undefined
      ? () => void manager.kernel?.interrupt?.().catch(() => {})
      : null;
  return { ask, always, interrupt };
}
