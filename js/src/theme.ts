/**
 * Light or dark, and the colours the canvas draws with.
 *
 * Colours live in `styles.css` as custom properties, so that text, swatches and plots cannot disagree; the
 * canvas reads them from the computed style.
 */
import { COLOURS, type Colour } from "./panels";
import type { ThemeChoice } from "./settings";

export type Theme = "light" | "dark";

/** What the canvas draws with. */
export interface Palette {
  readonly lines: Readonly<Record<Colour, string>>;
  readonly text: string;
  readonly faint: string;
  readonly grid: string;
  readonly hairline: string;
  readonly surface: string;
  /** How strongly values are drawn beneath their average, 0 to 1. */
  readonly pale: number;
  readonly font: string;
}

/** The theme of the page the widget stands in. */
export function pageTheme(): Theme {
  const { body } = document;
  // JupyterLab, Notebook and Voila, then marimo, then VS Code, then the browser.
  if (body.dataset.jpThemeLight !== undefined)
    return body.dataset.jpThemeLight === "false" ? "dark" : "light";
  const { theme } = body.dataset;
  if (theme === "light" || theme === "dark") return theme;
  if (body.classList.contains("vscode-light")) return "light";
  if (body.classList.contains("vscode-dark") || body.classList.contains("vscode-high-contrast"))
    return "dark";
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Calls `changed` whenever the page's theme may have changed, until the signal aborts. */
export function watchPageTheme(changed: () => void, signal: AbortSignal): void {
  const observer = new MutationObserver(changed);
  observer.observe(document.body, {
    attributes: true,
    attributeFilter: ["class", "data-theme", "data-jp-theme-light", "data-jp-theme-name"],
  });
  signal.addEventListener("abort", () => observer.disconnect());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed, { signal });
}

/** Puts a theme on the widget's root. */
export function applyTheme(root: HTMLElement, choice: ThemeChoice): void {
  const page = pageTheme();
  const theme = choice === "auto" ? page : choice;
  root.dataset.theme = theme;
  const name = `${document.body.dataset.jpThemeName ?? ""} ${document.body.className}`;
  root.dataset.contrast = /high.?contrast/i.test(name) ? "more" : "";
  // A forced theme that is not the page's must not borrow the page's colours.
  root.dataset.colours = theme === page ? "page" : "own";
}

/** Reads the colours that hold on the root. */
export function readPalette(root: HTMLElement): Palette {
  const style = getComputedStyle(root);
  const read = (name: string) => style.getPropertyValue(`--ew-${name}`).trim() || "#808080";
  return {
    lines: Object.fromEntries(COLOURS.map((colour) => [colour, read(`line-${colour}`)])) as Palette["lines"],
    text: read("text"),
    faint: read("faint"),
    grid: read("grid"),
    hairline: read("hairline"),
    surface: read("surface"),
    pale: Number(read("pale")) || 0.3,
    font: style.fontFamily || "sans-serif",
  };
}
