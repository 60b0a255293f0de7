// The buttons that change a campaign and the line above its rows: drawn anew by the server, never under somebody's hands.

import { isAsked } from "../dialogs";

interface Htmx {
  trigger(element: Element, event: string): void;
}
declare const htmx: Htmx;

// Ask for the buttons now: what they may do has changed.
export function drawControls(): void {
  const control = document.getElementById("control");
  if (control) htmx.trigger(control, "refresh");
}

// Somebody types a number, or looks into a menu.
const isUsed = (part: Element): boolean => part.querySelector("input:focus, details.menu[open]") !== null;
// What was pressed waits for its answer: htmx tells nobody of one that belongs to what is gone.
const waits = (part: Element, answered: Element | undefined): boolean => [...part.querySelectorAll(".htmx-request")].some((one) => one !== answered);

export function startControls(root: HTMLElement, changed: () => void): void {
  let text = "";
  let wasOpen = false;
  let answered: Element | undefined; // whose answer is being drawn

  root.addEventListener("htmx:beforeSwap", (event) => {
    const { detail } = event as CustomEvent<{ target: Element; shouldSwap: boolean; requestConfig?: { elt: Element; verb: string } }>;
    answered = detail.requestConfig?.elt;
    if (detail.target.id !== "control") return;
    if (waits(detail.target, answered) || (detail.requestConfig?.verb === "get" && isUsed(detail.target))) detail.shouldSwap = false;
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { detail } = event as CustomEvent<{ target: Element; shouldSwap: boolean }>;
    if (detail.target.id !== "standing") return;
    const input = detail.target.querySelector<HTMLInputElement>("input:focus");
    if (input?.value || isAsked() || waits(detail.target, answered)) detail.shouldSwap = false;
    wasOpen = detail.target.querySelector("#notices[open]") !== null;
  });
  document.addEventListener("htmx:oobAfterSwap", (event) => {
    const { target } = (event as CustomEvent<{ target: Element }>).detail;
    const notices = document.querySelector<HTMLDetailsElement>("#standing > #notices");
    if (target.id === "standing" && notices && wasOpen) notices.open = true;
  });
  // Paused, resumed, widened: the counts below follow at once.
  document.addEventListener("htmx:afterSwap", (event) => {
    const { target } = (event as CustomEvent<{ target: Element }>).detail;
    const now = `${document.getElementById("pause")?.textContent} ${document.getElementById("standing")?.textContent}`;
    if (target.id !== "control" || now === text) return;
    text = now;
    changed();
  });
}
