// Fields of days and minutes are by the clock that was chosen; what is sent is the moment itself, by UTC. A moment at which
// no day of that clock begins is shown with its time, so that an address means the same whoever opens it.

import { zone } from "./times";

const DAY_MS = 86_400_000;

// Give a moment as the clock shows it: 2026-03-29T01:00:00.
function byTheClock(moment: number): string {
  const offset = zone ? 0 : new Date(moment).getTimezoneOffset() * 60_000;
  return new Date(moment - offset).toISOString().slice(0, 19);
}

// Give the moment at which the clock shows this; where a day begins without a midnight, its first moment.
function momentAt(shown: string): number {
  return Date.parse(zone ? `${shown}Z` : shown);
}

function firstOf(day: string): number {
  return momentAt(`${day}T00:00:00`);
}

class MomentField {
  private sent: string; // as the server wrote it, for as long as the field shows it
  private readonly days: boolean;
  private readonly ends: boolean;

  constructor(private readonly field: HTMLInputElement) {
    this.sent = field.dataset["moment"] ?? "";
    this.days = field.hasAttribute("data-days");
    this.ends = field.hasAttribute("data-ends");
    this.show();
    field.addEventListener("change", () => this.take());
    field.form?.addEventListener("formdata", (event) => {
      if (this.sent) event.formData.set(field.name, this.sent);
    });
  }

  private show(): void {
    const moment = Date.parse(this.sent);
    if (Number.isNaN(moment)) return;
    const shown = byTheClock(moment);
    const begins = this.days && moment === firstOf(shown.slice(0, 10));
    this.field.type = begins ? "date" : "datetime-local";
    if (begins) this.field.value = this.ends ? byTheClock(moment - 1).slice(0, 10) : shown.slice(0, 10);
    else {
      this.field.step = shown.endsWith(":00") ? "" : "1";
      this.field.value = shown.endsWith(":00") ? shown.slice(0, 16) : shown;
    }
  }

  private take(): void {
    const typed = this.field.value;
    if (!typed && this.days) this.field.type = "date";
    const moment = typed.includes("T") ? momentAt(typed) : firstOf(this.ends && typed ? dayAfter(typed) : typed);
    this.sent = Number.isNaN(moment) ? "" : new Date(moment).toISOString().replace(".000Z", "Z");
    if (typed.includes("T")) this.show(); // an hour that is left out in spring is the next one
  }
}

function dayAfter(day: string): string {
  return new Date(Date.parse(`${day}T00:00Z`) + DAY_MS).toISOString().slice(0, 10);
}

export function startMomentFields(): void {
  const name = zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const clock of document.querySelectorAll<HTMLElement>("[data-clock]")) {
    clock.textContent = `(${name.split("/").at(-1)?.replaceAll("_", " ")})`;
    clock.title = name;
  }
  for (const field of document.querySelectorAll<HTMLInputElement>("input[data-moment]")) new MomentField(field);
}
