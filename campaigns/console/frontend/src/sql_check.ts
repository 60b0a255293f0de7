// SQL checked while it is typed: the server asks SQLite; its sentence is shown at the place it means, and in words
// below the editor for those who do not see or point.

import { linter, lintGutter, lintKeymap, type Diagnostic } from "@codemirror/lint";
import type { Extension, Text } from "@codemirror/state";
import { keymap, type EditorView } from "@codemirror/view";

interface Verdict {
  ok: boolean;
  severity: "error" | "warning";
  sentence: string;
  line: number | null;
  column: number | null; // in characters, as people count, not in units of UTF-16
}

const CALM = 400; // ms without a key before it is checked

async function ask(sql: string): Promise<Verdict | null> {
  const token = document.querySelector<HTMLInputElement>("[name=csrfmiddlewaretoken]")?.value ?? "";
  try {
    const answer = await fetch("/ask/check/", { method: "POST", body: new URLSearchParams({ sql }), headers: { "X-CSRFToken": token } });
    return answer.ok ? ((await answer.json()) as Verdict) : null;
  } catch {
    return null; // the server is away, which the page says; launching checks all the same
  }
}

// From where SQLite stumbled to the end of that word; the whole last line when it does not say where.
function placeOf(verdict: Verdict, text: Text): { from: number; to: number } {
  if (verdict.line === null || verdict.column === null) return { from: text.lineAt(text.length).from, to: text.length };
  const line = text.line(Math.min(verdict.line, text.lines));
  const characters = [...line.text];
  const from = line.from + characters.slice(0, verdict.column - 1).join("").length;
  const word = /^(\w+|.)/u.exec(text.sliceString(from, line.to))?.[0] ?? "";
  if (word) return { from, to: from + word.length };
  return { from: Math.max(line.from, from - 1), to: Math.min(from, line.to) }; // at the end: something is missing
}

const inWords = (verdict: Verdict) =>
  verdict.line === null ? verdict.sentence : `Line ${verdict.line}, column ${verdict.column}: ${verdict.sentence}`;

export function checking(said: HTMLElement | null): Extension {
  async function source(view: EditorView): Promise<Diagnostic[]> {
    const text = view.state.doc;
    const verdict = text.toString().trim() ? await ask(text.toString()) : null;
    if (view.state.doc !== text) return []; // of what was there before
    const found = verdict && !verdict.ok ? verdict : null;
    if (said) {
      said.textContent = found ? inWords(found) : "";
      said.dataset["severity"] = found?.severity ?? "";
    }
    return found ? [{ ...placeOf(found, text), severity: found.severity, message: found.sentence }] : [];
  }
  return [linter(source, { delay: CALM }), lintGutter(), keymap.of(lintKeymap)];
}
