// What is shown stands in the page's address, and a step back or forward shows what was shown there.

interface Step {
  typed?: boolean;
  over?: boolean; // something that lies over the view: closing it is a step back
}

let last = location.search;

const step = (): Step | null => history.state as Step | null;
const write = (how: "pushState" | "replaceState", kind: Step | null, address: string): void => {
  history[how](kind, "", address);
  last = location.search;
};

// Another view of the page. What is typed, or walked along with arrows, is one step and not one for each key.
export function goTo(address: string, typed = false): void {
  if (new URL(address, location.href).href === location.href) return;
  write(typed && step()?.typed ? "replaceState" : "pushState", { typed }, address);
}

export function lay(address: string): void {
  write("pushState", { over: true }, address);
}

// What lay over the view was closed; `address` is that of the view, for who came by a link.
export function lift(address: string): void {
  if (step()?.over) history.back();
  else rewrite(address);
}

// The same view, written otherwise.
export function rewrite(address: string): void {
  write("replaceState", step(), address);
}

// Give the address with these values instead of its own; "" takes one out.
export function addressWith(values: Record<string, string>, search = location.search): string {
  const asked = new URLSearchParams(search);
  for (const [name, value] of Object.entries(values)) {
    if (value) asked.set(name, value);
    else asked.delete(name);
  }
  return `${location.pathname}${asked.size ? `?${asked}` : ""}`;
}

// Tell the document that somebody stepped back or forward; the detail is what the address asked for before.
export function startAddress(): void {
  addEventListener("popstate", () => {
    const before = last;
    last = location.search;
    if (before !== last) document.dispatchEvent(new CustomEvent("stepped", { detail: before }));
  });
}
