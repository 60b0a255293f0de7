// The groups of answers: their hosts in a drawer, and a list that is drawn anew without moving under a reader.

import { addressWith, lay, lift } from "./address";

interface Htmx {
  ajax(verb: string, path: string, context: { target: Element; swap: string }): Promise<void>;
}
declare const htmx: Htmx;

const AWAY = "The server does not answer: close this with Escape, and open it again.";

const GROUP = /\/campaigns\/(\d+)\/groups\/([^/]+)\/$/;

const inAddress = (): string => new URLSearchParams(location.search).get("group") ?? "";

export function startGroups(root: HTMLElement): void {
  let openedBy = "";
  let scrolled: { left: number; top: number } | null = null;
  const drawer = (): HTMLDialogElement | null => root.querySelector<HTMLDialogElement>("#group-drawer");
  const listed = (): HTMLElement | null => root.querySelector<HTMLElement>("#groups-list > .scroll");

  async function open(address: string, opener = ""): Promise<void> {
    const dialog = drawer();
    if (!dialog) return;
    openedBy = opener;
    dialog.replaceChildren();
    try {
      await htmx.ajax("GET", address, { target: dialog, swap: "innerHTML" });
    } catch {
      dialog.replaceChildren(Object.assign(document.createElement("p"), { className: "banner bad", role: "alert", textContent: AWAY }));
    }
    if (!dialog.childElementCount) location.assign(address); // the server says on a whole page what is wrong
    else if (!dialog.open) dialog.showModal();
  }

  // The drawer that the address names, opened and closed by steps back and forward as well.
  function follow(): void {
    const [campaign, key] = inAddress().split("/");
    const address = `/campaigns/${campaign}/groups/${key}/`;
    const opener = [...root.querySelectorAll("[data-opens-drawer]")].find((link) => link.getAttribute("href") === address);
    if (/^\d+$/.test(campaign ?? "") && key && drawer()) void open(address, opener?.id);
    else drawer()?.close();
  }

  root.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    if (event.target === drawer()) drawer()?.close(); // beside it
    const link = event.target.closest<HTMLAnchorElement>("[data-opens-drawer]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const [, campaign = "", key = ""] = GROUP.exec(link.pathname) ?? [];
    lay(addressWith({ group: `${campaign}/${key}` }));
    void open(link.getAttribute("href") ?? "", link.id);
  });

  // The list may have been drawn anew meanwhile: focus goes back to who bears the name of what opened the drawer.
  root.addEventListener(
    "close",
    (event) => {
      if (event.target !== drawer()) return;
      document.getElementById(openedBy)?.focus();
      if (inAddress()) lift(addressWith({ group: "" }));
    },
    true,
  );

  document.addEventListener("stepped", follow);
  if (inAddress()) follow();

  root.addEventListener("change", () => tellPicked());
  root.addEventListener("htmx:beforeSwap", (event) => {
    if (!(event.target instanceof Element) || event.target.id !== "groups-list") return;
    scrolled = { left: listed()?.scrollLeft ?? 0, top: listed()?.scrollTop ?? 0 };
  });
  root.addEventListener("htmx:afterSwap", (event) => {
    if (scrolled) listed()?.scrollTo(scrolled);
    scrolled = null;
    if (event.target instanceof Element && event.target.id === "panel-groups" && inAddress()) follow();
    tellPicked();
  });

  function tellPicked(): void {
    const said = root.querySelector<HTMLElement>("[data-picked-said]");
    if (!said) return;
    const picked = root.querySelectorAll("#group-hosts [name=host]:checked, #group-hosts [data-picked]").length;
    const words = picked ? `${new Intl.NumberFormat("en").format(picked)} picked: only ${picked === 1 ? "it is" : "they are"} meant.` : "Nothing picked: every host of the group is meant.";
    if (said.textContent !== words) said.textContent = words;
  }
}
