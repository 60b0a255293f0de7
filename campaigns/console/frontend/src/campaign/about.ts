// The SQL of the tab About, as it was sent or laid out anew. The formatter is large and seldom needed: fetched when it is.

import { visible } from "./marks";

const asSent = new WeakMap<Element, string>();

async function toggle(button: HTMLElement, place: HTMLElement): Promise<void> {
  const sent = asSent.get(place) ?? place.textContent ?? "";
  asSent.set(place, sent);
  const formatted = button.getAttribute("aria-pressed") !== "true";
  if (formatted) {
    try {
      const { formatDialect, sqlite } = await import("sql-formatter");
      place.textContent = visible(formatDialect(sent, { dialect: sqlite, keywordCase: "upper", tabWidth: 4 }));
    } catch {
      button.title = "It cannot be formatted";
      return;
    }
  } else place.textContent = sent;
  button.setAttribute("aria-pressed", String(formatted));
}

// Laid out anew as soon as it is looked at, once.
function show(root: HTMLElement): void {
  const panel = root.querySelector<HTMLElement>("#panel-about");
  const button = panel?.querySelector<HTMLElement>("[data-format-sql]");
  const place = button && document.getElementById(button.dataset["formatSql"] ?? "");
  if (!button || !place || panel?.hidden) return;
  button.hidden = false;
  if (!asSent.has(place)) void toggle(button, place);
}

export function startAbout(root: HTMLElement): void {
  root.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-format-sql]") : null;
    const place = button && document.getElementById(button.dataset["formatSql"] ?? "");
    if (button && place) void toggle(button, place);
  });
  root.addEventListener("htmx:afterSwap", () => show(root));
  show(root);
}
