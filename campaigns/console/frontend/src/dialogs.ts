// The product's own dialogs: the focus stays in, Esc leaves, and it goes back to where it came from. What cannot be
// taken back is asked for in one of them; no page uses the browser's confirm().

const FOCUSABLE = "a[href], button:not([disabled]), input:not([disabled], [type=hidden]), select:not([disabled]), textarea:not([disabled]), summary, [tabindex='0']";
const TEXTS = "input:not([type=hidden]), textarea";
const UNITED = "|"; // question|explanation|word of the button; names in a question may hold one too

let openedBy: HTMLElement | null = null;

export function openDialog(dialog: HTMLDialogElement, opener: HTMLElement | null): void {
  if (dialog.open) return;
  openedBy = opener;
  dialog.showModal();
  if (!dialog.querySelector(TEXTS)) dialog.querySelector<HTMLElement>(".danger ~ [data-close-dialog]")?.focus(); // what is for good is gone to
}

function parts(dialog: HTMLDialogElement): HTMLElement[] {
  return [...dialog.querySelectorAll<HTMLElement>(FOCUSABLE)].filter((part) => part.checkVisibility());
}

// The browser would let Tab leave for its own bars.
function keepIn(event: KeyboardEvent): void {
  const dialog = document.querySelector<HTMLDialogElement>("dialog:modal");
  if (event.key !== "Tab" || !dialog) return;
  const all = parts(dialog);
  const [first, last] = [all[0], all.at(-1)];
  const at = document.activeElement;
  if (event.shiftKey && (at === first || !dialog.contains(at))) last?.focus();
  else if (!event.shiftKey && (at === last || !dialog.contains(at))) first?.focus();
  else return;
  event.preventDefault();
}

// Enter that is held since it opened the dialog answers nothing in it.
function isHeld(event: KeyboardEvent): boolean {
  return event.key === "Enter" && event.repeat && event.target instanceof Element && event.target.closest("dialog:modal") !== null && !event.target.matches("textarea");
}

// What opened it may have been drawn anew meanwhile: the one of its id stands for it.
function goBack(): void {
  if (document.querySelector("dialog:modal")) return; // it was opened again before it was told that it had closed
  const back = openedBy?.isConnected ? openedBy : document.getElementById(openedBy?.id ?? "");
  openedBy = null;
  if (back && !back.matches(":disabled") && (document.activeElement === document.body || !document.activeElement?.checkVisibility())) back.focus();
}

function confirmDialog(): { dialog: HTMLDialogElement; title: HTMLElement; text: HTMLElement; yes: HTMLButtonElement } {
  const dialog = document.createElement("dialog");
  dialog.id = "confirm-dialog";
  dialog.setAttribute("aria-labelledby", "confirm-title");
  dialog.setAttribute("aria-describedby", "confirm-text");
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "stop-form";
  const title = Object.assign(document.createElement("h2"), { id: "confirm-title" });
  const text = Object.assign(document.createElement("p"), { id: "confirm-text" });
  const buttons = Object.assign(document.createElement("div"), { className: "buttons" });
  const yes = Object.assign(document.createElement("button"), { className: "danger" });
  const no = Object.assign(document.createElement("button"), { className: "quiet", textContent: "Leave it", autofocus: true });
  buttons.append(yes, no);
  form.append(title, text, buttons);
  dialog.append(form);
  document.body.append(dialog);
  return { dialog, title, text, yes };
}

let about: HTMLElement | null = null; // what was agreed to, which is done in a moment
// Something is asked or about to be done: what it is about must not be replaced.
export const isAsked = (): boolean => about !== null || document.querySelector("dialog:modal") !== null;

let asking: ReturnType<typeof confirmDialog> | null = null;

export function askFirst(question: string, opener: HTMLElement | null, then: () => void): void {
  asking ??= confirmDialog();
  const { dialog, title, text, yes } = asking;
  const said = question.split(UNITED);
  const [more, button] = said.length > 2 ? said.splice(-2) : [];
  title.textContent = said.join(UNITED);
  text.textContent = more ?? "";
  text.hidden = !more;
  yes.textContent = button ?? "Yes";
  yes.onclick = () => {
    about = opener ?? document.body;
    setTimeout(() => {
      about = null;
      then(); // it is closed, and the focus is back
    });
  };
  openDialog(dialog, opener);
}

// What a dialog asks about is not replaced behind it.
function keepAskedAbout(event: Event): void {
  const { detail } = event as CustomEvent<{ target: Element; shouldSwap: boolean; requestConfig?: { elt: Element } }>;
  const dialog = document.querySelector("dialog:modal");
  if (about && detail.target.contains(about)) detail.shouldSwap = false;
  if (dialog && openedBy && detail.target.contains(openedBy) && !dialog.contains(detail.requestConfig?.elt ?? null)) detail.shouldSwap = false;
}

let agreed: HTMLFormElement | null = null; // being sent after a yes

// A form that says what it asks is sent after a yes, without what it asks: with it, as who has no scripts sends it, the
// server asks on a page. So is one whose button says it to htmx, which may not have come yet. Whoever else would send it
// hears nothing before.
function askBeforeSending(event: SubmitEvent): void {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form === agreed) return;
  const button = event.submitter;
  const asks = form.querySelector<HTMLInputElement>('input[name="asks"]');
  const question = button?.getAttribute("hx-confirm") ?? asks?.value;
  if (!question) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  askFirst(question, button, () => {
    agreed = form;
    if (asks) asks.disabled = true;
    form.requestSubmit(button);
    if (asks) asks.disabled = false;
    agreed = null;
  });
}

export function startDialogs(): void {
  document.addEventListener("htmx:beforeSwap", keepAskedAbout);
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const opener = event.target.closest<HTMLElement>("[data-open-dialog]");
    const dialog = opener && document.getElementById(opener.dataset["openDialog"] ?? "");
    if (opener && dialog instanceof HTMLDialogElement) {
      event.preventDefault();
      openDialog(dialog, opener);
    }
    event.target.closest("[data-close-dialog]")?.closest("dialog")?.close();
  });
  document.addEventListener("keydown", keepIn);
  document.addEventListener("keydown", (event) => isHeld(event) && event.preventDefault());
  document.addEventListener("close", goBack, true);
  document.addEventListener("submit", askBeforeSending, true);
  document.addEventListener("htmx:confirm", (event) => {
    const { detail } = event as CustomEvent<{ question: string | null; elt: HTMLElement; issueRequest(skip: boolean): void }>;
    if (!detail.question) return;
    event.preventDefault();
    const focused = document.activeElement;
    askFirst(detail.question, focused instanceof HTMLElement ? focused : detail.elt, () => detail.issueRequest(true));
  });
}
