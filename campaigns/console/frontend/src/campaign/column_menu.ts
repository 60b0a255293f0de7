// The menu that hides and shows columns: found by a part of their name once they are many, a part of them drawn.

import { cutTo, visible } from "./marks";
import { headingOf, type View } from "./view";

const DRAWN = 100;
const FEW = 12; // need no field to find them

export class ColumnMenu {
  private readonly list: HTMLElement;
  private readonly words = document.createElement("input");
  private readonly all = document.createElement("div");
  private readonly more = document.createElement("p");
  private hidden: string[] = [];
  private columns: string[] = [];
  private shownFor = "";

  constructor(
    menu: HTMLDetailsElement,
    private readonly hide: (names: string[], hidden: boolean) => void,
  ) {
    this.list = menu.querySelector("ul")!;
    const sheet = document.createElement("div");
    sheet.className = "sheet column-sheet";
    this.list.replaceWith(sheet);
    this.words.type = "search";
    this.words.placeholder = "Find columns…";
    this.words.setAttribute("aria-label", "Find columns");
    this.words.autocomplete = "off";
    this.words.addEventListener("input", () => this.redraw());
    this.all.className = "side";
    this.all.append(this.button("Show all", false), this.button("Hide all", true));
    this.more.className = "hint";
    sheet.append(this.words, this.all, this.list, this.more);
  }

  draw(view: View, columns: string[]): void {
    this.hidden = view.hidden;
    this.columns = columns;
    this.words.hidden = columns.length <= FEW;
    this.redraw();
  }

  private get found(): string[] {
    const words = this.words.value.trim().toLowerCase();
    return this.columns.filter((name) => headingOf(name, this.columns).toLowerCase().includes(words));
  }

  // Boxes that are there stay, so that the one that was just ticked keeps its focus.
  private redraw(): void {
    const { found } = this;
    const drawn = found.slice(0, DRAWN);
    const key = JSON.stringify(drawn);
    if (key !== this.shownFor) this.list.replaceChildren(...drawn.map((name) => this.line(name)));
    this.shownFor = key;
    this.list.querySelectorAll("input").forEach((box, place) => (box.checked = !this.hidden.includes(drawn[place] ?? "")));
    this.more.textContent = found.length > DRAWN ? `and ${found.length - DRAWN} more: type a part of their name` : "";
    if (!found.length) this.more.textContent = this.columns.length ? "No column is called like this." : "No columns yet.";
  }

  private line(name: string): HTMLElement {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => this.hide([name], !box.checked));
    const words = document.createElement("bdi");
    words.textContent = cutTo(visible(headingOf(name, this.columns)), 60) || "(no name)";
    const label = document.createElement("label");
    label.append(box, words);
    const line = document.createElement("li");
    line.append(label);
    return line;
  }

  // All that are found: what is typed narrows it.
  private button(words: string, hidden: boolean): HTMLButtonElement {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "quiet";
    made.textContent = words;
    made.addEventListener("click", () => this.hide(this.found, hidden));
    return made;
  }
}
