// The one form of times everywhere: relative as it reads, exact with its zone on hover, by the clock that was chosen.
// Where a moment must stand exact in a sentence, it is the other way round.

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]] as const;
const MOMENT = /\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)\b/; // as sentences of the server name one
const AGAIN_MS = 10_000;

// The clock that was chosen; undefined = this browser's own.
export const zone = document.documentElement.dataset["times"] === "utc" ? "UTC" : undefined;
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long", timeZone: zone });

function fromNow(moment: number): string {
  const seconds = (moment - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS[3];
  return relative.format(Math.round(seconds / size), unit).replace(".", "");
}

function write(time: HTMLTimeElement, text: string, hover: string): void {
  if (time.textContent !== text) time.textContent = text;
  time.title = hover;
}

function drawTimes(): void {
  for (const time of document.querySelectorAll<HTMLTimeElement>("time[data-when], time[data-exact]")) {
    const moment = Date.parse(time.dateTime);
    if (time.hasAttribute("data-exact")) write(time, exact.format(moment), fromNow(moment));
    else write(time, fromNow(moment), exact.format(moment));
  }
}

// An option holds text alone.
function drawOptions(): void {
  for (const option of document.querySelectorAll("option[data-told]")) {
    option.textContent = told(option.textContent ?? "").map((part) => (typeof part === "string" ? part : part.textContent)).join("");
  }
}

// Give a sentence of the server's with its moments by the clock that was chosen.
export function told(sentence: string): (string | HTMLTimeElement)[] {
  return sentence.split(MOMENT).map((part, place) => {
    const moment = place % 2 ? Date.parse(`${part.slice(0, 10)}T${part.slice(11, 19)}Z`) : Number.NaN;
    if (Number.isNaN(moment)) return part;
    const time = Object.assign(document.createElement("time"), { dateTime: new Date(moment).toISOString() });
    time.dataset["exact"] = "";
    write(time, exact.format(moment), fromNow(moment));
    return time;
  });
}

export function startTimes(): void {
  drawTimes();
  drawOptions();
  setInterval(drawTimes, AGAIN_MS);
  for (const draw of [drawTimes, drawOptions]) document.addEventListener("htmx:afterSwap", draw);
}
