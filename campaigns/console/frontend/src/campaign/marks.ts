// Text of hosts as it may be shown: what cannot be seen, or moves what stands beside it, as marks. fleet/text.py does the same.

const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

export function visible(text: string): string {
  return text.replace(UNSEEN, (character) => `⟨U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

export function cutTo(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
