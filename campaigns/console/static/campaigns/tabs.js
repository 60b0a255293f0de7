// Rows, Hosts, Errors: one panel at a time. Hosts and errors come from the server and are refreshed while looked at.

const REFRESH_MS = 3_000;

export function startTabs(root) {
  const tabs = [...root.querySelectorAll('[role="tab"]')];
  if (!tabs.length) return;
  const panelOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  const chosen = () => tabs.find((tab) => tab.getAttribute("aria-selected") === "true");
  let refreshedAt = Date.now();

  function choose(tab, address = tab.getAttribute("href")) {
    for (const other of tabs) {
      other.setAttribute("aria-selected", other === tab);
      other.tabIndex = other === tab ? 0 : -1;
      panelOf(other).hidden = other !== tab;
    }
    history.replaceState(null, "", address);
  }

  function load(tab, question = "") {
    const panel = panelOf(tab);
    if (panel.dataset.src) htmx.ajax("GET", panel.dataset.src + question, { target: panel, swap: "innerHTML" });
  }

  root.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const tab = event.target.closest('[role="tab"]');
    const state = event.target.closest("[data-show-state]");
    const inHosts = event.target.closest("#panel-errors a");
    if (tab) {
      choose(tab);
      if (!panelOf(tab).childElementCount) load(tab);
      else refresh();
    } else if (state || inHosts) {
      const question = (state ?? inHosts).getAttribute("href").replace(/^[^?]*/, "");
      const hosts = tabs.find((other) => other.id === "tab-hosts");
      choose(hosts, question);
      load(hosts, question);
      hosts.scrollIntoView({ block: "nearest" });
    } else return;
    event.preventDefault();
  });

  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !event.target.matches('[role="tab"]')) return;
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });

  function refresh() {
    refreshedAt = Date.now();
    const part = panelOf(chosen()).querySelector('[hx-trigger*="refresh"]');
    if (part) htmx.trigger(part, "refresh");
  }

  let due = null;
  root.addEventListener("counts", () => {
    if (document.hidden || due) return;
    due = setTimeout(() => {
      due = null;
      refresh();
    }, Math.max(0, refreshedAt + REFRESH_MS - Date.now()));
  });
}
