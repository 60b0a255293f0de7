// A file that is refused is a sentence beside what was pressed, not a download that fails without words. So it is asked
// for in words first (HEAD, which makes no file), and then fetched by the browser, which takes any size.

import { isLoggedOut, refusalIn, whyNot } from "./campaign/api";
import { sayLoggedOut } from "./logged_out";

const LINKS = "a[download]";

function placeBeside(link: HTMLAnchorElement): HTMLElement {
  const at = link.closest<HTMLElement>("details.menu") ?? link;
  const there = at.nextElementSibling;
  if (there instanceof HTMLElement && there.matches(".not-exported")) return there;
  const made = Object.assign(document.createElement("span"), { className: "not-exported error" });
  made.setAttribute("role", "alert");
  at.after(made);
  return made;
}

async function ask(link: HTMLAnchorElement): Promise<void> {
  const said = placeBeside(link);
  said.textContent = "";
  try {
    const answered = await fetch(link.href, { method: "HEAD" });
    if (!answered.ok) throw refusalIn(answered);
    location.assign(link.href);
  } catch (error) {
    said.textContent = `Not exported: ${whyNot(error)}.`;
    if (isLoggedOut(error)) sayLoggedOut();
  }
}

let started = false; // the admin's page of a campaign has this without the rest of the console

export function startDownloads(): void {
  if (started) return;
  started = true;
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>(LINKS) : null;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const menu = link.closest<HTMLDetailsElement>("details.menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    }
    void ask(link);
  });
}
