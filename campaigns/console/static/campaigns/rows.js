// The table of rows: answers in order of arrival, a limited number of them on the page, and never a silent cut.
//
// Answers reach it over the socket and, where those are not enough (behind, left out, "show more"), over the API.
// Every cell is text: what hosts send is never read as HTML.

const STEP = 2_000; // rows more on the page each time
const PAGE = 200; // answers fetched at a time
const NUMBER = /^-?\d{1,18}(\.\d+)?$/;
const LONG_CELL = 80; // characters after which the whole value is in the tooltip as well

export class RowTable {
  // onChange(): something is drawn anew. onColumn(): a column appeared whose place only the campaign knows.
  constructor(table, campaign, columns, { onChange, onColumn }) {
    this.campaign = campaign;
    this.onChange = onChange;
    this.onColumn = onColumn;
    this.table = table;
    this.head = table.tHead.rows[0];
    this.body = table.tBodies[0];
    this.columns = [];
    this.words = ""; // the filter
    this.matching = 0;
    this.shown = 0;
    this.limit = STEP;
    this.seq = 0; // of the last answer that is on the page whole
    this.skip = 0; // rows of the next answer that are on the page already
    this.missing = 0; // the seq up to which answers are not on the page though they exist; 0 = none
    this.filling = null;
    this.failed = false; // the last try to fetch missing answers failed
    this.fresh = false; // the rows that the server drew are replaced by the first answer
    this.startColumns = columns;
  }

  get full() {
    return this.shown >= this.limit;
  }

  // Rows on the page, those that the server drew included.
  get onPage() {
    return this.body.rows.length;
  }

  // Take answers of the socket. What does not fit is remembered as missing.
  take(items) {
    const part = document.createDocumentFragment();
    for (const item of items) {
      if (item.seq <= this.seq) continue;
      if (this.missing || this.full || item.rows_omitted) this.missing = item.seq;
      else this.place(item, part);
    }
    this.add(part);
    if (this.missing && !this.full) this.fill().catch(() => {});
  }

  // There are answers up to `seq` that the socket will not bring.
  lacks(seq) {
    if (seq > this.seq) this.missing = Math.max(this.missing, seq);
  }

  more() {
    this.limit += STEP;
    return this.fill();
  }

  // Fetch missing answers until the page is full or nothing is missing. One at a time; throws when the server fails.
  fill() {
    this.filling ??= this.tryAll().finally(() => {
      this.filling = null;
      this.onChange();
    });
    return this.filling;
  }

  async tryAll() {
    try {
      await this.fetchAll();
      this.failed = false;
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }

  async fetchAll() {
    while (this.missing && !this.full) {
      const items = await this.fetchPage();
      const part = document.createDocumentFragment();
      for (const item of items) if (item.seq > this.seq) this.place(item, part);
      this.add(part);
      if (!items.length || this.seq >= this.missing) this.missing = 0;
    }
  }

  async fetchPage() {
    const address = `/api/v1/campaigns/${this.campaign}/results/?after=${this.seq}&limit=${PAGE}`;
    const response = await fetch(address, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(`answers could not be fetched: ${response.status}`);
    return (await response.json()).results;
  }

  // Draw an answer's rows as far as the limit allows.
  place(item, part) {
    if (this.full) {
      this.missing = Math.max(this.missing, item.seq);
      return;
    }
    const rows = item.rows ?? [];
    const end = Math.min(rows.length, this.skip + this.limit - this.shown);
    for (const row of rows.slice(this.skip, end)) part.append(this.draw(item, row));
    this.shown += end - this.skip;
    if (end < rows.length) {
      this.skip = end;
      this.missing = Math.max(this.missing, item.seq);
    } else {
      this.skip = 0;
      this.seq = item.seq;
    }
  }

  draw(item, row) {
    this.startAnew();
    for (const name of Object.keys(row)) {
      if (this.columns.some((column) => column.name === name)) continue;
      this.addColumn(name);
      this.onColumn();
    }
    const line = document.createElement("tr");
    line.append(hostCell(item));
    for (const column of this.columns) line.append(this.cell(column, row[column.name]));
    this.match(line);
    return line;
  }

  cell(column, value) {
    const cell = document.createElement("td");
    const text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : `${value}`;
    cell.textContent = text;
    if (text.length > LONG_CELL) cell.title = text;
    if (text && column.numeric && !NUMBER.test(text)) this.becomesText(column);
    if (column.numeric) cell.className = "n";
    return cell;
  }

  // Numbers stand right until one value of the column is none.
  becomesText(column) {
    column.numeric = false;
    const place = this.columns.indexOf(column) + 1;
    for (const line of [this.head, ...this.body.rows]) line.cells[place]?.classList.remove("n");
  }

  addColumn(name) {
    const heading = document.createElement("th");
    heading.scope = "col";
    heading.textContent = name;
    heading.className = "n";
    this.head.append(heading);
    this.columns.push({ name, numeric: true });
  }

  // Put the columns in the campaign's order, that of the SQL; a row as it is stored has lost it.
  arrange(names) {
    this.startColumns = names;
    if (!this.fresh) return;
    for (const name of names) if (!this.columns.some((column) => column.name === name)) this.addColumn(name);
    const place = (column) => (names.includes(column.name) ? names.indexOf(column.name) : names.length);
    const before = this.columns;
    this.columns = [...before].sort((one, other) => place(one) - place(other));
    if (this.columns.every((column, index) => column === before[index])) return;
    const order = this.columns.map((column) => before.indexOf(column) + 1);
    for (const line of [this.head, ...this.body.rows]) {
      while (line.cells.length <= before.length) line.append(document.createElement("td"));
      const cells = [...line.cells];
      line.append(...order.map((index) => cells[index]));
    }
  }

  startAnew() {
    if (this.fresh) return;
    this.fresh = true;
    this.matching = 0;
    this.body.replaceChildren();
    while (this.head.cells.length > 1) this.head.lastElementChild.remove();
    for (const name of this.startColumns) this.addColumn(name);
  }

  add(part) {
    // A column may have turned to text while the part was not in the table yet.
    const texts = this.columns.flatMap((column, index) => (column.numeric ? [] : [index + 1]));
    for (const line of part.children) for (const place of texts) line.cells[place]?.classList.remove("n");
    if (part.children.length) this.body.append(part);
    this.onChange();
  }

  filter(words) {
    this.words = words.trim().toLowerCase();
    this.matching = 0;
    for (const line of this.body.rows) this.match(line);
    this.onChange();
  }

  match(line) {
    const matches = !this.words || [...line.cells].some((cell) => cell.textContent.toLowerCase().includes(this.words));
    line.hidden = !matches;
    this.matching += matches && this.words ? 1 : 0;
  }
}

function hostCell(item) {
  const cell = document.createElement("th");
  cell.scope = "row";
  cell.textContent = item.host.hostname;
  for (const mark of ["late", "truncated", "in_doubt"]) {
    if (!item[mark]) continue;
    const note = document.createElement("span");
    note.className = mark === "in_doubt" ? "mark doubt" : "mark";
    note.textContent = mark.replace("_", " ");
    cell.append(" ", note);
  }
  return cell;
}
