// Answers, Groups, Hosts …: one panel at a time. All but the first come from the server and are refreshed while looked at.

import { addressWith, goTo, rewrite } from "./address";

const REFRESH_MS = 3_000;
const TIMES_AS_LONG = 5; // what is slow is asked for more seldom: at most a fifth of the time goes into it

interface Htmx {
  ajax(verb: string, path: string, context: { source: Element; target: Element; swap: string }): Promise<void>;
  trigger(element: Element, event: string): void;
}
declare const htmx: Htmx;

export function startTabs(root: HTMLElement): void {
  const tabs = [...root.querySelectorAll<HTMLAnchorElement>('[role="tab"]')];
  if (!tabs.length) return;
  const panelOf = (tab: Element): HTMLElement => document.getElementById(tab.getAttribute("aria-controls") ?? "")!;
  const chosen = (): HTMLAnchorElement => tabs.find((tab) => tab.getAttribute("aria-selected") === "true") ?? tabs[0]!;
  let refreshedAt = Date.now();
  let took = 0;
  let walking = false; // along the tabs, with arrows

  function show(tab: HTMLAnchorElement): void {
    for (const other of tabs) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
      panelOf(other).hidden = other !== tab;
    }
  }

  function choose(tab: HTMLAnchorElement, address = tab.getAttribute("href") ?? ""): void {
    show(tab);
    goTo(address, walking);
    root.dispatchEvent(new CustomEvent("tab", { detail: tab.id }));
  }

  function load(tab: Element, question = ""): void {
    const panel = panelOf(tab);
    if (!panel.dataset["src"]) return;
    // What is on its way for the view before would be drawn below this one's address, and take it back.
    for (const form of panel.querySelectorAll("form.htmx-request")) htmx.trigger(form, "htmx:abort");
    void htmx.ajax("GET", panel.dataset["src"] + question, { source: panel, target: panel, swap: "innerHTML" });
  }

  root.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || !(event.target instanceof Element)) return;
    const tab = event.target.closest<HTMLAnchorElement>('[role="tab"]');
    const link = event.target.closest<HTMLAnchorElement>("[data-show-state], [data-show-tab]");
    if (tab) {
      choose(tab);
      if (!panelOf(tab).childElementCount) load(tab);
      else refresh();
    } else if (link) {
      const question = (link.getAttribute("href") ?? "").replace(/^[^?]*/, "");
      const meant = tabs.find((other) => other.id === `tab-${link.dataset["showTab"] ?? "hosts"}`) ?? tabs[0]!;
      choose(meant, question);
      load(meant, question);
      meant.scrollIntoView({ block: "nearest" });
    } else return;
    event.preventDefault();
  });

  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !(event.target instanceof HTMLAnchorElement) || !event.target.matches('[role="tab"]')) return;
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length]!;
    next.focus();
    walking = true;
    next.click();
    walking = false;
  });

  // A drawer over a panel is no other panel.
  document.addEventListener("stepped", (event) => {
    const before = addressWith({ group: "" }, (event as CustomEvent<string>).detail);
    if (before === addressWith({ group: "" })) return;
    const name = new URLSearchParams(location.search).get("tab") ?? "rows";
    const tab = tabs.find((other) => other.id === `tab-${name}`) ?? tabs[0]!;
    show(tab);
    load(tab, location.search);
  });

  // What a panel's form asked for stands in the address, so that the view can be sent to somebody.
  root.addEventListener("htmx:afterRequest", (event) => {
    const form = event.target;
    const { requestConfig, successful } = (event as CustomEvent<{ requestConfig?: { triggeringEvent?: Event }; successful?: boolean }>).detail;
    const how = requestConfig?.triggeringEvent?.type;
    if (!successful || !(form instanceof HTMLFormElement) || !form.elements.namedItem("tab") || !chosen().id.endsWith(valueOf(form, "tab"))) return;
    // A list that is drawn anew takes along what is being typed just then: that is a step of who types.
    const isTyped = how === "input" || (how === "refresh" && isBeingTyped(form));
    // Nor does it close the drawer that came to lie over it meanwhile.
    const group = new URLSearchParams(location.search).get("group") ?? "";
    const write = (address: string): void => (how === "refresh" && !isTyped ? rewrite(addressWith({ group }, address)) : goTo(address, isTyped));
    const drawn = panelOf(chosen()).querySelector<HTMLElement>("[data-question]");
    if (drawn) {
      write(`?${drawn.dataset["question"]}`);
      return;
    }
    const asked = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value && typeof value === "string") asked.append(name, value);
    write(`?${asked}`);
  });

  root.addEventListener("htmx:beforeRequest", () => (refreshedAt = Date.now()));
  root.addEventListener("htmx:afterRequest", () => (took = Date.now() - refreshedAt));
  // A list that is drawn anew stays on its page and where it was scrolled to.
  root.addEventListener("htmx:configRequest", (event) => {
    const { detail } = event as CustomEvent<{ triggeringEvent?: Event; parameters: Record<string, string> }>;
    const page = detail.triggeringEvent?.type === "refresh" && panelOf(chosen()).querySelector<HTMLElement>("[data-page]")?.dataset["page"];
    if (page) detail.parameters["page"] = page;
  });
  let scrolled: [number, number] | null = null;
  const scroller = (): Element | null => panelOf(chosen()).querySelector(".scroll");
  root.addEventListener("htmx:beforeSwap", (event) => {
    const { requestConfig } = (event as CustomEvent<{ requestConfig?: { triggeringEvent?: Event } }>).detail;
    const at = requestConfig?.triggeringEvent?.type === "refresh" ? scroller() : null;
    scrolled = at ? [at.scrollLeft, at.scrollTop] : null;
  });
  root.addEventListener("htmx:afterSwap", () => {
    if (scrolled) scroller()?.scrollTo(...scrolled);
    scrolled = null;
  });

  function refresh(): void {
    const panel = panelOf(chosen());
    if (panel.matches(".htmx-request") || "lost" in root.dataset) return; // it is being loaded, or may be no more
    const part = panel.querySelector('[hx-trigger*="refresh"]:not(.htmx-request)');
    refreshedAt = Date.now();
    const isUsed = panel.querySelector("[data-keeps]:checked, dialog[open], select:focus"); // somebody is choosing here
    if (part && !isUsed) htmx.trigger(part, "refresh");
  }

  let due = 0;
  root.addEventListener("counts", () => {
    if (document.hidden || due) return;
    due = window.setTimeout(
      () => {
        due = 0;
        refresh();
      },
      Math.max(0, refreshedAt + Math.max(REFRESH_MS, TIMES_AS_LONG * took) - Date.now()),
    );
  });
}

function isBeingTyped(form: HTMLFormElement): boolean {
  const asked = new URLSearchParams(location.search);
  return [...form.querySelectorAll<HTMLInputElement>('input[type="search"]')].some(({ name, value }) => value !== (asked.get(name) ?? ""));
}

function valueOf(form: HTMLFormElement, name: string): string {
  return String(new FormData(form).get(name) ?? "");
}
