// The stacked bar of a campaign's states. wording.py cuts it the same way on the server.

const BAR_UNITS = 1000;
const LEAST_UNITS = 6;

function barWidths(counts: number[]): number[] {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (!total) return counts.map(() => 0);
  const widths = counts.map((count) => (count ? Math.max(LEAST_UNITS, Math.round((BAR_UNITS * count) / total)) : 0));
  const widest = widths.indexOf(Math.max(...widths));
  widths[widest] = (widths[widest] ?? 0) + BAR_UNITS - widths.reduce((sum, width) => sum + width, 0);
  return widths;
}

export function drawBar(svg: Element, counts: Record<string, number>): void {
  const parts = [...svg.querySelectorAll<SVGRectElement>("rect")];
  let x = 0;
  barWidths(parts.map((part) => counts[part.dataset["state"] ?? ""] ?? 0)).forEach((width, index) => {
    parts[index]?.setAttribute("x", `${x}`);
    parts[index]?.setAttribute("width", `${width}`);
    x += width;
  });
}
