// An SQL field becomes an editor: SQLite highlighted, tables and columns completed from what the fleet has.
//
// The field itself stays what the form sends; without this script it is an ordinary one. The field says "input" when
// the text changed here, and "change" on it brings a text from elsewhere (a saved query) into the editor.

import { autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap, startCompletion, type Completion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { SQLDialect, SQLite, sql, type SQLNamespace } from "@codemirror/lang-sql";
import { bracketMatching, defaultHighlightStyle, HighlightStyle, LanguageSupport, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { platformNames, tables, type Table } from "./schema";
import { checking } from "./sql_check";

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--code-keyword)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--code-text)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
  { tag: tags.comment, color: "var(--dim)", fontStyle: "italic" },
  { tag: [tags.operator, tags.punctuation], color: "var(--dim)" },
]);

// Words of questions, as SQLite and DuckDB have them. The library's list has every word of every standard: to hosts
// path, user, state, key and version are columns.
const DIALECT = SQLDialect.define({
  ...SQLite.spec,
  keywords:
    "all and anti as asc asof between by case cast collate cross current desc distinct else end escape except exclude exists explain filter following from full glob group having in indexed " +
    "inner intersect is isnull join lateral left like limit match materialized natural not notnull null nulls offset on or order others outer over partition pivot preceding qualify range " +
    "recursive regexp right select semi then ties unbounded union unpivot using values when where window with within without",
  builtin: "",
});

// Names that neither SQLite nor DuckDB reads as a name unless they are quoted.
const RESERVED = new Set(
  (
    "add all alter analyse analyze and any array as asc asymmetric between both case cast check collate column commit constraint create default deferrable delete desc describe " +
    "distinct do drop else end escape except exists false fetch for foreign from group having in index insert intersect into is isnull join lambda lateral leading limit natural not " +
    "notnull null offset on only or order pivot placing primary qualify references returning select set show some summarize symmetric table then to trailing transaction true union " +
    "unique unpivot update using values variadic when where window with"
  ).split(" "),
);

function written(name: string): string {
  return /^[\p{L}_][\p{L}\p{N}_]*$/u.test(name) && !RESERVED.has(name.toLowerCase()) ? name : `"${name.replaceAll('"', '""')}"`;
}

// Tables stand before the words of SQL, short names before long ones.
function namespaceOf(found: Table[]): SQLNamespace {
  const all: Record<string, Completion[]> = {};
  for (const table of found)
    all[table.name] = table.columns
      .filter((column) => !column.hidden)
      .map((column) => ({ label: column.name, apply: written(column.name), type: "property", detail: column.type.toLowerCase() }));
  return Object.fromEntries(
    found.map((table) => [
      table.name,
      { self: { label: table.name, type: "class", detail: platformNames(table.platforms), boost: Math.max(1, 60 - table.name.length) }, children: all[table.name] ?? [] },
    ]),
  );
}

// Columns without their table before them: of every table that the text names, wherever; they are often typed first.
function columnsOf(found: Table[]): (context: CompletionContext) => CompletionResult | null {
  const byName = new Map(found.map((table) => [table.name.toLowerCase(), table]));
  return (context) => {
    const word = context.matchBefore(/[\p{L}\p{N}_]+/u);
    if (!word || context.matchBefore(/\.[\p{L}\p{N}_]*/u)) return null;
    const named = new Set(context.state.doc.toString().toLowerCase().match(/\w+/g));
    const options = [...named].flatMap((name) =>
      (byName.get(name)?.columns ?? [])
        .filter((column) => !column.hidden)
        .map((column) => ({ label: column.name, apply: written(column.name), type: "property", detail: `${name} · ${column.type.toLowerCase()}`, boost: 70 })),
    );
    return { from: word.from, options, validFor: /^[\p{L}\p{N}_]*$/u };
  };
}

function languageWith(found: Table[]): LanguageSupport {
  const support = sql({ dialect: DIALECT, schema: namespaceOf(found), upperCaseKeywords: true });
  const columns = support.language.data.of({ autocomplete: columnsOf(found) });
  return new LanguageSupport(support.language, [support.support, columns]);
}

// Text typed over a selection is put in here. Left to itself the browser would give it the style of what it replaces, as
// an inline style, which the page's policy forbids.
const typedOver = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const text = event.data;
    const { from, to, empty } = view.state.selection.main;
    if (event.inputType !== "insertText" || !text || empty || event.isComposing || view.composing) return false;
    event.preventDefault();
    const typed = () => view.state.update(view.state.replaceSelection(text), { userEvent: "input.type", scrollIntoView: true });
    if (!view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, text, typed))) view.dispatch(typed());
    return true;
  },
});

export interface EditorOptions {
  nonce: string; // under which the page's policy lets styles in
  said?: HTMLElement; // where what is wrong is said in words
  tables?: Promise<Table[]>; // what is completed, else the fleet's own
  unchecked?: boolean; // it is no SQL of osquery
}

function isAmidWord(view: EditorView, field: HTMLTextAreaElement): boolean {
  const { head, empty } = view.state.selection.main;
  return view.hasFocus && empty && field.value !== field.defaultValue && /[\p{L}\p{N}_]/u.test(view.state.sliceDoc(Math.max(0, head - 1), head));
}

export const nonce = () => document.querySelector<HTMLScriptElement>("script[nonce]")?.nonce ?? "";

export function becomeEditor(field: HTMLTextAreaElement, options: EditorOptions): EditorView {
  const language = new Compartment();
  // No blank line: the form around hears the key as well. What is offered would lie over what comes of it.
  const run = { key: "Mod-Enter", run: (at: EditorView) => closeCompletion(at) || true };
  const view = new EditorView({
    state: EditorState.create({
      doc: field.value,
      extensions: [
        EditorView.cspNonce.of(options.nonce),
        EditorView.contentAttributes.of({ "aria-label": field.labels[0]?.textContent?.trim() ?? "SQL", id: `${field.id}_editor` }),
        EditorView.lineWrapping,
        lineNumbers(),
        drawSelection(),
        history(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false }),
        placeholder(field.placeholder || "SELECT …"),
        syntaxHighlighting(colours),
        syntaxHighlighting(defaultHighlightStyle, { fallback: true }),
        language.of(languageWith([])),
        typedOver,
        options.unchecked ? [] : checking(options.said ?? null),
        keymap.of([run, ...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged || field.value === view.state.doc.toString()) return;
          field.value = view.state.doc.toString();
          field.dispatchEvent(new Event("input", { bubbles: true }));
        }),
      ],
    }),
  });
  field.after(view.dom);
  field.hidden = true;
  for (const label of field.labels) label.addEventListener("click", () => view.focus());
  field.addEventListener("change", () => {
    if (field.value !== view.state.doc.toString())
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: field.value } });
    view.focus();
  });
  (options.tables ?? tables()).then(
    (found) => {
      view.dispatch({ effects: language.reconfigure(languageWith(found)) });
      if (isAmidWord(view, field)) startCompletion(view); // they came after it was typed
    },
    () => undefined, // the server refuses to tell: SQL can be typed without completion
  );
  return view;
}
