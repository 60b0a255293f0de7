// A part of the page that asks again and again shows something that was deleted, or that may be seen no more: it says
// so, keeps what it showed, and asks no more. (A campaign's own page says it by its connection.)

const SENTENCES: Record<number, string> = {
  403: "You may not look at this any more. What stands here is what you saw last.",
  404: "This was deleted, or you may not look at it any more. What stands here is what you saw last.",
};

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
    if (sentence && elt instanceof HTMLElement && elt.matches("main:not(:has(#campaign)) [hx-trigger*=every]:not(#switch)")) takeLeave(elt, sentence);
  });
}
