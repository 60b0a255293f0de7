// What every page of the console shares: menus, the palette, and the word about a server that does not answer.

// On a phone the menu is wider than the screen: where one is stands in it.
for (const here of document.querySelectorAll(".top nav [aria-current], .subnav [aria-current]")) {
  const menu = here.parentElement;
  menu.scrollLeft = here.offsetLeft - menu.offsetLeft - (menu.clientWidth - here.offsetWidth) / 2;
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-palette]")) openPalette();
  const copier = event.target.closest("[data-copy]");
  if (copier) copy(copier);
  closeMenus(event.target);
});

// A menu closes when something else is clicked or has the focus, and by Escape, which gives the focus back to its button.
function closeMenus(stays) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(stays)) menu.open = false;
}
document.addEventListener("focusin", (event) => closeMenus(event.target));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement?.closest("details.menu[open]");
  closeMenus(null);
  menu?.querySelector("summary").focus();
});

// Say for a moment that it was copied, or that the browser did not let it be.
async function copy(button) {
  const words = button.lastChild;
  button.setAttribute("aria-live", "polite");
  const before = words.textContent;
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    words.textContent = "Copied";
  } catch {
    words.textContent = "The browser does not allow it: select and copy";
  }
  setTimeout(() => (words.textContent = before), 2_000);
}

// A form about times begins with the zone of who fills it in; what is typed beside a choice is that choice.
const here = document.documentElement.dataset.times === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;
for (const field of document.querySelectorAll("[data-own-zone] select")) {
  if ([...field.options].some((option) => option.value === here)) field.value = here;
}
document.addEventListener("input", (event) => {
  const choice = event.target.closest("[data-way]")?.querySelector("input[type=radio]");
  if (choice) choice.checked = true;
});

// --- going somewhere -------------------------------------------------------------------------------------------------

const palette = document.getElementById("palette");
const words = document.getElementById("palette-words");
const hits = () => [...(palette?.querySelectorAll("[role=option]") ?? [])];

function openPalette() {
  if (!palette || palette.open) return;
  palette.showModal();
  words.select();
  htmx.trigger(words, "opened");
}

function chooseHit(step) {
  const all = hits();
  if (!all.length) return;
  const at = all.findIndex((hit) => hit.getAttribute("aria-selected") === "true");
  const next = all[(at + step + all.length) % all.length];
  for (const hit of all) hit.setAttribute("aria-selected", String(hit === next));
  words.setAttribute("aria-activedescendant", next.id);
  next.scrollIntoView({ block: "nearest" });
}

palette?.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) chooseHit(step);
  else if (event.key === "Escape") palette.close(); // at once: a field of words would be emptied first
  else if (event.key === "Enter") hits().find((hit) => hit.getAttribute("aria-selected") === "true")?.querySelector("a").click();
  else return;
  event.preventDefault();
});
palette?.addEventListener("htmx:afterSwap", () => words.setAttribute("aria-activedescendant", hits()[0]?.id ?? ""));

// Of the tab that is shown, or of the dialog that is open.
function searchField() {
  const place = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.querySelector("main");
  return [...place.querySelectorAll("input[type=search]")].find((field) => field.checkVisibility({ visibilityProperty: true }));
}

function openShortcuts() {
  const shortcuts = document.getElementById("shortcuts");
  if (shortcuts && !shortcuts.open) shortcuts.showModal();
}

const isTyping = (target) => target.closest("input, textarea, select, [contenteditable=true]");
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) openPalette();
  else if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  else if (event.key === "?") openShortcuts();
  else if (event.key === "/") searchField()?.focus();
  else return;
  event.preventDefault();
});

// Lists to pick from get a field that narrows them once they are long.
const listOf = (field) => [...(document.getElementById(field.dataset.filterList)?.children ?? [])];
function offerFilters() {
  for (const field of document.querySelectorAll("[data-filter-list]")) field.hidden = !field.value && listOf(field).length <= 8;
}
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-filter-list]")) return;
  const words = event.target.value.trim().toLowerCase();
  for (const item of listOf(event.target)) item.hidden = !item.textContent.toLowerCase().includes(words);
});
offerFilters();

// What asks hosts waits while the kill switch is on; the banner comes and goes by itself.
document.getElementById("switch")?.addEventListener("htmx:afterSettle", (event) => {
  const off = event.currentTarget.querySelector("[data-off]") !== null;
  for (const button of document.querySelectorAll("[data-launches]")) button.disabled = off;
});

const troubles = document.getElementById("troubles");
function noAnswer(event) {
  if (event.target !== troubles || event.detail.xhr?.status === 401) return; // that it is logged out is said elsewhere
  const banner = document.createElement("p");
  banner.className = "banner bad";
  banner.textContent = "The server does not answer. What is shown may be old.";
  troubles.replaceChildren(banner);
}
document.addEventListener("htmx:responseError", noAnswer);
document.addEventListener("htmx:sendError", noAnswer);
document.addEventListener("htmx:afterSwap", offerFilters);
