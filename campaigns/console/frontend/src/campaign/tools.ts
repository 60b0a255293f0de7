// What stands above the grid: search, filters in words, columns, copy, export, and new rows that wait.

import { tooOften } from "./api";
import { ColumnMenu } from "./column_menu";
import { cutTo, visible } from "./marks";
import type { RowGrid } from "./grid";
import { headingOf, HOST, isHostName, type View, waiting } from "./view";

const SEARCH_MS = 250;

type Make = (
  place: HTMLElement,
  onShown: (sentence: string, newer: boolean) => void,
  onView: (view: View, columns: string[]) => void,
) => RowGrid;

export function startRowTools(root: HTMLElement, make: Make): RowGrid {
  const part = <Kind extends HTMLElement>(name: string): Kind => root.querySelector<Kind>(`[data-rows-${name}]`)!;
  const search = part<HTMLInputElement>("search");
  const shown = root.querySelector<HTMLElement>('[data-live="shown"]')!;
  const nothing = root.querySelector<HTMLElement>("[data-nothing-said]")!; // in the grid's place while it is empty
  const newer = part<HTMLButtonElement>("newer");
  const chips = part<HTMLElement>("chips");
  const columnsMenu = part<HTMLDetailsElement>("columns");
  const exported = part<HTMLAnchorElement>("export");
  const said = part<HTMLElement>("said");
  const place = part<HTMLElement>("grid");

  place.hidden = false;
  for (const plain of root.querySelectorAll<HTMLElement>("[data-rows-plain]")) plain.remove();
  for (const tool of root.querySelectorAll<HTMLElement>("[data-with-script]")) tool.hidden = false;
  let made: RowGrid | undefined;
  const drawn = new ColumnMenu(columnsMenu, (names, hidden) => made?.hide(names, hidden));

  function onShown(sentence: string, more: boolean): void {
    for (const said of [shown, nothing]) if (said.textContent !== sentence) said.textContent = sentence;
    newer.hidden = !more;
  }

  function onView(view: View, columns: string[]): void {
    if (document.activeElement !== search) search.value = view.search;
    chips.replaceChildren(
      ...view.filters.map((filter) => {
        const sign = filter.kind === "equals" ? "=" : "contains";
        const name = isHostName(filter.column, columns) ? HOST : headingOf(filter.column, columns);
        const words = `${cutTo(visible(name), 40)} ${sign} ${cutTo(visible(filter.value), 60) || "(empty)"}`;
        return chipOf(words, () => made?.drop(filter));
      }),
      ...waiting(view).map((filter) => {
        const words = `${cutTo(visible(filter), 60)} (no such column${columns.length ? "" : " yet"})`;
        return chipOf(words, () => made?.dropUnknown(filter));
      }),
      ...view.hosts.map((id) => {
        const name = cutTo(visible(made?.hostName(id) ?? ""), 60);
        return chipOf(`host = ${name ? `${name} ` : ""}#${id}`, () => made?.onlyHosts(view.hosts.filter((other) => other !== id)));
      }),
    );
    if (made) exported.href = made.exportAddress();
    if (columnsMenu.open) drawn.draw(view, columns);
  }

  let typing = 0;
  search.addEventListener("input", () => {
    window.clearTimeout(typing);
    typing = window.setTimeout(() => made?.search(search.value.trim()), SEARCH_MS);
  });
  search.form?.addEventListener("submit", (event) => {
    event.preventDefault();
    made?.search(search.value.trim());
  });
  newer.addEventListener("click", () => {
    newer.hidden = true;
    made?.join();
  });
  columnsMenu.addEventListener("toggle", () => made && columnsMenu.open && drawn.draw(made.asked, made.columnNames));
  part<HTMLButtonElement>("copy").addEventListener("click", () => {
    said.textContent = "Copying…";
    made
      ?.copy()
      .then((sentence) => (said.textContent = sentence))
      .catch((error: unknown) => (said.textContent = `The rows could not be fetched: ${tooOften(error) || "try again"}.`));
  });

  made = make(place, onShown, onView);
  onView(made.asked, made.columnNames);
  return made;
}

function chipOf(words: string, onClick: () => void): HTMLElement {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.className = "quiet chip";
  chip.textContent = `${words} ✕`;
  chip.setAttribute("aria-label", `Remove the filter ${words}`);
  chip.addEventListener("click", onClick);
  return chip;
}
