/** One plot in the page: its canvas, its crosshair, and what the pointer does with it. */
import { element, on, setHidden } from "../element";
import { changedFrom } from "./changes";
import { type Area, draw, type Picture } from "./drawing";
import type { Range } from "./scales";

/** What a plot asks for. */
export interface Wishes {
  /** The place under the crosshair, or null when the pointer leaves. */
  point(place: number | null): void;
  /** What is to be seen of the x axis, null for all of it; `last` when the pointer has come to rest. */
  zoom(range: Range | null, last: boolean): void;
  /** Keep the axis as it is, or let it go again. */
  hold(range: Range | null): void;
}

// A shorter drag is a click.
const DRAG = 5;
const WHEEL = 1.0015;
const WHEEL_RESTS = 250;

/** A plot in the page. */
export class Plot {
  readonly #host: HTMLElement;
  readonly #wishes: Wishes;
  readonly #canvas = element("canvas", "", { "aria-hidden": "true" });
  readonly #crosshair = element("div", "ew-crosshair", { hidden: "" });
  readonly #selection = element("div", "ew-selection", { hidden: "" });
  readonly #scope = new AbortController();
  #area: Area | null = null;
  #picture: Picture | null = null;
  #place: number | null = null;
  #resting = 0;

  constructor(host: HTMLElement, wishes: Wishes) {
    this.#host = host;
    this.#wishes = wishes;
    host.append(this.#canvas, this.#crosshair, this.#selection);
    const { signal } = this.#scope;
    // A browser that has lost a canvas gives it back empty: then all is drawn.
    on(this.#canvas, "contextrestored", () => {
      this.#area = null;
    });
    on(host, "pointermove", (event) => this.#hover(event), { signal });
    on(host, "pointerleave", () => wishes.point(null), { signal });
    on(host, "pointerdown", (event) => this.#press(event), { signal });
    on(host, "dblclick", () => wishes.zoom(null, true), { signal });
    on(host, "wheel", (event) => this.#wheel(event), { signal, passive: false });
  }

  /** Draws. */
  draw(picture: Picture): void {
    const before = this.#picture;
    this.#picture = picture;
    const { width, height, ratio } = picture;
    const canvas = this.#canvas;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    // Setting a size clears a canvas, and costs more than clearing it.
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w;
      canvas.height = h;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const ink = canvas.getContext("2d")!;
    const left = before !== null && this.#area !== null ? changedFrom(before, picture, this.#area) : 0;
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.save();
    ink.beginPath();
    ink.rect(left, 0, width, height);
    ink.clip();
    ink.clearRect(0, 0, width, height);
    this.#area = draw(ink, picture, left);
    ink.restore();
    this.point(this.#place);
  }

  /** Puts the crosshair on a place, or takes it away; returns where it stands, in pixels. */
  point(place: number | null): number | null {
    this.#place = place;
    const area = this.#area;
    const x = place === null || area === null ? Number.NaN : area.x(place);
    const seen = area !== null && x >= area.left - 0.5 && x <= area.left + area.width + 0.5;
    setHidden(this.#crosshair, !seen);
    if (!seen) return null;
    this.#crosshair.style.cssText = `left:${x}px;top:${area.top}px;height:${area.height}px`;
    return x;
  }

  /** Where lines are drawn, once they are. */
  get area(): Area | null {
    return this.#area;
  }

  destroy(): void {
    this.#scope.abort();
    clearTimeout(this.#resting);
    this.#host.replaceChildren();
  }

  /** The pointer's place, kept within the lines. */
  #at(event: PointerEvent | WheelEvent): number {
    const area = this.#area!;
    const x = event.clientX - this.#host.getBoundingClientRect().left;
    return Math.min(area.left + area.width, Math.max(area.left, x));
  }

  #hover(event: PointerEvent): void {
    if (this.#area !== null && event.buttons === 0) this.#wishes.point(this.#area.place(this.#at(event)));
  }

  /** A drag chooses a part, with Shift it moves the part that is seen. Fingers scroll the page as ever. */
  #press(down: PointerEvent): void {
    const area = this.#area;
    const picture = this.#picture;
    if (area === null || picture === null || down.button !== 0 || down.pointerType === "touch") return;
    // Text would be selected.
    down.preventDefault();
    this.#host.focus?.({ preventScroll: true });
    this.#host.setPointerCapture(down.pointerId);
    const from = this.#at(down);
    const [start, end] = picture.x;
    let moved = false;
    const drag = new AbortController();
    const options = { signal: AbortSignal.any([drag.signal, this.#scope.signal]) };
    const range = (event: PointerEvent): Range => {
      const to = this.#at(event);
      if (down.shiftKey) {
        const by = area.place(from) - area.place(to);
        return [start + by, end + by];
      }
      return [area.place(Math.min(from, to)), area.place(Math.max(from, to))];
    };
    on(
      this.#host,
      "pointermove",
      (event) => {
        const to = this.#at(event);
        if (!moved && Math.abs(to - from) < DRAG) return;
        // What is chosen must not move under the pointer while a run goes on.
        if (!moved) this.#wishes.hold([start, end]);
        moved = true;
        if (down.shiftKey) this.#wishes.zoom(range(event), false);
        else {
          this.#selection.hidden = false;
          const left = Math.min(from, to);
          this.#selection.style.cssText = `left:${left}px;width:${Math.abs(to - from)}px;top:${area.top}px;height:${area.height}px`;
        }
      },
      options,
    );
    const finish = (event: PointerEvent | null) => {
      drag.abort();
      this.#selection.hidden = true;
      // What stood beside the pointer stands elsewhere by now.
      if (moved) this.#wishes.point(null);
      if (moved && event?.type === "pointerup") this.#wishes.zoom(range(event), true);
      else this.#wishes.hold(null);
    };
    on(this.#host, "pointerup", finish, options);
    on(this.#host, "pointercancel", finish, options);
    const cancel = ({ key }: KeyboardEvent) => {
      if (key === "Escape") finish(null);
    };
    addEventListener("keydown", cancel, { ...options, capture: true });
  }

  /** The wheel with Ctrl or Command zooms about the pointer; without, it scrolls the page. */
  #wheel(event: WheelEvent): void {
    const area = this.#area;
    if (area === null || this.#picture === null || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const factor = WHEEL ** (event.deltaY * (event.deltaMode === 1 ? 30 : 1));
    const middle = area.place(this.#at(event));
    const [start, end] = this.#picture.x;
    const range: Range = [middle - (middle - start) * factor, middle + (end - middle) * factor];
    this.#wishes.zoom(range, false);
    clearTimeout(this.#resting);
    this.#resting = window.setTimeout(() => this.#wishes.zoom(range, true), WHEEL_RESTS);
  }
}
