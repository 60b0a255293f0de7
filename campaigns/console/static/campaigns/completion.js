// Completes table and column names while SQL is typed, with what the fleet's own osquery told of its tables.

const MOST = 8;
const KEYWORDS_BEFORE_TABLES = /\b(?:from|join)\s+(?:[\w."]+\s*,\s*)*\w*$/i;

const sql = document.getElementById("id_sql");
const list = document.createElement("ul");
let tables = new Map(); // name -> {name, platforms, columns}
let offered = [];
let chosen = 0;

function wordBefore(position) {
  return /[A-Za-z_]\w*$/.exec(sql.value.slice(0, position))?.[0] ?? "";
}

// Tables that the text names, wherever: columns are often typed before the FROM.
function namedTables() {
  return [...new Set(sql.value.match(/\w+/g) ?? [])].map((word) => tables.get(word.toLowerCase())).filter(Boolean);
}

const shortest = (one, other) => one.name.length - other.name.length || one.name.localeCompare(other.name);

function candidates(word, before) {
  const start = word.toLowerCase();
  const fits = (name) => name.toLowerCase().startsWith(start) && name.toLowerCase() !== start;
  const found = [...tables.values()].filter((table) => fits(table.name)).map((table) => ({ name: table.name, note: table.platforms.join(", ") })).sort(shortest);
  if (KEYWORDS_BEFORE_TABLES.test(before)) return found.slice(0, MOST);
  const columns = namedTables().flatMap((table) =>
    table.columns.filter((column) => !column.hidden && fits(column.name)).map((column) => ({ name: column.name, note: `${table.name} · ${column.type.toLowerCase()}` })),
  );
  const seen = new Set();
  return [...columns.sort(shortest), ...found].filter(({ name }) => !seen.has(name) && seen.add(name)).slice(0, MOST);
}

function draw() {
  list.hidden = !offered.length;
  sql.setAttribute("aria-expanded", String(!list.hidden));
  list.replaceChildren(
    ...offered.map(({ name, note }, place) => {
      const item = document.createElement("li");
      item.id = `completion-${place}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", String(place === chosen));
      const code = document.createElement("code");
      code.textContent = name;
      const hint = document.createElement("span");
      hint.textContent = note;
      item.append(code, hint);
      item.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        take(place);
      });
      return item;
    }),
  );
  if (list.hidden) sql.removeAttribute("aria-activedescendant");
  else sql.setAttribute("aria-activedescendant", `completion-${chosen}`);
}

function offer() {
  const word = wordBefore(sql.selectionStart);
  const before = sql.value.slice(0, sql.selectionStart);
  offered = word.length >= 2 && sql.selectionStart === sql.selectionEnd ? candidates(word, before) : [];
  chosen = 0;
  draw();
}

function close() {
  offered = [];
  draw();
}

function take(place) {
  const end = sql.selectionStart;
  sql.setRangeText(offered[place].name, end - wordBefore(end).length, end, "end");
  close();
  sql.dispatchEvent(new Event("input", { bubbles: true }));
  close();
}

function onKey(event) {
  if (list.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    chosen = (chosen + (event.key === "ArrowDown" ? 1 : offered.length - 1)) % offered.length;
    draw();
  } else if (event.key === "Tab" && !event.shiftKey) take(chosen);
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
}

async function learn() {
  const answer = await fetch("/api/v1/schema/");
  if (!answer.ok) return; // without tables there is nothing to complete, and SQL can be typed all the same
  tables = new Map((await answer.json()).results.map((table) => [table.name, table]));
}

list.id = "completions";
list.className = "completions";
list.hidden = true;
list.setAttribute("role", "listbox");
list.setAttribute("aria-label", "Tables and columns");
sql.after(list);
for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": "completions", "aria-expanded": "false" }))
  sql.setAttribute(name, value);
sql.addEventListener("focus", learn, { once: true });
if (document.activeElement === sql) learn();
sql.addEventListener("input", offer);
sql.addEventListener("keydown", onKey);
sql.addEventListener("blur", close);
