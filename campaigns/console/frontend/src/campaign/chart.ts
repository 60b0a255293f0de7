// A result as a chart: bars, a line over time, or a pie. Its shape chooses, a person may choose otherwise.

export interface Result {
  columns: { name: string; type: string }[];
  rows: unknown[][];
  truncated: boolean;
  took_ms: number;
  as_of_seq: number;
}

export type Chart = "bar" | "line" | "pie" | "none";

interface Drawn {
  destroy(): void;
}
declare const Chart: new (canvas: HTMLCanvasElement, config: unknown) => Drawn;

export const NUMBERS = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$/; // no list of them, no INTERVAL
const MOMENTS = /^(TIMESTAMP|DATE)/;
const MOST_BARS = 60; // labels, more are no picture
const SLICES = 6;
const HUES = ["--answered", "--delivered", "--code-number", "--code-keyword", "--bad", "--dim"];

let drawn: Drawn | null = null;
let library: Promise<void> | null = null;

function valueColumns({ columns }: Result, label: number): number[] {
  return columns.flatMap(({ type }, index) => (index !== label && NUMBERS.test(type) ? [index] : []));
}

// What names the values: the first moment, else the first text, else the first column.
function labelColumn({ columns }: Result): number {
  const moment = columns.findIndex(({ type }) => MOMENTS.test(type));
  const text = columns.findIndex(({ type }) => type === "VARCHAR");
  return moment >= 0 ? moment : Math.max(0, text);
}

export function shapeOf(result: Result): Chart {
  const label = labelColumn(result);
  const values = valueColumns(result, label);
  if (!values.length || result.rows.length < 2 || result.columns.length > 6) return "none";
  if (MOMENTS.test(result.columns[label]!.type)) return "line";
  if (result.rows.length > MOST_BARS) return "none";
  const [only] = values;
  const parts = values.length === 1 && result.rows.length <= SLICES && result.rows.every((row) => Number(row[only!]) >= 0);
  return parts ? "pie" : "bar";
}

// Chart.js, as the admin ships it; fetched when the first chart is drawn.
function load(address: string): Promise<void> {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.addEventListener("load", () => resolve());
    script.addEventListener("error", () => {
      library = null; // the next chart asks again
      reject(new Error(`${address} did not load`));
    });
    document.head.append(script);
  });
  return library;
}

// A canvas knows no variables, and none of the two colours that one may stand for.
function colourOf(place: HTMLElement, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  place.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

export async function drawChart(place: HTMLElement, result: Result, kind: Chart, address: string): Promise<void> {
  const label = labelColumn(result);
  const values = valueColumns(result, label);
  place.hidden = kind === "none" || !values.length || !result.rows.length;
  if (place.hidden) return;
  await load(address);
  drawn?.destroy();
  const ink = colourOf(place, "--ink");
  const hues = HUES.map((name) => colourOf(place, name));
  const rows = kind === "line" ? [...result.rows].sort((a, b) => String(a[label]).localeCompare(String(b[label]))) : result.rows;
  const series = kind === "pie" ? values.slice(0, 1) : values;
  const canvas = place.querySelector("canvas")!;
  canvas.setAttribute("aria-label", `${kind} chart of ${series.map((index) => result.columns[index]!.name).join(", ")} by ${result.columns[label]!.name}; the table below has the same`);
  drawn = new Chart(canvas, {
    type: kind,
    data: {
      labels: rows.map((row) => String(row[label] ?? "")),
      datasets: series.map((index, at) => ({
        label: result.columns[index]!.name,
        data: rows.map((row) => (row[index] === null ? null : Number(row[index]))), // NULL is no 0: a gap
        backgroundColor: kind === "pie" ? rows.map((_row, slice) => hues[slice % hues.length]) : hues[at % hues.length],
        borderColor: kind === "pie" ? colourOf(place, "--surface") : hues[at % hues.length],
      })),
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      color: ink,
      scales: kind === "pie" ? {} : { x: { ticks: { color: ink } }, y: { beginAtZero: kind === "bar", ticks: { color: ink } } },
      plugins: { legend: { display: kind === "pie" || series.length > 1, labels: { color: ink } } },
    },
  });
}
