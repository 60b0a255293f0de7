// The cell that names the host of a row: leads to its page for who may see hosts, and bears the marks of its answer.

import type { Row } from "./api";
import { visible } from "./marks";

export const hostAddress = (row: Row): string => `/hosts/${row.host.id}/`;

// The names of the hosts seen so far, and which share theirs, in whatever case: those are told apart by their numbers.
export class Namesakes {
  private readonly byName = new Map<string, Set<number>>();
  private readonly names = new Map<string, string>();

  nameOf(id: string): string {
    return this.names.get(id) ?? "";
  }

  // Say whether a name has become that of several.
  learn(rows: Row[]): boolean {
    let news = false;
    for (const { host } of rows) {
      this.names.set(`${host.id}`, host.hostname);
      const name = host.hostname.toLowerCase();
      const ids = this.byName.get(name) ?? new Set();
      news ||= ids.size > 0 && !ids.has(host.id);
      this.byName.set(name, ids.add(host.id));
    }
    return news;
  }

  has({ host }: Row): boolean {
    return (this.byName.get(host.hostname.toLowerCase())?.size ?? 0) > 1;
  }
}

export function hostCell(row: Row, leads: boolean, isNamesake: boolean): HTMLElement {
  const cell = document.createElement("span");
  const name = document.createElement(leads ? "a" : "bdi");
  if (name instanceof HTMLAnchorElement) {
    name.href = hostAddress(row);
    name.tabIndex = -1;
    name.dir = "auto";
  }
  name.textContent = visible(row.host.hostname);
  name.title = `#${row.host.id}`;
  cell.append(name);
  if (isNamesake) cell.append(" ", Object.assign(document.createElement("span"), { className: "dim", textContent: `#${row.host.id}` }));
  for (const [mark, holds] of [["late", row.late], ["truncated", row.truncated], ["in doubt", row.in_doubt]] as const) {
    if (!holds) continue;
    const note = document.createElement("span");
    note.className = mark === "in doubt" ? "mark doubt" : "mark";
    note.textContent = mark;
    cell.append(" ", note);
  }
  return cell;
}
