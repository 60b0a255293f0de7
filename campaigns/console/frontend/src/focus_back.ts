// A form that leads back to its page gives the keyboard back: to the first field that is refused, to what was pressed,
// to what stands in its place now, else to what is said. Without it every step would begin at the top of the page.

import { unfold } from "./drafts";

const PRESSED = "pressed";

interface Pressed {
  path: string;
  byKeyboard: boolean;
  field: string; // its id, when it was sent from there
  action: string;
  words: string;
  at: number; // among the buttons of these words
}

const actionOf = (button: HTMLButtonElement) => button.form?.getAttribute("action") ?? "";
// What is said to ears alone names the row it is in.
const wordsOf = (button: Element) => [...button.childNodes].map((part) => (part instanceof Text ? part.data.trim() : "")).join("");
const buttons = () => [...document.querySelectorAll<HTMLButtonElement>("form[method=post] button:not([type=button], :disabled)")];
const alike = (words: string) => buttons().filter((button) => wordsOf(button) === words);

function remember(event: SubmitEvent): void {
  sessionStorage.removeItem(PRESSED);
  const { target, submitter } = event;
  if (event.defaultPrevented || !(target instanceof HTMLFormElement) || target.getAttribute("method") !== "post") return;
  const focused = document.activeElement;
  const words = submitter ? wordsOf(submitter) : "";
  const pressed: Pressed = {
    path: location.pathname,
    byKeyboard: focused?.matches(":focus-visible") ?? false,
    field: focused && focused !== submitter && target.contains(focused) ? focused.id : "",
    action: target.getAttribute("action") ?? "",
    words,
    at: alike(words).findIndex((button) => button === submitter),
  };
  sessionStorage.setItem(PRESSED, JSON.stringify(pressed));
}

function taken(): Pressed | null {
  const text = sessionStorage.getItem(PRESSED);
  sessionStorage.removeItem(PRESSED);
  return text === null ? null : (JSON.parse(text) as Pressed);
}

function refused(): HTMLElement | null {
  const wrong = document.querySelector<HTMLElement>("main form[method=post] :is([aria-invalid=true], .error[role=alert])");
  return wrong?.closest(".stack-field")?.querySelector<HTMLElement>("input, select, textarea") ?? wrong;
}

function successor({ field, action, words, at }: Pressed): HTMLElement | null {
  const same = alike(words);
  const found = document.getElementById(field) ?? same.find((button) => actionOf(button) === action) ?? same[Math.min(at, same.length - 1)];
  return found ?? buttons().find((button) => actionOf(button) === action) ?? null;
}

// What is folded away is reached by what opens it.
function reachable(part: HTMLElement | null): HTMLElement | null {
  const dialog = part?.closest("dialog:not([open])");
  if (dialog) return document.querySelector<HTMLElement>(`[data-open-dialog="${dialog.id}"]`);
  const folded = part?.closest("details:not([open])");
  const found = folded ? folded.querySelector<HTMLElement>(":scope > summary") : part;
  return found?.checkVisibility() ? found : null;
}

function stand(part: HTMLElement): void {
  if (part.tabIndex < 0) part.tabIndex = -1;
  part.focus({ preventScroll: true });
  part.scrollIntoView({ block: "nearest" });
}

export function startFocusBack(): void {
  document.addEventListener("submit", remember);
  const pressed = taken();
  const isTaken = document.activeElement !== document.body || [...document.querySelectorAll("[autofocus]")].some((part) => part.checkVisibility());
  if (!pressed || isTaken) return;
  const wrong = refused();
  if (wrong) {
    unfold(wrong);
    stand(wrong);
  } else if (pressed.byKeyboard && pressed.path === location.pathname) {
    const said = document.querySelector<HTMLElement>("main > .banner[role]");
    const back = said?.matches("[role=alert]") ? said : (reachable(successor(pressed)) ?? said);
    if (back) stand(back);
  }
}
