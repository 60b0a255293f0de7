// The grid over all rows of a campaign: the server searches, filters and sorts, the browser holds a few pages of them.
//
// Every cell is text: what hosts send is never read as HTML. Cells come cut; one that is opened is fetched whole.

import {
  type CellKeyDownEvent, CellStyleModule, type ColDef, type Column, ColumnApiModule, ColumnAutoSizeModule, createGrid, type GridApi, type IDatasource,
  type IGetRowsParams, InfiniteRowModelModule, ModuleRegistry, RenderApiModule, RowApiModule, ScrollApiModule, TextFilterModule,
} from "ag-grid-community";
import { cellOf, get, isForGood, secondsToWait, tooOften, type Row, whyNot, type RowPage } from "./api";
import { CellDialog, copyText } from "./cell";
import { common, LINE, sizeHead } from "./grid_theme";
import { hostAddress, hostCell, Namesakes } from "./host_cell";
import { cutTo, visible } from "./marks";
import { type Filter, headingOf, HOST, hostNameIn, isHostName, questionOf, type View, viewIn, viewWith, writeAddress } from "./view";
import { keepWidth, widthFor, widthsOf } from "./widths";

ModuleRegistry.registerModules([CellStyleModule, ColumnApiModule, ColumnAutoSizeModule, InfiniteRowModelModule, RenderApiModule, RowApiModule, ScrollApiModule, TextFilterModule]);

const HOST_WIDTH = 190; // px
const PAGE = 100; // rows fetched at a time
const CELLS = 20_000; // of a page, at most: wide rows are fetched fewer at a time
const FEWEST = 20;
const SAMPLE = 40; // first rows, which tell how wide columns are and which hold numbers
const PAGES_KEPT = 10;
const CELL = 300; // characters of a cell in the grid
const HEADING = 120; // characters of a column's name in the grid
const COPIED = 1_000; // rows, at most
const COPIED_OF_CELL = 10_000; // characters, at most
const JOIN_MS = 1_000; // new rows are fetched that often, at most
const AGAIN_MS = 3_000; // after a failure
const NUMBER = /^-?\d{1,18}(\.\d+)?$/;
const HOST_COLUMN = "host of the row"; // ids of columns: theirs begin with "column:"

export interface GridHandlers {
  onShown(sentence: string, newer: boolean): void;
  onView(view: View, columns: string[]): void;
  onRefused(): void;
}

export class RowGrid {
  private readonly api: GridApi<Row>;
  private readonly cell: CellDialog;
  private view: View;
  private total = 0;
  private found: number | null = null; // rows that fit, once the last page was seen
  private seen = 0; // rows that fit, as far as was looked
  private failed = false;
  private tooOften = ""; // what is said of it
  private notBefore = 0;
  private refused = ""; // for good, and why
  private over = false;
  private drawn: boolean; // its columns are
  private nothing = ""; // what is said once it is over without a row
  private sized = false;
  private numbers = new Set<string>(); // columns that stand right: as far as the first rows tell, all of it is numbers
  private readonly namesakes = new Namesakes();
  private joinedAt = 0;
  private due = 0;
  private generation = 0; // of the view: what was asked for an earlier one says nothing of this one

  constructor(
    private readonly place: HTMLElement,
    private readonly campaign: string,
    private columns: string[],
    private readonly seesHosts: boolean,
    nonce: string,
    private readonly handlers: GridHandlers,
  ) {
    this.drawn = isShown(place);
    this.view = viewIn(this.drawn ? location.search : "", columns);
    this.cell = new CellDialog(place.parentElement ?? place, campaign, {
      only: (column, value) => this.only(column, value),
      onlyHost: (row) => this.onlyHosts([`${row.host.id}`]),
      hostAddress: (row) => (this.seesHosts ? hostAddress(row) : null),
    });
    this.api = createGrid<Row>(place, {
      ...common,
      styleNonce: nonce,
      columnDefs: this.drawn ? this.definitions() : [],
      defaultColDef: {
        sortable: true,
        resizable: true,
        suppressMovable: true,
        minWidth: 70,
        filter: "agTextColumnFilter",
        floatingFilter: true,
        filterParams: { filterOptions: ["contains", "equals"], maxNumConditions: 1, debounceMs: 300, trimInput: false },
      },
      overlayNoRowsTemplate: "<span>No rows</span>",
      rowModelType: "infinite",
      cacheBlockSize: Math.min(PAGE, Math.max(FEWEST, Math.floor(CELLS / Math.max(1, columns.length)))),
      maxBlocksInCache: PAGES_KEPT,
      maxConcurrentDatasourceRequests: 2,
      blockLoadDebounceMillis: 60,
      multiSortKey: "ctrl",
      alwaysMultiSort: false,
      suppressMultiSort: true,
      onSortChanged: () => this.changed(),
      onFilterChanged: () => this.changed(),
      onColumnResized: ({ source, columns }) => {
        if (source !== "uiColumnResized") return; // as the first rows want, or as the window has room
        for (const column of columns ?? []) keepWidth(this.campaign, column.getColId(), column.getActualWidth());
      },
      onCellClicked: (event) => {
        if (event.event?.target instanceof Element && event.event.target.closest("a")) return;
        if (event.data && !getSelection()?.toString()) this.openCell(event.data, event.colDef);
      },
      onCellKeyDown: (event) => this.onKey(event as CellKeyDownEvent<Row>),
    });
    sizeHead(this.api);
    this.applyView();
    this.api.setGridOption("datasource", this.source());
    this.tell();
  }

  get asked(): View {
    return this.view;
  }

  get columnNames(): string[] {
    return this.columns;
  }

  // --- what the page says ------------------------------------------------------------------------------------------

  // There are so many rows now. They join at the end; where rows are sorted or filtered, they join while the top is
  // looked at, and else wait until they are asked for: nothing moves under a reader's eyes.
  grow(total: number, over: boolean, nothing: string): void {
    this.nothing = nothing;
    this.fill(total);
    const more = total !== this.total || over !== this.over;
    this.total = total;
    this.over = over;
    if (more || this.failed) this.joinSoon();
    else this.tell();
  }

  // While there is nothing, why not stands in the grid's place.
  private fill(something: number): void {
    this.place.parentElement?.toggleAttribute("data-empty", !something && !this.columns.length);
  }

  arrange(columns: string[]): void {
    if (columns.length === this.columns.length && columns.every((name, index) => name === this.columns[index])) return;
    const view = viewWith(this.view, this.columns, columns);
    this.view = view;
    this.columns = columns;
    this.fill(columns.length);
    this.sized = false;
    if (this.drawn) this.api.setGridOption("columnDefs", this.definitions());
    this.view = view; // the grid, given other columns, told of its own state
    if (this.drawn) this.applyView();
    this.handlers.onView(this.view, this.columns);
  }

  search(words: string): void {
    if (words === this.view.search) return;
    this.view = { ...this.view, search: words };
    this.ask();
  }

  hide(names: string[], hidden: boolean): void {
    const others = this.view.hidden.filter((name) => !names.includes(name));
    this.view = { ...this.view, hidden: hidden ? [...others, ...names] : others };
    this.api.setColumnsVisible(names.map((name) => idOf(name)), !hidden);
    this.note();
  }

  only(column: string, value: string): void {
    this.filterBy({ column, kind: "equals", value });
  }

  // By their numbers: what shares a name with them is left out.
  onlyHosts(ids: string[]): void {
    this.view = { ...this.view, hosts: ids };
    this.ask();
  }

  hostName(id: string): string {
    return this.namesakes.nameOf(id);
  }

  drop(filter: Filter): void {
    this.view = { ...this.view, filters: this.view.filters.filter((other) => other.column !== filter.column) };
    this.applyView();
  }

  dropUnknown(filter: string): void {
    this.view = { ...this.view, unknown: this.view.unknown.filter(([, text]) => text !== filter) };
    this.note();
  }

  clear(): void {
    this.view = { ...this.view, search: "", filters: [], hosts: [], order: "", unknown: [] };
    this.applyView();
    this.ask();
  }

  join(): void {
    window.clearTimeout(this.due);
    this.due = 0;
    this.joinedAt = Date.now();
    if (this.isPlain && this.total) this.api.setRowCount(this.total, true);
    this.api.refreshInfiniteCache();
  }

  // The address of these rows as a file, with the columns that are shown.
  exportAddress(): string {
    const asked = questionOf(this.view);
    if (this.view.hidden.length) for (const column of this.shownColumns()) asked.append("column", column);
    return `/api/v1/campaigns/${this.campaign}/export.csv?${asked}`;
  }

  // Copy the rows as they are seen, with tabs between, as spreadsheets take them.
  async copy(): Promise<string> {
    const asked = questionOf(this.view);
    asked.set("limit", `${COPIED}`);
    asked.set("cut", `${COPIED_OF_CELL}`);
    const { body } = await get<RowPage>(`/api/v1/campaigns/${this.campaign}/rows/?${asked}`);
    const columns = this.shownColumns();
    const clean = (text: string): string => text.replace(/[\t\r\n]+/g, " ");
    const lines = body.results.map((row) => [row.host.hostname, ...columns.map((column) => cellOf(row.row, column) ?? "")].map(clean).join("\t"));
    const done = await copyText([[HOST, ...columns.map((name) => headingOf(name, this.columns))].map(clean).join("\t"), ...lines].join("\n"));
    if (!done) return "The browser does not allow it: export instead.";
    const isCut = body.results.some((row) => row.cut.some((column) => columns.includes(column)));
    const long = isCut ? `, of long cells ${counted(COPIED_OF_CELL)} characters` : "";
    if (body.next) return `The first ${counted(COPIED)} rows were copied${long}; the export has all.`;
    return `${counted(lines.length)} ${lines.length === 1 ? "row was" : "rows were"} copied${long}${isCut ? "; the export has all" : ""}.`;
  }

  // --- columns -----------------------------------------------------------------------------------------------------

  private definitions(): ColDef<Row>[] {
    const host: ColDef<Row> = {
      colId: HOST_COLUMN,
      headerName: HOST,
      cellRenderer: (given: { data?: Row }) => (given.data ? hostCell(given.data, this.seesHosts, this.namesakes.has(given.data)) : ""),
      pinned: matchMedia("(min-width: 641px)").matches ? "left" : null,
      width: HOST_WIDTH,
    };
    return [
      host,
      ...this.columns.map((name): ColDef<Row> => ({
        colId: idOf(name),
        headerName: cutTo(visible(headingOf(name, this.columns)), HEADING) || "(no name)",
        valueGetter: ({ data }) => (data ? shownCell(data, name) : undefined),
        cellClass: () => (this.numbers.has(name) ? "cell n" : "cell"),
        hide: this.view.hidden.includes(name),
        width: 160,
      })),
    ];
  }

  private nameOf(id: string): string {
    return id === HOST_COLUMN ? hostNameIn(this.columns) : id.slice("column:".length);
  }

  private shownColumns(): string[] {
    return this.columns.filter((name) => !this.view.hidden.includes(name));
  }

  // As wide as the first rows want, within limits, and no narrower than the window.
  private size(rows: Row[]): void {
    if (this.sized || !rows.length) return;
    this.sized = true;
    const sample = rows.slice(0, SAMPLE);
    this.numbers = new Set(this.columns.filter((name) => sample.every((row) => NUMBER.test(shownCell(row, name) || "0"))));
    const wants = this.shownColumns().map((name) => ({ colId: idOf(name), width: widthFor(name, sample.map((row) => shownCell(row, name))) }));
    const isRoom = wants.reduce((sum, { width }) => sum + width, HOST_WIDTH) < this.place.clientWidth;
    const chosen = widthsOf(this.campaign);
    // What is left they share by what they want; the grid knows how much that is beside its scrollbar.
    this.api.applyColumnState({
      state: wants.map(({ colId, width }) => ({ colId, width: chosen[colId] ?? width, flex: isRoom && !chosen[colId] ? width : null })),
    });
    this.api.refreshCells({ force: true });
  }

  // --- rows --------------------------------------------------------------------------------------------------------

  private source(): IDatasource {
    return { getRows: (asked) => void this.fetch(asked) };
  }

  private async fetch(asked: IGetRowsParams<Row>): Promise<void> {
    this.read();
    const { generation } = this;
    const question = questionOf(this.view);
    question.set("limit", `${asked.endRow - asked.startRow}`);
    question.set("offset", `${asked.startRow}`);
    question.set("cut", `${CELL}`);
    try {
      const { body } = await get<RowPage>(`/api/v1/campaigns/${this.campaign}/rows/?${question}`);
      const end = asked.startRow + body.results.length;
      const known = this.isPlain && this.total > end ? this.total : undefined;
      if (generation === this.generation) this.learn(body, end);
      asked.successCallback(body.results, body.next ? known : end);
    } catch (error) {
      asked.failCallback();
      if (generation !== this.generation) return;
      this.failed = true;
      this.refused = isForGood(error) ? whyNot(error) : "";
      if (this.refused) this.handlers.onRefused();
      else this.tryAgain(error);
    }
    this.tell();
  }

  private tryAgain(error: unknown): void {
    this.tooOften = tooOften(error);
    this.notBefore = Date.now() + Math.max(AGAIN_MS, secondsToWait(error) * 1000);
    window.setTimeout(() => this.failed && Date.now() >= this.notBefore && this.join(), this.notBefore - Date.now());
  }

  private learn(body: RowPage, end: number): void {
    this.failed = false;
    this.tooOften = "";
    this.seen = Math.max(this.seen, end);
    if (!body.next) this.found = end;
    else if (this.found !== null && this.found <= end) this.found = null;
    this.size(body.results);
    const nameless = this.view.hosts.filter((id) => !this.hostName(id)).length;
    if (this.namesakes.learn(body.results)) this.api.refreshCells({ force: true, columns: [HOST_COLUMN] });
    if (this.view.hosts.filter((id) => !this.hostName(id)).length !== nameless) this.handlers.onView(this.view, this.columns);
  }

  private joinSoon(): void {
    if (this.due) return;
    this.due = window.setTimeout(() => {
      this.due = 0;
      if (this.isPlain || this.isAtTop || this.failed) this.join();
      else this.tell(true);
    }, Math.max(0, this.joinedAt + JOIN_MS - Date.now(), this.tooOften ? this.notBefore - Date.now() : 0));
  }

  private get isPlain(): boolean {
    return !this.view.order && !this.isFiltered;
  }

  private get isFiltered(): boolean {
    return Boolean(this.view.search || this.view.filters.length || this.view.hosts.length);
  }

  private get isAtTop(): boolean {
    return this.api.getFirstDisplayedRowIndex() <= 0;
  }

  // --- the view ----------------------------------------------------------------------------------------------------

  private filterBy(filter: Filter): void {
    this.view = { ...this.view, filters: [...this.view.filters.filter(({ column }) => column !== filter.column), filter] };
    this.applyView();
  }

  // Bring the grid's own state to the view.
  private applyView(): void {
    const { filters, order } = this.view;
    const column = this.columns.includes(order) || isHostName(order, this.columns) ? order : order.slice(1);
    const state = order ? [{ colId: idOf(column, this.columns), sort: order === column ? ("asc" as const) : ("desc" as const) }] : [];
    this.api.applyColumnState({ state, defaultState: { sort: null } });
    this.api.setFilterModel(
      Object.fromEntries(filters.map((filter) => [idOf(filter.column, this.columns), { filterType: "text", type: filter.kind, filter: filter.value }])),
    );
  }

  // Somebody sorted or filtered in the grid, which asks anew by itself.
  private changed(): void {
    this.read();
    this.note();
  }

  // Bring the view to the grid's own state.
  private read(): void {
    const sorted = this.api.getColumnState().find(({ sort }) => sort);
    const model = this.api.getFilterModel() as Record<string, { type: string; filter?: string }>;
    const filters = Object.entries(model).map(
      ([id, { type, filter }]): Filter => ({ column: this.nameOf(id), kind: type === "equals" ? "equals" : "contains", value: filter ?? "" }),
    );
    const order = sorted ? `${sorted.sort === "desc" ? "-" : ""}${this.nameOf(sorted.colId)}` : "";
    const before = questionOf(this.view).toString();
    this.view = { ...this.view, filters, order };
    if (questionOf(this.view).toString() !== before) this.begin();
  }

  private begin(): void {
    this.generation += 1;
    this.found = null;
    this.seen = 0;
  }

  private ask(): void {
    this.begin();
    this.api.setGridOption("datasource", this.source());
    this.note();
  }

  private note(isStep = true): void {
    if (isShown(this.place)) writeAddress(this.view, this.columns, isStep);
    this.handlers.onView(this.view, this.columns);
    this.tell();
  }

  // The address is this view's again.
  back(): void {
    this.wake();
    this.note(false);
  }

  // Its tab is shown for the first time. What has no width would draw every column that there is, be it 500.
  private wake(): void {
    if (this.drawn) return;
    this.drawn = true;
    this.sized = false;
    this.api.setGridOption("columnDefs", this.definitions());
    this.applyView();
    this.join();
  }

  // Somebody stepped back or forward: the view is the address's again.
  follow(): void {
    if (!isShown(this.place)) return;
    this.wake();
    this.view = viewIn(location.search, this.columns);
    for (const name of this.columns) this.api.setColumnsVisible([idOf(name)], !this.view.hidden.includes(name));
    this.applyView();
    this.ask();
  }

  private tell(newer = false): void {
    this.place.style.height = `${Math.min(Math.max(260, 0.68 * innerHeight), 110 + LINE * Math.max(2, this.api.getDisplayedRowCount()))}px`;
    this.handlers.onShown(this.sentence(), newer);
  }

  private sentence(): string {
    if (this.failed) return `Rows not fetched: ${this.refused ? `${this.refused}.` : this.tooOften || "trying again…"}`;
    const of = `${counted(this.total)} ${this.total === 1 ? "row" : "rows"}`;
    if (!this.total) return this.over ? this.nothing : "No rows yet. They come with the first answers.";
    if (!this.isFiltered) return `${of}.`;
    if (this.found === null && this.seen) return `More than ${counted(this.seen)} of ${of} match.`;
    if (this.found === null) return `Looking through ${of}…`;
    return `${counted(this.found)} of ${of} match.`;
  }

  // --- cells -------------------------------------------------------------------------------------------------------

  private openCell(row: Row, definition: ColDef<Row>): void {
    const id = definition.colId ?? HOST_COLUMN;
    const column = id === HOST_COLUMN ? null : this.nameOf(id);
    void this.cell.open(row, column, column === null ? HOST : headingOf(column, this.columns));
  }

  // The browser would glide there, and on a busy machine the grid's own bar holds it back on its way.
  private goTo(event: KeyboardEvent, column: Column): void {
    event.preventDefault();
    const row = event.key === "Home" ? 0 : this.api.getDisplayedRowCount() - 1;
    this.api.ensureIndexVisible(row);
    this.api.setFocusedCell(row, column);
  }

  private onKey(event: CellKeyDownEvent<Row>): void {
    if (!(event.event instanceof KeyboardEvent)) return;
    if (isToAnEnd(event.event)) this.goTo(event.event, event.column);
    if (!event.data) return;
    if (event.event.key === "Enter") this.openCell(event.data, event.colDef);
    else if (event.event.key === "c" && (event.event.ctrlKey || event.event.metaKey) && !getSelection()?.toString())
      void copyText(event.colDef.colId === HOST_COLUMN ? event.data.host.hostname : (cellOf(event.data.row, this.nameOf(event.colDef.colId ?? "")) ?? ""));
  }
}

function shownCell(row: Row, name: string): string {
  const value: unknown = cellOf(row.row, name);
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return visible(text) + (row.cut.includes(name) ? "…" : "");
}

const idOf = (column: string, columns: string[] = [column]): string =>
  isHostName(column, columns) ? HOST_COLUMN : `column:${column}`;
const isToAnEnd = ({ key, ctrlKey, metaKey }: KeyboardEvent): boolean => (ctrlKey || metaKey) && (key === "Home" || key === "End");
const counted = (number: number): string => new Intl.NumberFormat("en").format(number);
const isShown = (place: HTMLElement): boolean => !place.closest('[role="tabpanel"]')?.hasAttribute("hidden");
