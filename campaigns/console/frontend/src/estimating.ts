// Counts who is meant, and what it cost before, after every change of SQL or target; lets Run be pressed once somebody
// is meant and live queries are on.

import { sentenceIn } from "./in_place";

const counted = new Intl.NumberFormat("en");
// ms of calm before it is counted: a click is one change, typing is many
const CLICKED = 80;
const TYPED = 350;
const WAITS: Record<string, number> = {
  ...Object.fromEntries(["kind", "labels", "exclude_labels", "platforms", "online", "states", "group", "sample_unit", "force"].map((name) => [name, CLICKED])),
  ...Object.fromEntries(["hosts", "earlier", "sample", "sql"].map((name) => [name, TYPED])),
};
const NO_ANSWER = "The server did not answer, so nobody knows how many hosts this means. Choose again to retry.";
const TOO_MUCH = "That is more than one request may hold: put the hosts into a label, and ask the label.";

export class Estimating {
  private counting = false;
  private runWhenCounted = false;
  private due: number | undefined;

  constructor(
    private readonly form: HTMLFormElement,
    private readonly sql: HTMLTextAreaElement,
    private readonly run: HTMLButtonElement,
    private readonly estimate: HTMLElement,
  ) {
    form.addEventListener("input", (event) => this.onInput(event));
    form.addEventListener("keydown", (event) => this.onKey(event));
    form.addEventListener("submit", (event) => this.onSubmit(event));
    estimate.addEventListener("htmx:beforeSwap", (event) => {
      if (this.due) (event as HtmxSwap).detail.shouldSwap = false; // of what was there before
    });
    estimate.addEventListener("htmx:afterSettle", () => this.onCounted());
    for (const failure of ["htmx:responseError", "htmx:sendError"])
      estimate.addEventListener(failure, (event) => {
        const { xhr } = (event as HtmxFailure).detail;
        this.onFailure((xhr?.status === 413 ? TOO_MUCH : sentenceIn(xhr)) ?? NO_ANSWER);
      });
    document.getElementById("switch")?.addEventListener("htmx:afterSettle", () => this.draw());
    this.draw();
  }

  countSoon(wait = 150): void {
    this.counting = true;
    this.estimate.setAttribute("aria-busy", "true");
    htmx.trigger(this.estimate, "htmx:abort"); // an answer under way is of what was there before
    this.draw();
    clearTimeout(this.due);
    this.due = window.setTimeout(() => {
      this.due = undefined;
      htmx.trigger(this.estimate, "estimate");
    }, wait);
  }

  private draw(): void {
    const hosts = Number(this.estimate.querySelector<HTMLElement>("[data-targeted]")?.dataset["targeted"] ?? 0);
    const off = document.querySelector("#switch [data-off]")?.textContent ?? "";
    const said = document.getElementById("run-off");
    if (said) {
      said.textContent = off;
      said.hidden = !off;
    }
    this.allow(!this.counting && hosts > 0 && this.sql.value.trim() !== "" && !off);
    const known = hosts > 0 && !this.counting;
    this.run.textContent = known ? `Run on ${counted.format(hosts)} ${hosts === 1 ? "host" : "hosts"}` : "Run";
  }

  private allow(allowed: boolean): void {
    this.run.disabled = !allowed;
    const byEnter = document.getElementById("run-by-enter");
    if (byEnter instanceof HTMLButtonElement) byEnter.disabled = !allowed;
  }

  private onInput(event: Event): void {
    const wait = WAITS[(event.target as HTMLInputElement).name];
    if (wait) this.countSoon(wait);
    else this.draw();
  }

  private onKey(event: KeyboardEvent): void {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.submit();
  }

  private submit(): void {
    if (this.counting) this.runWhenCounted = true;
    else if (!this.run.disabled) this.form.requestSubmit(this.run);
  }

  // A second click does not ask twice; the server knows the page as well.
  private onSubmit(event: SubmitEvent): void {
    if (event.submitter?.hasAttribute("formaction")) return;
    setTimeout(() => {
      this.allow(false);
      this.run.textContent = "Launching…";
    });
  }

  private onCounted(): void {
    if (this.due) return;
    this.counting = false;
    this.estimate.removeAttribute("aria-busy");
    this.draw();
    if (this.runWhenCounted) this.submit();
    this.runWhenCounted = false;
  }

  private onFailure(words: string): void {
    if (this.due) return;
    const sentence = document.createElement("p");
    sentence.className = "error";
    sentence.dataset["targeted"] = "0";
    sentence.textContent = words;
    this.estimate.replaceChildren(sentence);
    this.runWhenCounted = false;
    this.onCounted();
  }
}
