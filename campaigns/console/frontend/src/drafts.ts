// What is typed into a form, of a dialog too, outlives what takes its page away: a reload, a step back, a session that
// ended, a question who sits there, a server that failed. It is kept in this tab alone, until the form is taken or its
// person logs out.

import { tick } from "./target_picker";

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;
type Typed = [name: string, value: string][];

interface Draft {
  before: Typed; // what the server had written
  typed: Typed;
  sent: boolean;
}

const BEGINS = "draft ";
const NOTHING_DONE = "nothing was done"; // the page before sent somebody away: to log in, to show who he is, to go back
const OF_ONE_PAGE = new Set(["csrfmiddlewaretoken", "page"]);
const TEXTS = "textarea, input:not([type]), input[type=text], input[type=number], input[type=url]";

const same = (one: Typed, other: Typed) => JSON.stringify(one) === JSON.stringify(other);

function isKept(form: HTMLFormElement): boolean {
  const fields = fieldsOf(form);
  return form.getAttribute("method") === "post" && fields.some((field) => field.matches(TEXTS)) && !fields.some((field) => field.type === "password");
}

function fieldsOf(form: HTMLFormElement): Field[] {
  return [...form.elements].filter(
    (part): part is Field =>
      (part instanceof HTMLInputElement || part instanceof HTMLSelectElement || part instanceof HTMLTextAreaElement) &&
      part.name !== "" && !OF_ONE_PAGE.has(part.name) && part.type !== "search" && part.type !== "file" && !part.matches("[data-secret]"),
  );
}

const isTick = (field: Field): field is HTMLInputElement => field.type === "checkbox" || field.type === "radio";

function read(form: HTMLFormElement): Typed {
  return fieldsOf(form).flatMap((field): Typed => {
    if (field instanceof HTMLSelectElement) return [...field.selectedOptions].map((option) => [field.name, option.value]);
    return isTick(field) && !field.checked ? [] : [[field.name, field.value]];
  });
}

const written = (field: Field) => (isTick(field) ? String(field.checked) : field.value);

export function unfold(part: Element): void {
  for (let folded = part.closest("details"); folded; folded = folded.parentElement?.closest("details") ?? null) folded.open = true;
}

function fill(form: HTMLFormElement, typed: Typed): void {
  const left = new Map<string, string[]>();
  for (const [name, value] of typed) left.set(name, [...(left.get(name) ?? []), value]);
  for (const field of fieldsOf(form)) {
    const was = written(field);
    const values = left.get(field.name) ?? [];
    if (field instanceof HTMLSelectElement) for (const option of field.options) option.selected = values.includes(option.value);
    else if (isTick(field)) field.checked = values.includes(field.value);
    else field.value = values.shift() ?? field.value;
    if (written(field) !== was) unfold(field);
    if (field.matches("[data-moment]")) field.dispatchEvent(new Event("change", { bubbles: true }));
  }
  for (const [name, values] of left) {
    const list = document.getElementById(`${name}-list`); // of which the page shows the first, and what was looked for
    if (list?.matches("[data-keeps-picked]")) for (const value of values) tick(list, name, value);
  }
}

class Kept {
  private readonly before: Typed;
  private key: string;
  private sent = false;
  private isLeft = false;

  constructor(
    private readonly form: HTMLFormElement,
    private readonly name: string,
    private readonly user: string,
  ) {
    this.key = this.keyNow();
    this.before = read(form);
    form.addEventListener("input", () => (this.isLeft = false));
  }

  onSubmit(): void {
    this.sent = true;
  }

  onAnswer(): void {
    if (!this.form.querySelector(".error")) this.leave(); // it was taken, and the page stays
  }

  // The address follows what is shown, as a tab, and is what is loaded again.
  private keyNow(): string {
    return `${BEGINS}${this.user} ${location.pathname}${location.search} ${this.name}`;
  }

  private leave(): void {
    this.isLeft = true;
    sessionStorage.removeItem(this.key);
  }

  keep(): void {
    if (this.isLeft || !this.form.isConnected) return;
    const typed = read(this.form);
    sessionStorage.removeItem(this.key);
    this.key = this.keyNow();
    if (!same(typed, this.before)) sessionStorage.setItem(this.key, JSON.stringify({ before: this.before, typed, sent: this.sent } satisfies Draft));
  }

  bringBack(): void {
    const draft = kept(this.key);
    if (!draft || same(draft.typed, this.before)) return;
    if (this.form.closest("dialog")) fill(this.form, draft.typed); // it is seen when that is opened, as it was left
    else if (same(draft.before, this.before)) this.put(draft);
    else this.say("You typed something here before, and what it was about has changed since.", "Put it back", () => this.put(draft));
  }

  private put(draft: Draft): void {
    fill(this.form, draft.typed);
    for (const field of this.form.querySelectorAll("textarea[hidden]")) field.dispatchEvent(new Event("change")); // an editor shows it
    this.say("What you typed here is back: it was not sent.", "Start over", () => {
      this.leave();
      location.reload();
    });
  }

  private say(sentence: string, does: string, then: () => void): void {
    const said = document.createElement("p");
    said.className = "banner warn draft";
    said.setAttribute("role", "status");
    const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: does });
    button.addEventListener("click", then);
    said.append(sentence, " ", button);
    this.form.querySelector(":scope > .draft")?.remove();
    this.form.prepend(said);
    if (said.getBoundingClientRect().bottom > innerHeight) said.scrollIntoView({ block: "center" });
  }
}

function kept(key: string): Draft | null {
  const text = sessionStorage.getItem(key);
  return text === null ? null : (JSON.parse(text) as Draft);
}

function forget(which: (draft: Draft) => boolean): void {
  for (const key of Object.keys(sessionStorage)) {
    const draft = key.startsWith(BEGINS) ? kept(key) : null;
    if (draft && which(draft)) sessionStorage.removeItem(key);
  }
}

function isBack(): boolean {
  const [entry] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  const wasSentAway = sessionStorage.getItem(NOTHING_DONE) !== null;
  sessionStorage.removeItem(NOTHING_DONE);
  return wasSentAway || entry?.type === "reload" || entry?.type === "back_forward";
}

export function startDrafts(): void {
  const { user, undone } = document.body.dataset;
  const isUndone = undone !== undefined;
  if (isUndone) sessionStorage.setItem(NOTHING_DONE, "");
  if (isUndone || !user) return;
  const came = isBack();
  if (!came) forget((draft) => draft.sent);
  const all = new Map<HTMLFormElement, Kept>();
  const known = new Set<string>(); // a part that is drawn anew begins as the server has it
  const find = () => {
    for (const form of all.keys()) if (!form.isConnected) all.delete(form);
    [...document.querySelectorAll<HTMLFormElement>("main form")].filter(isKept).forEach((form, at) => {
      if (all.has(form)) return;
      const name = form.getAttribute("action") ?? `${at}`;
      const each = new Kept(form, name, user);
      all.set(form, each);
      if (came && !known.has(name)) each.bringBack();
      known.add(name);
    });
  };
  find();
  document.addEventListener("htmx:afterSettle", find); // parts that came later
  let forgets = false;
  // Heard here for all: forms that are drawn anew come and go for as long as the page is open.
  document.addEventListener("htmx:afterRequest", (event) => {
    const { elt, successful } = (event as CustomEvent<{ elt: Element; successful: boolean }>).detail;
    const form = elt instanceof HTMLButtonElement ? elt.form : elt;
    if (successful && form instanceof HTMLFormElement) all.get(form)?.onAnswer();
  });
  document.addEventListener("submit", ({ target, defaultPrevented }) => {
    if (!(target instanceof HTMLFormElement)) return;
    if (!defaultPrevented) all.get(target)?.onSubmit();
    if (target.hasAttribute("data-comes-back")) sessionStorage.setItem(NOTHING_DONE, "");
    if (!target.hasAttribute("data-forgets")) return;
    forgets = true;
    forget(() => true);
  });
  const keep = () => forgets || all.forEach((each) => each.keep());
  addEventListener("pagehide", keep);
  document.addEventListener("visibilitychange", keep);
}
