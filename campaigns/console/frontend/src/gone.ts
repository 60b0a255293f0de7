// A part of the page that asks again and again shows something that was deleted, or that may be seen no more: it says
// so, keeps what it showed, and asks no more. (A campaign's own page says it by its connection.)

const SENTENCES: Record<number, string> = {
  403: "You may not look at this any more. What stands here is what you saw last.",
  404: "This was deleted, or you may not look at it any more. What stands here is what you saw last.",
};

const NOT_SHOWN = "This is not shown to you any more: load the page again to see why. What stands here is what you saw last.";
const FOLLOWS = "main:not(:has(#campaign)) [hx-trigger*=every]:not(#switch)";

// htmx goes on asking for as long as the part is in the page, so a copy of it stays there.
function takeLeave(part: HTMLElement, sentence: string): void {
  const copy = part.cloneNode(true) as HTMLElement;
  for (const name of copy.getAttributeNames()) if (name.startsWith("hx-")) copy.removeAttribute(name);
  const said = Object.assign(document.createElement("p"), { className: "banner bad", textContent: sentence });
  said.setAttribute("role", "alert");
  copy.prepend(said);
  part.replaceWith(copy);
}

export function startGone(): void {
  document.addEventListener("htmx:responseError", (event) => {
    const { elt, xhr } = (event as HtmxFailure).detail;
    const sentence = SENTENCES[xhr?.status ?? 0];
    if (sentence && elt instanceof HTMLElement && elt.matches(FOLLOWS)) takeLeave(elt, sentence);
  });
  // The page that came has no such part: without a word it would be gone here too.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { detail } = event as HtmxSwap;
    const part = detail.target;
    const which = part.getAttribute("hx-select");
    if (!detail.shouldSwap || !which || !(part instanceof HTMLElement) || detail.requestConfig?.elt !== part || !part.matches(FOLLOWS)) return;
    const came = Object.assign(document.createElement("template"), { innerHTML: detail.serverResponse }).content;
    if (came.querySelector(which)) return;
    detail.shouldSwap = false;
    takeLeave(part, NOT_SHOWN);
  });
}
