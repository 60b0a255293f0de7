// The Ask page: an editor that is checked while one types, the tables beside it, who is meant, and Run.

import { Estimating } from "./estimating";
import { browseSchema } from "./schema_browser";
import { becomeEditor, nonce } from "./sql_editor";
import { format } from "./sql_format";
import { pickTargets } from "./target_picker";
import { tellStart } from "./start_later";
import { saveAs, takeOver } from "./taking_over";

function the<Kind extends Element>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

const form = the("ask", HTMLFormElement);
const sql = the("id_sql", HTMLTextAreaElement);
const said = the("sql-said", HTMLElement);
const view = becomeEditor(sql, { nonce: nonce(), said });
const estimating = new Estimating(form, sql, the("run", HTMLButtonElement), the("estimate", HTMLElement));

function replace(text: string): void {
  sql.value = text;
  sql.dispatchEvent(new Event("change"));
  estimating.countSoon(0);
}

async function layOut(): Promise<void> {
  const trouble = await format(view);
  if (trouble) said.textContent = trouble;
}

pickTargets(form);
takeOver(form, replace);
saveAs(sql, form);
tellStart(the("id_start_at", HTMLInputElement), the("id_start_zone", HTMLSelectElement), the("start-said", HTMLElement));
browseSchema(the("table-list", HTMLElement), the("find-tables", HTMLInputElement), view, replace);
the("format", HTMLButtonElement).addEventListener("click", () => void layOut());
form.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "f" || !event.shiftKey || !event.altKey) return;
  event.preventDefault();
  void layOut();
});

// Coming back to a page that launched already is a new question.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  const page = form.elements.namedItem("page") as HTMLInputElement;
  page.value = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  estimating.countSoon(0);
});

view.focus();
