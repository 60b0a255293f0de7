// Hosts that are ticked in a campaign's list: they stay ticked on its other pages and while the list is drawn anew.

const counted = new Intl.NumberFormat("en");

export function startChoosing(root: HTMLElement): void {
  const chosen = new Set<string>();
  let all = false;
  let last: HTMLInputElement | null = null;

  const boxes = (): HTMLInputElement[] => [...root.querySelectorAll<HTMLInputElement>("[data-pick]")];
  const part = <Kind extends HTMLElement>(name: string): Kind | null => root.querySelector<Kind>(name);

  function draw(): void {
    const every = part<HTMLInputElement>("#pick-all");
    if (every) every.checked = all;
    for (const box of boxes()) {
      box.checked = all || chosen.has(box.value);
      box.disabled = all;
    }
    drawPage();
    const some = all || chosen.size > 0;
    for (const button of root.querySelectorAll<HTMLButtonElement>("[data-needs-choice]")) {
      if (!button.title) button.disabled = !some;
      const hosts = all ? "all hosts that match" : `${counted.format(chosen.size)} ${chosen.size === 1 ? "host" : "hosts"}`;
      if (button.hasAttribute("hx-post"))
        button.setAttribute("hx-confirm", `Ask ${hosts} again?|The same SQL is sent to them as a new campaign.|Ask again`);
    }
    const said = part("[data-chosen]");
    const words = all ? "all chosen" : chosen.size ? `${counted.format(chosen.size)} chosen` : "";
    if (said && said.textContent !== words) said.textContent = words;
    const none = part("[data-choose-none]");
    if (none) none.hidden = !some;
  }

  function drawPage(): void {
    const page = part<HTMLInputElement>("[data-pick-page]");
    if (!page) return;
    const here = boxes();
    const ticked = here.filter((box) => box.checked).length;
    page.hidden = false;
    page.disabled = all;
    page.checked = ticked > 0 && ticked === here.length;
    page.indeterminate = ticked > 0 && ticked < here.length;
  }

  function tick(box: HTMLInputElement, ticked: boolean): void {
    if (ticked) chosen.add(box.value);
    else chosen.delete(box.value);
  }

  function none(): void {
    all = false;
    chosen.clear();
    draw();
  }

  root.addEventListener("click", (event) => {
    if (!(event.target instanceof HTMLElement)) return;
    if (event.target.closest("[data-choose-none]")) {
      none();
      part("#pick-all")?.focus();
    }
    const box = event.target.closest<HTMLInputElement>("[data-pick]");
    if (!box) return;
    const here = boxes();
    const [from, to] = [last ? here.indexOf(last) : -1, here.indexOf(box)];
    if (event.shiftKey && from >= 0)
      for (const between of here.slice(Math.min(from, to), Math.max(from, to) + 1)) tick(between, box.checked);
    last = box;
  });

  root.addEventListener("change", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement)) return;
    if (box.matches("[data-pick]")) tick(box, box.checked);
    else if (box.matches("[data-pick-page]")) boxes().forEach((one) => tick(one, box.checked));
    else if (box.id === "pick-all") all = box.checked;
    else return;
    event.stopPropagation();
    draw();
  });

  // Another question means other hosts: what all are is chosen anew.
  root.addEventListener("input", (event) => {
    if (event.target instanceof HTMLElement && event.target.closest("#hosts-tools") && all) none();
  });

  root.addEventListener("formdata", (event) => {
    if (!(event.target instanceof HTMLFormElement) || event.target.id !== "chosen" || all) return;
    const data = event.formData;
    const here = new Set(data.getAll("host").map(String));
    for (const host of chosen) if (!here.has(host)) data.append("host", host);
  });

  root.addEventListener("htmx:afterSwap", draw);
  root.addEventListener("said", (event) => event.target instanceof Element && event.target.closest("#panel-hosts") && none());
  draw();
}
