// A part of a page that is drawn anew by itself takes nothing out of its reader's hands: what is typed or ticked in it
// stays, what is folded open stays open, and the keyboard stays where it stood.

import { POLLS } from "./polls";

type Typed = { value: string } | { checked: boolean } | { chosen: string[] };

interface Seen {
  part: Element;
  place: Element | null; // that it stands in, and where: it may be another element afterwards
  at: number;
  focused: string;
  typed: Map<string, Typed>;
  folds: Map<string, boolean>;
}

const REACHED = "a[href], button, summary, input, select, textarea, [tabindex]";
const BY_ITSELF = new Set(["refresh", "counts", "over", "late"]); // else it asks by its clock, which is no event

const text = (part: Element): string => (part.matches("button, summary") ? (part.textContent ?? "").trim() : "");

// By what an element is known when it is drawn anew: its name, else what it leads to or says.
function known(part: Element): string {
  if (part.id) return `#${part.id}`;
  const said = ["href", "name", "type", "aria-label"].map((name) => part.getAttribute(name) ?? "");
  const box = part instanceof HTMLInputElement && part.matches("[type=checkbox], [type=radio]") ? part.value : "";
  return JSON.stringify([part.localName, part.closest("form")?.getAttribute("action") ?? "", box, text(part), ...said]);
}

// Of those that are known by the same, the first, the second, …
function named(part: Element, which: string): [string, Element][] {
  const many = new Map<string, number>();
  return [...part.querySelectorAll(which)].map((found) => {
    const name = known(found);
    const before = many.get(name) ?? 0;
    many.set(name, before + 1);
    return [`${name} ${before}`, found];
  });
}

function typedIn(field: Element): Typed | null {
  if (field instanceof HTMLSelectElement) {
    const drawn = field.querySelector("[selected]") ?? (field.multiple ? null : field.options[0]);
    const isAsDrawn = [...field.options].every((option) => option.selected === (option.defaultSelected || option === drawn));
    return isAsDrawn ? null : { chosen: [...field.selectedOptions].map((option) => option.value) };
  }
  if (field instanceof HTMLTextAreaElement) return field.value === field.defaultValue ? null : { value: field.value };
  if (!(field instanceof HTMLInputElement) || field.type === "hidden") return null;
  if (field.type === "checkbox" || field.type === "radio") return field.checked === field.defaultChecked ? null : { checked: field.checked };
  return field.value === field.defaultValue ? null : { value: field.value };
}

function look(part: Element): Seen {
  const typed = new Map<string, Typed>();
  for (const [name, field] of named(part, "input, select, textarea")) {
    const found = typedIn(field);
    if (found) typed.set(name, found);
  }
  const active = document.activeElement;
  const focused = active && part.contains(active) && active !== part ? (named(part, REACHED).find(([, found]) => found === active)?.[0] ?? "") : "";
  const folds = new Map(named(part, "details").map(([name, fold]) => [name, (fold as HTMLDetailsElement).open]));
  return { part, place: part.parentElement, at: [...(part.parentElement?.children ?? [])].indexOf(part), focused, typed, folds };
}

function write(field: Element, typed: Typed): void {
  if ("chosen" in typed && field instanceof HTMLSelectElement) for (const option of field.options) option.selected = typed.chosen.includes(option.value);
  else if ("checked" in typed && field instanceof HTMLInputElement) field.checked = typed.checked;
  else if ("value" in typed && (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement)) field.value = typed.value;
}

function putBack({ part, place, at, focused, typed, folds }: Seen): void {
  const now = part.isConnected ? part : place?.children[at];
  if (!now) return;
  for (const [name, fold] of named(now, "details")) (fold as HTMLDetailsElement).open = folds.get(name) ?? (fold as HTMLDetailsElement).open;
  for (const [name, field] of named(now, "input, select, textarea")) {
    const before = typed.get(name);
    if (before) write(field, before);
  }
  if (!focused || document.activeElement !== document.body) return;
  const found = named(now, REACHED).find(([name]) => name === focused)?.[1];
  if (found instanceof HTMLElement) found.focus({ preventScroll: true });
}

// What came is what is there: it is not drawn, and who hears the page is not told again.
function isAsBefore(target: Element, asks: Element, came: string): boolean {
  if (asks !== target || asks.getAttribute("hx-swap") !== "outerHTML" || asks.hasAttribute("hx-select")) return false;
  const drawn = target.cloneNode(true) as Element;
  for (const name of [...drawn.classList]) if (name.startsWith("htmx-")) drawn.classList.remove(name);
  const made = Object.assign(document.createElement("template"), { innerHTML: came }).content;
  return made.childElementCount === 1 && made.firstElementChild!.isEqualNode(drawn);
}

export function startRedrawn(): void {
  let main: Seen | null = null;
  let beside: Seen | null = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { detail } = event as HtmxSwap;
    const { target, requestConfig } = detail;
    const by = requestConfig?.triggeringEvent?.type;
    const isByItself = requestConfig?.verb === "get" && (by ? BY_ITSELF.has(by) : requestConfig.elt.matches(POLLS));
    main = isByItself ? look(target) : null;
    if (isByItself && isAsBefore(target, requestConfig.elt, detail.serverResponse)) detail.shouldSwap = false;
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (main) putBack(main);
    main = null;
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    beside = main && look((event as HtmxSwap).detail.target);
  });
  document.addEventListener("htmx:oobAfterSwap", () => {
    if (beside) putBack(beside);
    beside = null;
  });
}
