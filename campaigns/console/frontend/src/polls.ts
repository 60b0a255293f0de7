// Parts of pages that ask again and again ask no more once nobody here may hear it: after the session ended, and in a
// campaign that was deleted or may be seen no more. Told that it was too often, they wait as long as the server says.

import { secondsIn, TOO_MANY } from "./campaign/api";
import { isSaidLoggedOut } from "./logged_out";

export const POLLS = '[hx-trigger*="every "]';
const STAYS = "#switch"; // asked for on every page: so one hears that somebody logged in again

const notBefore = new WeakMap<Element, number>();

function isHeld(part: Element): boolean {
  if (isSaidLoggedOut()) return !part.matches(STAYS);
  return part.closest("[data-lost]") !== null || Date.now() < (notBefore.get(part) ?? 0);
}

function sayTooOften(part: HTMLElement, wait: number): void {
  const there = part.querySelector<HTMLElement>(":scope > [data-too-often]");
  const said = there ?? Object.assign(document.createElement("p"), { className: "hint" });
  said.dataset["tooOften"] = "";
  said.setAttribute("role", "status");
  said.textContent = `This is not the newest: it was asked for too often, again in ${wait} s.`;
  if (!there) part.prepend(said);
}

export function startPolls(): void {
  document.addEventListener("htmx:beforeRequest", (event) => {
    const { elt, requestConfig } = (event as HtmxRequest).detail;
    if (!requestConfig?.triggeringEvent && elt.matches(POLLS) && isHeld(elt)) event.preventDefault();
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { elt, xhr } = (event as HtmxFailure).detail;
    if (xhr?.status !== TOO_MANY || !(elt instanceof HTMLElement) || !elt.matches(POLLS)) return;
    const wait = secondsIn(xhr.getResponseHeader("Retry-After"));
    notBefore.set(elt, Date.now() + wait * 1000);
    sayTooOften(elt, wait);
  });
}
