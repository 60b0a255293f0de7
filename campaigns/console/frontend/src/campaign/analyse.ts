// SQL over answers, of a campaign or the last known ones of a query: a grid and a chart, kept in the address and as views.
//
// Cells are text: what hosts send is never read as HTML.

import { CellStyleModule, ClientSideRowModelModule, type ColDef, createGrid, type GridApi, ModuleRegistry } from "ag-grid-community";
import { goTo, rewrite } from "./address";
import { refusalIn, secondsToWait } from "./api";
import { becomeEditor, nonce } from "../sql_editor";
import type { Table } from "../schema";
import { type Chart, drawChart, NUMBERS, type Result, shapeOf } from "./chart";
import { common, sizeHead } from "./grid_theme";
import { visible } from "./marks";

ModuleRegistry.registerModules([CellStyleModule, ClientSideRowModelModule]);

const AWAY = "The server did not answer";
const SHORT = 12; // rows that are shown without a window to scroll in
const AGAIN_MS = 5_000; // a view is asked again that often, at most, while its campaign runs
const counted = new Intl.NumberFormat("en");

type Cells = unknown[];

// Integers that a number of JavaScript cannot hold stay as they were written.
export function read(text: string): Result {
  return JSON.parse(text, (_name, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) ? (context?.source ?? value) : value,
  ) as Result;
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return "";
  return visible(typeof value === "object" ? JSON.stringify(value) : String(value));
}

export class Analysis {
  private readonly field: HTMLTextAreaElement;
  private readonly form: HTMLFormElement;
  private readonly said: HTMLElement;
  private readonly kind: HTMLSelectElement;
  private grid: GridApi<Cells> | null = null;
  private result: Result | null = null;
  private running: AbortController | null = null;
  private asked = ""; // the SQL that was asked last: what is being typed since is not run by itself
  private askedAt = 0;
  private due = 0;

  constructor(private readonly panel: HTMLElement) {
    this.form = panel.querySelector("form")!;
    this.field = panel.querySelector("textarea")!;
    this.said = panel.querySelector("[data-said]")!;
    this.kind = panel.querySelector("select")!;
    const tables = JSON.parse(panel.dataset["tables"] ?? "[]") as Table[];
    becomeEditor(this.field, { nonce: nonce(), tables: Promise.resolve(tables), unchecked: true });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.run();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void this.run();
    });
    this.kind.addEventListener("change", () => {
      this.keep();
      this.draw();
    });
    panel.querySelectorAll<HTMLButtonElement>("[data-view-sql]").forEach((button) => button.addEventListener("click", () => this.show(button)));
    document.addEventListener("stepped", () => this.follow());
    panel.querySelector("[data-save-view]")?.addEventListener("click", () => void this.save());
  }

  // The tab was opened: what the address or the first view asks for is asked at once.
  opened(): void {
    if (!this.result && !this.running && this.field.value.trim()) void this.run();
  }

  // More answers came: the same analysis again, while it is looked at. One that named columns which nobody had given
  // yet may be well by now.
  grew(): void {
    if (this.panel.hidden || document.hidden || !this.askedAt || this.due) return;
    this.due = window.setTimeout(
      () => {
        this.due = 0;
        if (!this.running) void this.run(true);
      },
      Math.max(0, this.askedAt + AGAIN_MS - Date.now()),
    );
  }

  // Somebody stepped back or forward to another analysis.
  private follow(): void {
    const asked = new URLSearchParams(location.search);
    const sql = asked.get("analyse");
    const chart = asked.get("chart") ?? "";
    if (this.panel.hidden || sql === null || (sql === this.field.value && chart === this.kind.value)) return;
    this.ask(sql, chart);
  }

  private ask(sql: string, chart: string): void {
    this.field.value = sql;
    this.kind.value = chart;
    this.field.dispatchEvent(new Event("change"));
    void this.run();
  }

  private show(button: HTMLButtonElement): void {
    this.ask(button.dataset["viewSql"] ?? "", button.dataset["viewChart"] ?? "");
  }

  private async run(again = false): Promise<void> {
    this.running?.abort();
    const stop = (this.running = new AbortController());
    this.askedAt = Date.now();
    if (!again) {
      this.asked = this.field.value;
      this.tell("running…");
    }
    try {
      const answer = await this.post(this.panel.dataset["address"] ?? "", { sql: this.asked }, stop.signal);
      const text = await answer.text();
      if (!answer.ok) {
        this.askedAt += secondsToWait(refusalIn(answer)) * 1000;
        if (!again || !this.result) this.fail((JSON.parse(text) as { error: string }).error);
        return;
      }
      this.result = read(text);
      this.panel.removeAttribute("data-before");
      const { rows, truncated, took_ms: took } = this.result;
      this.tell(`${counted.format(rows.length)} ${rows.length === 1 ? "row" : "rows"} in ${(took / 1000).toFixed(1)} s${truncated ? "; there are more than are shown: narrow or group them" : ""}`);
      if (!again) this.keep();
      this.draw();
    } catch (error) {
      if (!stop.signal.aborted && !again) this.fail(`${AWAY} (${String(error)}): try again.`);
    } finally {
      if (this.running === stop) this.running = null;
    }
  }

  private post(address: string, body: unknown, signal: AbortSignal | null = null): Promise<Response> {
    const token = this.form.querySelector<HTMLInputElement>("[name=csrfmiddlewaretoken]")?.value ?? "";
    return fetch(address, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-CSRFToken": token }, signal });
  }

  private async save(): Promise<void> {
    const name = this.panel.querySelector<HTMLInputElement>("[name=view]")!;
    try {
      const answer = await this.post(`/api/v1/queries/${this.panel.dataset["query"]}/views/`, { name: name.value, sql: this.field.value, chart: this.kind.value });
      this.tell(answer.ok ? `Kept as ${name.value}: the next run of this query shows it at once.` : ((await answer.json()) as { error: string }).error, !answer.ok);
    } catch (error) {
      this.tell(`${AWAY} (${String(error)}): try again.`, true);
    }
  }

  private keep(): void {
    const isFirst = !new URLSearchParams(location.search).has("analyse");
    const asked = new URLSearchParams(this.panel.dataset["tab"] ? { tab: this.panel.dataset["tab"] } : location.search);
    asked.set("analyse", this.field.value);
    asked.delete("chart");
    if (this.kind.value) asked.set("chart", this.kind.value);
    (isFirst ? rewrite : goTo)(`?${asked}`);
  }

  // What is drawn is not of this question: it stays, pale, while one mends it.
  private fail(sentence: string): void {
    this.panel.toggleAttribute("data-before", this.result !== null);
    this.tell(this.result ? `${sentence.replace(/\.$/, "")}. Below is still what the question before gave.` : sentence, true);
  }

  private tell(sentence: string, wrong = false): void {
    this.said.textContent = sentence;
    this.said.classList.toggle("error", wrong);
  }

  private draw(): void {
    if (!this.result) return;
    const { columns, rows } = this.result;
    const place = this.panel.querySelector<HTMLElement>("[data-grid]")!;
    place.hidden = false;
    const isNew = !this.grid;
    this.grid ??= createGrid<Cells>(place, { ...common, styleNonce: nonce(), columnDefs: [], rowData: [], defaultColDef: { sortable: true, resizable: true, suppressMovable: true, minWidth: 90, flex: 1 } });
    if (isNew) sizeHead(this.grid);
    const definitions = columns.map(
      ({ name, type }, index): ColDef<Cells> => ({
        colId: `${index}`,
        headerName: visible(name),
        valueGetter: ({ data }) => data?.[index],
        valueFormatter: ({ value }) => shown(value),
        cellClass: NUMBERS.test(type) ? "cell n" : "cell",
      }),
    );
    const isShort = rows.length <= SHORT;
    place.classList.toggle("short", isShort);
    this.grid.setGridOption("domLayout", isShort ? "autoHeight" : "normal");
    this.grid.setGridOption("columnDefs", definitions);
    this.grid.setGridOption("rowData", rows);
    const canvas = this.panel.querySelector<HTMLElement>("[data-chart]")!;
    const kind = (this.kind.value || shapeOf(this.result)) as Chart;
    drawChart(canvas, this.result, kind, this.panel.dataset["chartLibrary"] ?? "").catch((error: unknown) => this.tell(String(error), true));
  }
}
