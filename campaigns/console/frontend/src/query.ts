// The pages of saved queries: their SQL field becomes an editor.

import { becomeEditor, nonce } from "./sql_editor";

const field = document.getElementById("id_sql");

if (field instanceof HTMLTextAreaElement) becomeEditor(field, { nonce: nonce() });
