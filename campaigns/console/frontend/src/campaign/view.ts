// What is looked for among the rows, as it stands in the page's address and in questions to the API.

import { goTo, rewrite } from "./address";

export interface Filter {
  column: string; // a column's name, or HOST
  kind: "contains" | "equals";
  value: string;
}

export interface View {
  search: string;
  filters: Filter[];
  hosts: string[]; // ids of the only ones that are looked at: several hosts may bear one name
  order: string; // a column, - before it turns it round; "" = as they arrived
  hidden: string[];
}

export const HOST = "host";
const OWN = ["search", "where", "contains", "host", "order", "hidden", "shown"];
const ID = /^\d{1,18}$/;

// Columns may hold a colon: the longest that fits is meant, as on the server.
function split(text: string, kind: Filter["kind"], columns: string[]): Filter | null {
  const fitting = [...columns, HOST].filter((column) => text.startsWith(`${column}:`));
  const column = fitting.sort((one, other) => other.length - one.length)[0];
  return column === undefined ? null : { column, kind, value: text.slice(column.length + 1) };
}

export function viewIn(address: string, columns: string[]): View {
  const asked = new URLSearchParams(address);
  const read = (name: string, kind: Filter["kind"]): Filter[] =>
    asked.getAll(name).flatMap((text) => split(text, kind, columns) ?? []);
  const order = asked.get("order") ?? "";
  const known = [...columns, HOST].some((column) => order === column || order === `-${column}`);
  return {
    search: asked.get("search") ?? "",
    filters: [...read("where", "equals"), ...read("contains", "contains")],
    hosts: asked.getAll("host").filter((text) => ID.test(text)),
    order: known ? order : "",
    hidden: asked.has("shown") ? columns.filter((name) => !asked.getAll("shown").includes(name)) : asked.getAll("hidden"),
  };
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

// Few of many columns are named by what is shown: addresses are kept short. Another view is a step on the way back.
export function writeAddress(view: View, columns: string[], isStep: boolean): void {
  const before = viewIn(location.search, columns);
  const typed = listed(before) === listed(view);
  const address = new URLSearchParams(location.search);
  for (const name of OWN) address.delete(name);
  for (const [name, value] of questionOf(view)) address.append(name, value);
  const shown = columns.filter((name) => !view.hidden.includes(name));
  const fewer = view.hidden.length > shown.length ? "shown" : "hidden";
  for (const name of fewer === "shown" ? shown : view.hidden) address.append(fewer, name);
  if (fewer === "shown" && !shown.length) address.set("shown", "");
  const written = `${location.pathname}${address.size ? `?${address}` : ""}${location.hash}`;
  if (isStep && !(typed && looked(before) === looked(view))) goTo(written, typed);
  else rewrite(written);
}
