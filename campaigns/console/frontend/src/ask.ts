// The Ask page: its SQL field becomes an editor. What the form does beside is in ask.js.

import { becomeEditor } from "./sql_editor";

const field = document.getElementById("id_sql");
const nonce = document.querySelector<HTMLScriptElement>("script[nonce]")?.nonce ?? "";

if (field instanceof HTMLTextAreaElement) becomeEditor(field, { nonce }).focus();
