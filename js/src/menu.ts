/** A button that opens a list of things to do. It lies over everything, so no card is too small for it. */
import { element, on, setAttribute } from "./element";

/** One thing to do; with `checked`, one that is on or off. */
export interface Item {
  readonly text: string;
  readonly checked?: boolean;
  readonly disabled?: boolean;
  act(): void;
}

let menus = 0;

/** A menu button. */
export class Menu {
  readonly root: HTMLButtonElement;
  readonly list = element("div", "ew-menu", { role: "menu", popover: "auto", id: `ew-menu-${++menus}` });
  readonly #items: () => readonly Item[];

  /**
   * @param label - what a screen reader calls the button
   * @param items - asked each time the menu opens
   */
  constructor(label: string, items: () => readonly Item[]) {
    this.#items = items;
    this.root = element(
      "button",
      "ew-icon",
      {
        type: "button",
        "aria-label": label,
        "aria-haspopup": "menu",
        "aria-expanded": "false",
        title: label,
      },
      "⋯",
    );
    this.root.setAttribute("popovertarget", this.list.id);
    on(this.list, "beforetoggle", (event) => {
      if ((event as ToggleEvent).newState === "open") this.#fill();
    });
    on(this.list, "toggle", (event) => {
      const open = (event as ToggleEvent).newState === "open";
      setAttribute(this.root, "aria-expanded", String(open));
      if (open) this.#place();
    });
    on(this.list, "keydown", (event) => this.#move(event));
  }

  set label(label: string) {
    setAttribute(this.root, "aria-label", label);
    setAttribute(this.root, "title", label);
  }

  #fill(): void {
    this.list.replaceChildren(
      ...this.#items().map(({ text, checked, disabled, act }) => {
        const role = checked === undefined ? "menuitem" : "menuitemcheckbox";
        const item = element("button", "ew-item", { type: "button", role, tabindex: "-1" }, text);
        if (checked !== undefined) item.setAttribute("aria-checked", String(checked));
        item.disabled = disabled === true;
        on(item, "click", () => {
          this.list.hidePopover();
          this.root.focus();
          act();
        });
        return item;
      }),
    );
  }

  #place(): void {
    const at = this.root.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.list;
    const left = Math.max(4, Math.min(at.right - width, innerWidth - width - 4));
    const top = at.bottom + height + 8 > innerHeight ? Math.max(4, at.top - height - 4) : at.bottom + 4;
    this.list.style.cssText = `left:${left}px;top:${top}px`;
    this.list.querySelector("button")?.focus();
    // What it belongs to would scroll away under it.
    addEventListener("scroll", () => this.list.hidePopover(), { once: true, capture: true });
  }

  #move(event: KeyboardEvent): void {
    const items = [...this.list.querySelectorAll<HTMLElement>("button:not(:disabled)")];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1, Tab: Number.NaN }[event.key];
    if (to === undefined) return;
    if (Number.isNaN(to)) {
      this.list.hidePopover();
      return;
    }
    event.preventDefault();
    items.at(to % items.length)?.focus();
  }
}
