// What is looked for among the rows, as it stands in the page's address and in questions to the API.

import { goTo, rewrite } from "./address";

export interface Filter {
  column: string; // a column's name, or that of the hosts
  kind: "contains" | "equals";
  value: string;
}

export interface View {
  search: string;
  filters: Filter[];
  hosts: string[]; // ids of the only ones that are looked at: several hosts may bear one name
  order: string; // a column, - before it turns it round; "" = as they arrived
  hidden: string[];
  unknown: [string, string][]; // what the address says of columns that no answer has, or none has yet: kept as it stands
}

export const HOST = "host";
const HOST_IN_FULL = "host.hostname"; // means the hosts where answers have a column host, as logged_in_users and last do
const OWN = ["search", "where", "contains", "host", "order", "hidden", "shown"];
const ID = /^\d{1,18}$/;

// What the name of the hosts is called beside these columns.
export const hostNameIn = (columns: string[]): string => (columns.includes(HOST) ? HOST_IN_FULL : HOST);

export const isHostName = (column: string, columns: string[]): boolean =>
  (column === HOST || column === HOST_IN_FULL) && !columns.includes(column);

// As files call a column that would be taken for that of the hosts.
export function headingOf(column: string, columns: string[]): string {
  let name = column;
  while (name === HOST || (name !== column && columns.includes(name))) name = `row.${name}`;
  return name;
}

// Columns may hold a colon: the longest that fits is meant, as on the server.
function split(text: string, kind: Filter["kind"], columns: string[]): Filter | null {
  const fitting = [...columns, HOST, HOST_IN_FULL].filter((column) => text.startsWith(`${column}:`));
  const column = fitting.sort((one, other) => other.length - one.length)[0];
  return column === undefined ? null : { column, kind, value: text.slice(column.length + 1) };
}

export function viewIn(address: string, columns: string[]): View {
  const asked = new URLSearchParams(address);
  const unknown: View["unknown"] = [];
  const read = (name: string, kind: Filter["kind"]): Filter[] =>
    asked.getAll(name).flatMap((text) => {
      const filter = split(text, kind, columns);
      if (!filter) unknown.push([name, text]);
      return filter ?? [];
    });
  const order = asked.get("order") ?? "";
  const known = [...columns, HOST, HOST_IN_FULL].some((column) => order === column || order === `-${column}`);
  if (order && !known) unknown.push(["order", order]);
  for (const name of asked.getAll("shown")) if (name && !columns.includes(name)) unknown.push(["shown", name]);
  return {
    search: asked.get("search") ?? "",
    filters: [...read("where", "equals"), ...read("contains", "contains")],
    hosts: asked.getAll("host").filter((text) => ID.test(text)),
    order: known ? order : "",
    hidden: asked.has("shown") ? columns.filter((name) => !asked.getAll("shown").includes(name)) : asked.getAll("hidden"),
    unknown,
  };
}

// Filters by columns that no answer has, or none has yet.
export function waiting(view: View): string[] {
  return view.unknown.filter(([name]) => name === "where" || name === "contains").map(([, text]) => text);
}

export function questionOf(view: View): URLSearchParams {
  const asked = new URLSearchParams();
  if (view.search) asked.set("search", view.search);
  for (const { column, kind, value } of view.filters) asked.append(kind === "equals" ? "where" : "contains", `${column}:${value}`);
  for (const id of view.hosts) asked.append("host", id);
  if (view.order) asked.set("order", view.order);
  return asked;
}

const listed = (view: View): string => JSON.stringify([view.order, [...view.hidden].sort()]);
const looked = (view: View): string => questionOf({ ...view, order: "" }).toString();

// Few of many columns are named by what is shown: addresses are kept short.
function inAddress(view: View, columns: string[]): URLSearchParams {
  const asked = questionOf(view);
  for (const [name, value] of view.unknown) if (name !== "order" || !view.order) asked.append(name, value);
  if (asked.has("shown") && !columns.length) return asked; // nothing is hidden yet
  const shown = columns.filter((name) => !view.hidden.includes(name));
  const fewer = asked.has("shown") || (columns.length && view.hidden.length > shown.length) ? "shown" : "hidden";
  for (const name of fewer === "shown" ? shown : view.hidden) asked.append(fewer, name);
  if (fewer === "shown" && !asked.has("shown")) asked.set("shown", "");
  return asked;
}

// The same view once other columns are known: what waited for them narrows and sorts from now on.
export function viewWith(view: View, before: string[], columns: string[]): View {
  return viewIn(inAddress(view, before).toString(), columns);
}

// Another view is a step on the way back.
export function writeAddress(view: View, columns: string[], isStep: boolean): void {
  const before = viewIn(location.search, columns);
  const typed = listed(before) === listed(view);
  const address = new URLSearchParams(location.search);
  for (const name of OWN) address.delete(name);
  for (const [name, value] of inAddress(view, columns)) address.append(name, value);
  const written = `${location.pathname}${address.size ? `?${address}` : ""}${location.hash}`;
  if (isStep && !(typed && looked(before) === looked(view))) goTo(written, typed);
  else rewrite(written);
}
