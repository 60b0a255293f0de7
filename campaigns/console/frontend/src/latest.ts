// The last known answers of a query: SQL over them.

import { startAddress } from "./campaign/address";
import { Analysis } from "./campaign/analyse";

const panel = document.querySelector<HTMLDetailsElement>("details[data-address]");

if (panel) {
  startAddress();
  const analysis = new Analysis(panel);
  if (panel.open) analysis.opened();
  panel.addEventListener("toggle", () => panel.open && analysis.opened());
}
