// The console of one host: its SQL field becomes an editor; earlier questions are taken over with a click.

import { becomeEditor, nonce } from "./sql_editor";

const field = document.getElementById("host-sql");
const form = document.getElementById("host-ask");

// Who may run saved queries only chooses one of them.
if ((field instanceof HTMLTextAreaElement || field instanceof HTMLSelectElement) && form instanceof HTMLFormElement) {
  if (field instanceof HTMLTextAreaElement) becomeEditor(field, { nonce: nonce() });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
  document.addEventListener("click", (event) => {
    const earlier = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-host-sql]") : null;
    if (!earlier) return;
    field.value = earlier.dataset["hostSql"] ?? "";
    field.dispatchEvent(new Event("change"));
    field.scrollIntoView({ block: "center" });
  });
}
