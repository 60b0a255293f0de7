// The session ended while a page is open: it stays as it is, with what was typed, and says so until somebody logs in.

const OVER = 401;

function line(): HTMLElement {
  const there = document.getElementById("logged-out");
  if (there) return there;
  const made = Object.assign(document.createElement("p"), { id: "logged-out", className: "banner bad" });
  made.setAttribute("role", "alert");
  document.getElementById("main")?.prepend(made);
  return made;
}

export const isSaidLoggedOut = (): boolean => document.getElementById("logged-out")?.dataset["is"] === "over";

export function sayLoggedOut(): void {
  if (isSaidLoggedOut()) return;
  const here = encodeURIComponent(location.pathname + location.search);
  const link = Object.assign(document.createElement("a"), { href: `/login/?next=${here}`, textContent: "Log in again" });
  const said = line();
  said.dataset["is"] = "over";
  said.replaceChildren("You are logged out. ", link, ": what you typed here is kept.");
}

// In another tab, perhaps as somebody else: the forms of this page are of the session before.
function sayBack(): void {
  if (!isSaidLoggedOut()) return;
  const said = line();
  const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Load the page again" });
  button.addEventListener("click", () => location.reload());
  said.dataset["is"] = "back";
  said.replaceChildren("Somebody logged in again. What you typed here is kept. ", button);
}

export function startLoggedOut(): void {
  document.addEventListener("htmx:afterRequest", (event) => {
    const { xhr } = (event as HtmxFailure).detail;
    if (xhr?.status === OVER) sayLoggedOut();
    else if (xhr && xhr.status < 400 && xhr.status > 0) sayBack();
  });
}
