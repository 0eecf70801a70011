/** Elements made without markup: what the kernel says is text, and only ever becomes text. */

/** Makes an element with a class and attributes. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  attributes: Readonly<Record<string, string>> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets a text if it differs: an untouched node costs no layout and is not announced again. */
export function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets or, for null, removes an attribute if it differs. */
export function setAttribute(node: Element, name: string, value: string | null): void {
  if (node.getAttribute(name) === value) return;
  if (value === null) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

/** Has a function called for each event of a type. */
export function on<K extends keyof HTMLElementEventMap>(
  node: HTMLElement,
  type: K,
  listener: (event: HTMLElementEventMap[K]) => void,
  options?: AddEventListenerOptions,
): void {
  node.addEventListener(type, listener, options);
}

/** Shows or hides an element if it is not: to say the same again costs the browser a look at all styles. */
export function setHidden(node: HTMLElement, hidden: boolean): void {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/** Makes `children` the children of `parent`, moving nothing that is in place. */
export function arrange(parent: HTMLElement, children: readonly HTMLElement[]): void {
  children.forEach((child, k) => {
    const present = parent.children[k];
    if (present !== child) parent.insertBefore(child, present ?? null);
  });
  while (parent.children.length > children.length) parent.lastElementChild!.remove();
}
