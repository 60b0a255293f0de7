// Passkeys are asked for by django-allauth's script, which keeps to itself why a browser gave none: the page says it.

const SENTENCES: Record<string, string> = {
  AbortError: "The browser broke it off: try once more.",
  InvalidStateError: "This device or key holds a passkey of your account already.",
  OperationError: "The browser is asking for a passkey already: answer it, or leave it and try once more.",
  NotAllowedError: "No passkey came: it was broken off, it took too long, or none fits that is at hand. Try once more.",
  NotSupportedError: "This device or key cannot make a passkey that this server takes.",
  SecurityError: `Passkeys need a server with a name, and ${location.hostname} is none: open this page under its name.`,
};

function sentenceOf({ name, message }: Error): string {
  if (!window.isSecureContext) return "Passkeys need TLS: open this page by https://";
  if (message.includes("certificate")) return "This browser takes no passkey where it does not trust the server's certificate.";
  return SENTENCES[name] ?? `The browser gave no passkey: ${message}`;
}

function say(form: HTMLFormElement, sentence: string): void {
  form.querySelector(".error")?.remove();
  const said = Object.assign(document.createElement("p"), { className: "error", textContent: sentence });
  said.setAttribute("role", "alert");
  form.prepend(said);
}

export function startPasskeys(): void {
  const form = document.querySelector<HTMLInputElement>("#id_credential")?.form;
  const button = form?.querySelector<HTMLButtonElement>("#add-passkey, #use-passkey");
  if (!form || !button) return;
  button.addEventListener("click", () => form.querySelector(".error")?.remove());
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    say(form, sentenceOf((event as CustomEvent<{ exception: Error }>).detail.exception));
  });
  // Enter in the field of the name: the form is sent by the script, once there is a passkey.
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    button.click();
  });
}
