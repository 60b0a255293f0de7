// SQL laid out anew, as SQLite's. The formatter is large and seldom needed: it is fetched when it is.

import type { EditorView } from "@codemirror/view";

// Gives a sentence when the text cannot be laid out; it is left as it is then.
export async function format(view: EditorView): Promise<string> {
  const before = view.state.doc.toString();
  try {
    const { formatDialect, sqlite } = await import("sql-formatter");
    const after = formatDialect(before, { dialect: sqlite, keywordCase: "upper", tabWidth: 4 });
    if (after !== before && view.state.doc.toString() === before)
      view.dispatch({ changes: { from: 0, to: before.length, insert: after }, userEvent: "input.format" });
    return "";
  } catch (error) {
    return `It cannot be formatted: ${String(error instanceof Error ? error.message : error).split("\n")[0]}`;
  } finally {
    view.focus();
  }
}
