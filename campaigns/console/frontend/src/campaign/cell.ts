// One cell in full: as lines, as JSON, or its whole row; copied as it is, shown with marks for what cannot be seen.

import { cellOf, get, tooOften, type Row } from "./api";
import { visible } from "./marks";

const PARTS = /"[^"\\]*(?:\\.[^"\\]*)*"|\[\s*\]|\{\s*\}|[[{\]},:]|[^\s[{\]},:"]+/g; // of JSON: texts, empty ones, marks, values
const LAID_OUT = 10_000_000; // characters, at most

type Show = "lines" | "json" | "row";
const WORDS: Record<Show, string> = { lines: "Lines", json: "JSON", row: "Whole row" };

export interface CellActions {
  only(column: string, value: string): void;
  onlyHost(row: Row): void;
  hostAddress(row: Row): string | null;
}

export class CellDialog {
  private readonly dialog = document.createElement("dialog");
  private readonly title = document.createElement("h2");
  private readonly host = document.createElement("p");
  private readonly text = document.createElement("pre");
  private readonly said = document.createElement("span");
  private readonly views = new Map<Show, HTMLButtonElement>();
  private readonly onlyButton = button("", () => this.only());
  private shown: { column: string | null; value: string; row: Record<string, string | null>; of: Row } | null = null;
  private show: Show = "lines";
  private fetching: AbortController | undefined; // of what is looked at

  constructor(
    parent: HTMLElement,
    private readonly campaign: string,
    private readonly actions: CellActions,
  ) {
    this.dialog.className = "cell-dialog";
    this.dialog.setAttribute("aria-labelledby", "cell-title");
    this.title.id = "cell-title";
    this.text.tabIndex = 0;
    this.text.setAttribute("role", "group");
    this.text.setAttribute("aria-label", "Value");
    this.said.setAttribute("role", "status");
    const choices = document.createElement("div");
    choices.className = "cell-views";
    for (const [show, words] of Object.entries(WORDS) as [Show, string][]) {
      const choice = button(words, () => this.draw(show));
      this.views.set(show, choice);
      choices.append(choice);
    }
    const actionsLine = document.createElement("div");
    actionsLine.className = "cell-views";
    actionsLine.append(button("Copy", () => void this.copy()), this.onlyButton, button("Close", () => this.dialog.close()), this.said);
    this.dialog.append(this.title, this.host, choices, this.text, actionsLine);
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    parent.append(this.dialog);
  }

  async open(row: Row, column: string | null, heading: string): Promise<void> {
    this.title.textContent = visible(heading) || "(a column without a name)";
    const address = this.actions.hostAddress(row);
    const link = document.createElement(address ? "a" : "span");
    if (link instanceof HTMLAnchorElement && address) link.href = address;
    link.textContent = visible(row.host.hostname);
    link.title = `#${row.host.id}`;
    this.host.replaceChildren("of ", link);
    this.said.textContent = "";
    this.text.textContent = row.cut.length ? "…" : "";
    this.shown = null;
    this.fetching?.abort();
    const { signal } = (this.fetching = new AbortController());
    this.dialog.showModal();
    let whole = row.row;
    if (row.cut.length) {
      try {
        whole = (await get<Row["row"]>(`/api/v1/campaigns/${this.campaign}/rows/${row.seq}/${row.place}/`, signal)).body;
      } catch (error) {
        if (signal.aborted) return; // another one is looked at
        const why = tooOften(error);
        this.said.textContent = `The whole value could not be fetched${why && `, ${why}`}: this is its beginning.`;
      }
    }
    const value = column === null ? row.host.hostname : (cellOf(whole, column) ?? "");
    this.shown = { column, value, row: whole, of: row };
    const isJson = asJson(value) !== null;
    this.views.get("json")!.disabled = !isJson;
    this.onlyButton.textContent = column === null ? "Only rows of this host" : "Only rows with this value";
    this.onlyButton.hidden = column !== null && value.length > 1_000;
    this.draw(isJson && /^\s*[[{]/.test(value) ? "json" : "lines");
  }

  private draw(show: Show): void {
    this.show = show;
    for (const [name, choice] of this.views) choice.setAttribute("aria-pressed", String(name === show));
    this.text.textContent = visible(this.asText());
    this.text.focus();
  }

  private asText(): string {
    if (!this.shown) return "";
    if (this.show === "row") return JSON.stringify(this.shown.row, null, 2);
    return this.show === "json" ? (asJson(this.shown.value) ?? this.shown.value) : this.shown.value;
  }

  private async copy(): Promise<void> {
    this.said.textContent = (await copyText(this.asText())) ? "Copied." : "The browser does not allow it: select and copy.";
  }

  private only(): void {
    if (!this.shown) return;
    this.dialog.close();
    if (this.shown.column === null) this.actions.onlyHost(this.shown.of);
    else this.actions.only(this.shown.column, this.shown.value);
  }
}

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function button(words: string, onClick: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "quiet";
  made.textContent = words;
  made.addEventListener("click", onClick);
  return made;
}

function asJson(text: string): string | null {
  if (!/^\s*[[{"\d-]|^\s*(true|false|null)\s*$/.test(text)) return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  return laidOut(text);
}

// JSON in lines, each name and value as it was written: read and written anew, large numbers become others, and of names
// that stand twice one is lost. Null where indents would make it a giant.
function laidOut(json: string): string | null {
  let depth = 0;
  let text = "";
  const line = (): string => `\n${"  ".repeat(depth)}`;
  for (const [part] of json.matchAll(PARTS)) {
    if (text.length > LAID_OUT) return null;
    if (part === "[" || part === "{") {
      depth += 1;
      text += part + line();
    } else if (part === "]" || part === "}") {
      depth -= 1;
      text += line() + part;
    } else if (part === ",") text += part + line();
    else if (part === ":") text += ": ";
    else text += part.replace(/^([[{])\s+/, "$1");
  }
  return text;
}
