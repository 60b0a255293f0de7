// What a control answers is said beside it, and the page stays: done, refused with the server's sentence, or nobody
// answered, with a button to try again. What was typed or chosen is still there then.

import { told } from "./times";

const AWAY = "The server does not answer. Nothing is lost: what you entered is still here.";
const WRONG = "The server could not do it.";
const DONE_MS = 12_000; // success is said for so long

let pressed = ""; // id of what had the focus when it was asked

function giveBack(): void {
  if (pressed && document.activeElement === document.body) document.getElementById(pressed)?.focus({ preventScroll: true });
}

interface Asked {
  elt: HTMLElement;
  xhr?: XMLHttpRequest;
}

function placeOf(part: HTMLElement, name = "says"): HTMLElement | null {
  const at = part.closest<HTMLElement>(`[data-${name === "says" ? "says" : "then-says"}]`);
  return at && document.getElementById(at.dataset[name] ?? "");
}

function say(place: HTMLElement, kind: "good" | "bad", sentence: string, again?: () => void): void {
  place.className = `in-place banner ${kind}`;
  place.replaceChildren(...told(sentence));
  const written = place.textContent;
  place.setAttribute("role", kind === "bad" ? "alert" : "status");
  if (again) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Try again" });
    button.addEventListener("click", () => {
      quiet(place);
      again();
    });
    place.append(" ", button);
  }
  if (kind === "good") setTimeout(() => place.textContent === written && quiet(place), DONE_MS);
}

function quiet(place: HTMLElement): void {
  place.className = "in-place";
  place.replaceChildren();
}

function retry(part: HTMLElement): () => void {
  const submitter = part instanceof HTMLFormElement ? part.querySelector<HTMLButtonElement>("button[type=submit], button:not([type])") : null;
  return () => (part instanceof HTMLFormElement ? part.requestSubmit(submitter) : part.click());
}

function onFailure(event: Event): void {
  const { elt, xhr } = (event as CustomEvent<Asked>).detail;
  const place = placeOf(elt);
  if (!place) return;
  const words = sentenceIn(xhr);
  const isRefused = xhr !== undefined && xhr.status >= 400 && xhr.status < 500;
  say(place, "bad", words ?? (isRefused ? WRONG : AWAY), isRefused && words ? undefined : retry(elt));
}

// What the server says to a page's script; null = it said nothing, or something else.
export function sentenceIn(xhr: XMLHttpRequest | undefined): string | null {
  return xhr?.getResponseHeader("Content-Type")?.startsWith("text/plain") ? sentence(xhr.responseText) : null;
}

// Sentences of the server begin small and end without a stop where they are parts of others.
function sentence(text: string): string {
  const whole = text.trim();
  return whole ? `${whole[0]!.toUpperCase()}${whole.slice(1)}${/[.!?]$/.test(whole) ? "" : "."}` : WRONG;
}

export function startAnswersInPlace(): void {
  for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) document.addEventListener(name, onFailure);
  document.addEventListener("htmx:beforeRequest", (event) => {
    const place = placeOf((event as CustomEvent<Asked>).detail.elt);
    if (!place) return;
    quiet(place);
    pressed = document.activeElement?.id ?? "";
  });
  // A button that cannot be pressed twice, or is drawn anew, lost the focus meanwhile.
  document.addEventListener("htmx:afterRequest", () => setTimeout(giveBack));
  document.addEventListener("htmx:afterSettle", giveBack);
  document.addEventListener("said", (event) => {
    const part = event.target as HTMLElement;
    const place = placeOf(part, "thenSays") ?? placeOf(part);
    const { value } = (event as CustomEvent<{ value?: string; sentence?: string }>).detail;
    if (place) say(place, "good", (event as CustomEvent<{ sentence?: string }>).detail.sentence ?? value ?? "");
    part.closest("dialog")?.close();
  });
}
