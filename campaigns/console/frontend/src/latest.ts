// The last known answers of a query: SQL over them.

import { Analysis } from "./campaign/analyse";

const panel = document.querySelector<HTMLDetailsElement>("details[data-address]");

if (panel) {
  const analysis = new Analysis(panel);
  if (panel.open) analysis.opened();
  panel.addEventListener("toggle", () => panel.open && analysis.opened());
}
