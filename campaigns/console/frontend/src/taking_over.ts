// Beside the form: SQL of saved and earlier questions is taken over without leaving what is filled in; SQL is saved
// under a name; links to saved queries are copied.

async function share(button: HTMLElement): Promise<void> {
  const address = new URL(button.dataset["share"] ?? "", location.href).href;
  let words = "Copied";
  try {
    await navigator.clipboard.writeText(address);
  } catch {
    words = address; // the browser does not allow it: to be copied by hand
  }
  const said = document.createElement("span");
  said.className = "said";
  said.setAttribute("role", "status");
  said.textContent = words;
  button.parentElement?.querySelector(".said")?.remove();
  button.after(said);
  setTimeout(() => said.remove(), words === "Copied" ? 2_000 : 20_000);
}

export function takeOver(form: HTMLFormElement, replace: (sql: string) => void): void {
  const field = (name: string) => form.elements.namedItem(name) as HTMLInputElement;
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const shared = event.target.closest<HTMLElement>("[data-share]");
    if (shared) void share(shared);
    const taken = event.target.closest<HTMLElement>("[data-pick-query]");
    if (!taken || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    field("query").value = taken.dataset["pickQuery"] ?? "";
    field("name").value = taken.dataset["name"] ?? "";
    replace(taken.dataset["sql"] ?? "");
  });
}

// The dialog opens by its button's attribute (console.js); here it learns what there is to save.
export function saveAs(sql: HTMLTextAreaElement, form: HTMLFormElement): void {
  const dialog = document.getElementById("save-dialog");
  const save = document.getElementById("save-form");
  const body = document.getElementById("save-body");
  if (!(dialog instanceof HTMLDialogElement) || !(save instanceof HTMLFormElement) || !body) return;
  const empty = body.innerHTML;
  document.getElementById("save-as")?.addEventListener("click", () => {
    (save.elements.namedItem("sql") as HTMLInputElement).value = sql.value;
    const name = save.elements.namedItem("name");
    if (name instanceof HTMLInputElement && !name.value) name.value = (form.elements.namedItem("name") as HTMLInputElement).value;
  });
  dialog.addEventListener("close", () => {
    if (!body.querySelector("[name=name]")) body.innerHTML = empty; // it was saved: the next time is another query
  });
}
