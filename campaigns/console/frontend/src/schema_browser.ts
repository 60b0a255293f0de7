// The tables of the fleet beside the editor: found by a part of their name or of a column's, with the platforms that
// have them and the types of columns; a click asks for some rows of one, or writes a column where the cursor stands.

import type { EditorView } from "@codemirror/view";
import { tooOften } from "./campaign/api";
import { platformNames, tables, type Column, type Table } from "./schema";

const SHOWN = 60; // tables at once; more are found by typing
const ROWS_OF_A_SAMPLE = 20;

const plainName = (name: string) => (/^[a-z_]\w*$/i.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

function element<K extends keyof HTMLElementTagNameMap>(tag: K, className: string, text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function sampleOf(table: Table): string {
  const shown = table.columns.filter((column) => !column.hidden).map((column) => plainName(column.name));
  return `SELECT ${shown.join(", ") || "*"}\nFROM ${plainName(table.name)}\nLIMIT ${ROWS_OF_A_SAMPLE}`;
}

function score(table: Table, words: string): number {
  const name = table.name.toLowerCase();
  if (name === words) return 0;
  if (name.startsWith(words)) return 1;
  if (name.includes(words)) return 2;
  return table.columns.some((column) => column.name.toLowerCase().includes(words)) ? 3 : -1;
}

function columnLine(column: Column, table: Table, write: (text: string) => void): HTMLElement {
  const item = element("li", "");
  const button = element("button", "bare column");
  button.type = "button";
  button.title = `Write ${column.name} where the cursor stands`;
  button.append(element("code", "", column.name), element("span", "dim", column.type.toLowerCase()));
  if (column.hidden) button.append(element("span", "mark", "not in *"));
  if (column.platforms.length < table.platforms.length) button.append(element("span", "dim", platformNames(column.platforms)));
  button.addEventListener("click", () => write(plainName(column.name)));
  item.append(button);
  return item;
}

export function browseSchema(panel: HTMLElement, search: HTMLInputElement, view: EditorView, replace: (sql: string) => void): void {
  let known: Table[] = [];
  const insert = (text: string) => {
    view.dispatch(view.state.replaceSelection(text), { userEvent: "input.complete", scrollIntoView: true });
    view.focus();
  };

  function tableLine(table: Table): HTMLElement {
    const line = element("details", "table-of");
    const title = element("summary", "");
    title.append(element("b", "", table.name), element("span", "dim", platformNames(table.platforms)));
    line.append(title);
    line.addEventListener("toggle", () => {
      if (!line.open || line.childElementCount > 1) return;
      const sample = element("button", "quiet sample", `Ask for ${ROWS_OF_A_SAMPLE} rows`);
      sample.type = "button";
      sample.addEventListener("click", () => replace(sampleOf(table)));
      const columns = element("ul", "columns");
      columns.append(...table.columns.map((column) => columnLine(column, table, insert)));
      line.append(sample, columns);
    });
    return line;
  }

  function draw(): void {
    const words = search.value.trim().toLowerCase();
    const found = known
      .map((table) => ({ table, at: score(table, words) }))
      .filter(({ at }) => at >= 0)
      .sort((one, other) => one.at - other.at);
    const lines = found.slice(0, SHOWN).map(({ table }) => tableLine(table));
    const hint = element("p", "hint");
    if (!known.length) hint.textContent = "No host has told its tables yet; they do so soon after they enroll.";
    else if (!found.length) hint.textContent = "No table and no column is like this.";
    else if (found.length > SHOWN) hint.textContent = `${found.length - SHOWN} more: type a part of the name.`;
    panel.replaceChildren(...lines, hint);
    if (words && lines.length === 1) (lines[0] as HTMLDetailsElement).open = true;
  }

  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
  });
  const say = (why: string) => panel.replaceChildren(element("p", "hint", `The tables could not be fetched: ${why}.`));
  tables((error) => say(tooOften(error) || "they are tried again")).then(
    (found) => {
      known = found;
      draw();
    },
    () => say("load the page again"),
  );
}
