// How wide somebody made which column of a campaign: kept in this tab, since an address is for what is looked for.

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

export function widthsOf(campaign: string): Widths {
  const kept: unknown = JSON.parse(storage()?.getItem(keyOf(campaign)) ?? "{}");
  return typeof kept === "object" && kept !== null ? (kept as Widths) : {};
}

export function keepWidth(campaign: string, column: string, width: number): void {
  storage()?.setItem(keyOf(campaign), JSON.stringify({ ...widthsOf(campaign), [column]: Math.round(width) }));
}
