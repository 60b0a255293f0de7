// The cell that names the host of a row: leads to its page for who may see hosts, and bears the marks of its answer.

import type { Row } from "./api";
import { visible } from "./marks";

export const hostAddress = (row: Row): string => `/hosts/${row.host.id}/`;

export function hostCell(row: Row, leads: boolean): HTMLElement {
  const cell = document.createElement("span");
  const name = document.createElement(leads ? "a" : "bdi");
  if (name instanceof HTMLAnchorElement) {
    name.href = hostAddress(row);
    name.tabIndex = -1;
    name.dir = "auto";
  }
  name.textContent = visible(row.host.hostname);
  cell.append(name);
  for (const [mark, holds] of [["late", row.late], ["truncated", row.truncated], ["in doubt", row.in_doubt]] as const) {
    if (!holds) continue;
    const note = document.createElement("span");
    note.className = mark === "in doubt" ? "mark doubt" : "mark";
    note.textContent = mark;
    cell.append(" ", note);
  }
  return cell;
}
