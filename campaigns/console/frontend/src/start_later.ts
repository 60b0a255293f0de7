// What a start by the clock of some zone means: said back in a sentence, there, here and from now.

const DAY: Intl.DateTimeFormatOptions = { weekday: "long", day: "numeric", month: "long", year: "numeric" };
const CLOCK: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", timeZoneName: "short" };

const DAY_LENGTH = 86_400_000; // in milliseconds

// How far the clock of a zone is from UTC at a moment, in milliseconds.
function offset(moment: number, zone: string): number {
  const read = new Intl.DateTimeFormat("en-GB", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
  const part = Object.fromEntries(read.formatToParts(moment).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(part.year ?? 0, (part.month ?? 1) - 1, part.day, part.hour, part.minute, part.second) - moment;
}

// The first moment at which the clock of a zone shows it; NaN when it is no time, or one that this clock leaves out.
export function momentOf(typed: string, zone: string): number {
  const asUtc = Date.parse(`${typed}Z`);
  if (Number.isNaN(asUtc)) return Number.NaN;
  const found = [-DAY_LENGTH, DAY_LENGTH].map((step) => asUtc - offset(asUtc + step, zone));
  return found.find((moment) => moment + offset(moment, zone) === asUtc) ?? Number.NaN;
}

function fromNow(moment: number): string {
  const minutes = Math.ceil((moment - Date.now()) / 60_000);
  const [many, unit] = minutes < 60 ? [minutes, "minute"] : minutes < 2_880 ? [Math.round(minutes / 60), "hour"] : [Math.round(minutes / 1_440), "day"];
  return `in ${many} ${unit}${many === 1 ? "" : "s"}`;
}

function sentence(typed: string, zone: string): string {
  if (!typed) return "";
  const moment = momentOf(typed, zone);
  if (Number.isNaN(moment)) return `${typed.replace("T", " ")} does not exist in ${zone}: clocks are put forward then.`;
  if (moment <= Date.now()) return "That is in the past.";
  const shown = (timeZone?: string) => new Intl.DateTimeFormat("en-GB", { ...DAY, ...CLOCK, timeZone }).format(moment);
  const there = shown(zone);
  const here = shown() === there ? "" : `, here ${shown()}`;
  return `It begins on ${there}${here}, ${fromNow(moment)}.`;
}

export function tellStart(at: HTMLInputElement, zone: HTMLSelectElement, said: HTMLElement): void {
  const draw = () => (said.textContent = sentence(at.value, zone.value));
  for (const field of [at, zone]) field.addEventListener("input", draw);
  draw();
}
