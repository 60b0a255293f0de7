// How wide columns are: as the first rows want, or as somebody made them. That is kept in this tab, since an address is
// for what is looked for.

const NARROWEST = 90; // px
const WIDEST = 420;
const CHARACTER = 7.6; // px, on average, in the font of the grid
const PADDING = 28; // px, beside a cell's text
const BUTTONS = 5; // characters as wide as what stands beside a column's name

type Widths = Record<string, number>;

const keyOf = (campaign: string): string => `widths of campaign ${campaign}`;

// A browser that keeps nothing of pages refuses the storage itself: then widths last as long as the page.
function storage(): Storage | null {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

// As wide as the longest of a column's cells, or its name, wants.
export function widthFor(name: string, cells: string[]): number {
  const longest = Math.max(name.length + BUTTONS, ...cells.map((cell) => cell.length));
  return Math.floor(Math.min(WIDEST, Math.max(NARROWEST, CHARACTER * longest + PADDING)));
}

export function widthsOf(campaign: string): Widths {
  const kept: unknown = JSON.parse(storage()?.getItem(keyOf(campaign)) ?? "{}");
  return typeof kept === "object" && kept !== null ? (kept as Widths) : {};
}

export function keepWidth(campaign: string, column: string, width: number): void {
  storage()?.setItem(keyOf(campaign), JSON.stringify({ ...widthsOf(campaign), [column]: Math.round(width) }));
}
