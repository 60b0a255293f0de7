// The grid in the colours and sizes of the console, and how one walks through it.

import { type GridApi, themeQuartz } from "ag-grid-community";

export const LINE = 30; // pixels of a row

const theme = themeQuartz.withParams({
  accentColor: "var(--accent)",
  backgroundColor: "var(--surface)",
  borderColor: "var(--line)",
  browserColorScheme: "inherit",
  chromeBackgroundColor: "var(--surface)",
  fontFamily: "var(--sans)",
  fontSize: 13,
  foregroundColor: "var(--ink)",
  headerFontSize: 12,
  headerFontWeight: 600,
  headerTextColor: "var(--dim)",
  menuBackgroundColor: "var(--surface)",
  rowHeight: LINE,
  rowHoverColor: "var(--sunken)",
  spacing: 6,
  wrapperBorderRadius: 8,
});

const PHONE = matchMedia("(max-width: 640px)");

// A finger needs more of the columns' heads than a mouse, whenever the window becomes as narrow.
export function sizeHead<Row>(grid: GridApi<Row>): void {
  const size = () => grid.updateGridOptions({ headerHeight: PHONE.matches ? 40 : 30, floatingFiltersHeight: PHONE.matches ? 46 : 30 });
  PHONE.addEventListener("change", size);
  size();
}

// What all grids have in common. Tab passes a grid, arrows walk in it: from cell to cell it would take a thousand presses
// to leave. The height of a row is said here too: from the theme Firefox learns it only after rows were laid out.
export const common = {
  theme,
  rowHeight: LINE,
  animateRows: false,
  ensureDomOrder: true,
  enableCellTextSelection: true,
  tabToNextCell: () => false,
  tabToNextHeader: () => false,
};
