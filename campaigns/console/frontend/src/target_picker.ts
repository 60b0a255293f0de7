// Who is asked: what the search finds is picked with a click; ticked labels stay ticked while others are looked for.

const SEPARATORS = /[\n\r\t,;]+/;
const counted = new Intl.NumberFormat("en");

function choose(form: HTMLFormElement, kind: string): void {
  const radio = form.querySelector<HTMLInputElement>(`[name=kind][value=${kind}]`);
  if (radio) radio.checked = true;
}

const boxIn = (list: Element, value: string) =>
  [...list.querySelectorAll<HTMLInputElement>("input[type=checkbox]")].find((box) => box.value === value);

function newBox(name: string, value: string): HTMLLabelElement {
  const label = document.createElement("label");
  const box = document.createElement("input");
  Object.assign(box, { type: "checkbox", name, value });
  const words = document.createElement("bdi");
  words.textContent = value;
  label.append(box, words);
  return label;
}

export function tick(list: Element, name: string, value: string): void {
  if (!boxIn(list, value)) list.prepend(newBox(name, value));
  const box = boxIn(list, value);
  if (box) box.checked = true;
}

function addHost(field: HTMLTextAreaElement, written: string): void {
  const lines = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!lines.includes(written)) field.value = [...lines, written].join("\n") + "\n";
}

function pick(form: HTMLFormElement, kind: string, value: string): void {
  const kindNow = (form.elements.namedItem("kind") as RadioNodeList).value;
  // A platform narrows labels that are chosen already; everything else is a choice of its own kind.
  if (!(kind === "platforms" && kindNow === "labels")) choose(form, kind);
  const hosts = form.querySelector<HTMLTextAreaElement>("#id_hosts");
  if (kind === "hosts" && hosts) addHost(hosts, value);
  const list = kind === "labels" ? form.querySelector("#labels-list") : form.querySelector(`[name=${kind}]`)?.closest(".checks");
  if (kind !== "hosts" && list) tick(list, kind, value);
}

// What is ticked in a list while the server answers a search outlives that answer.
function keepPicked(list: Element): void {
  let picked: HTMLLabelElement[] = [];
  list.addEventListener("htmx:beforeSwap", () => {
    picked = [...list.querySelectorAll<HTMLInputElement>("input:checked")].flatMap((box) => box.closest("label") ?? []);
  });
  list.addEventListener("htmx:afterSwap", () => {
    for (const box of list.querySelectorAll<HTMLInputElement>("input:checked")) box.checked = false;
    for (const label of picked) {
      const box = label.querySelector("input");
      if (!box) continue;
      const there = boxIn(list, box.value);
      if (there) there.checked = true;
      else list.prepend(label);
    }
  });
}

function sayHowMany(field: HTMLTextAreaElement, said: HTMLElement): void {
  const draw = () => {
    const names = new Set(field.value.split(SEPARATORS).map((word) => word.trim()).filter(Boolean)).size;
    said.textContent = names > 1 ? `${counted.format(names)} names.` : "";
  };
  field.addEventListener("input", draw);
  draw();
}

export function pickTargets(form: HTMLFormElement): void {
  form.addEventListener("click", (event) => {
    const found = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-pick]") : null;
    if (!found) return;
    pick(form, found.dataset["pick"] ?? "", found.dataset["value"] ?? "");
    form.querySelector("#id_hosts")?.dispatchEvent(new Event("input", { bubbles: true }));
  });
  for (const list of form.querySelectorAll("[data-keeps-picked]")) keepPicked(list);
  const hosts = form.querySelector<HTMLTextAreaElement>("#id_hosts");
  const said = document.getElementById("hosts-count");
  if (hosts && said) sayHowMany(hosts, said);
  for (const search of form.querySelectorAll<HTMLInputElement>("input[type=search]"))
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) event.preventDefault(); // looking is not running
    });
}
