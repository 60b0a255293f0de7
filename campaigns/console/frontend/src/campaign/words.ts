// How a campaign ended, and how long something takes, in words. wording.py says the same.

import type { CampaignSeen, Counts } from "./api";

const counted = new Intl.NumberFormat("en");

const BRAKED = /^brake \w+: /; // how the sentence of a brake begins, which names it for programs

export type Ending = Pick<CampaignSeen, "status" | "waits_for" | "ended_by" | "ended_reason" | "started_at" | "ended_at" | "ends_at" | "left">;

// How far it is, in a word or three.
export function stateWord({ status, waits_for: waitsFor, ended_by: by }: Ending, isOver: boolean): string {
  if (waitsFor) return "waits for approval";
  return by && !isOver ? "stopping" : status;
}

// "" while nothing has ended it.
export function endSentence({ status, ended_by: by, ended_reason: reason, started_at: start, ended_at: end }: Ending, isOver: boolean): string {
  const braked = by === "brake" && BRAKED.test(reason ?? "");
  const whom = by ? ` by ${braked ? "a brake" : by}` : "";
  const why = reason ? `: ${braked ? reason.replace(BRAKED, "") : reason}` : "";
  const took = start && end ? ` after ${lengthOf(Math.round((Date.parse(end) - Date.parse(start)) / 1000))}` : "";
  const never = isOver && !start ? neverBegun(by ?? "", reason ?? "") : "";
  if (never) return never;
  if (isOver) return `${`${status[0]?.toUpperCase()}${status.slice(1)}${took}${whom}${why}`.replace(/\.+$/, "")}.`;
  return by ? `Stopping${whom}${why}. What hosts have sent is being stored.` : "";
}

// What a second person, who asked, or the time did to what waited for an approval; "" = it did not.
function neverBegun(by: string, reason: string): string {
  const why = reason.replace(/\.+$/, "");
  if (why.startsWith("rejected: ")) return `Rejected by ${by}: ${why.slice("rejected: ".length)}.`;
  if (why === `withdrawn by ${by} before it began`) return `W${why.slice(1)}.`;
  if (by === "schedule") return `It did not begin: ${why}.`;
  return by === "approval" ? `Stopped: ${why}.` : "";
}

// Why an ended campaign has no rows.
export function nothingSent(now: Counts): string {
  const answered = now["answered"] ?? 0;
  const failed = (now["failed"] ?? 0) + (now["denylisted"] ?? 0);
  if (!now["targeted"]) return "Nobody was asked.";
  if (now["unsupported"] === now["targeted"]) return "No host can run this SQL: a table or column is missing on each.";
  if (answered) return `${counted.format(answered)} ${answered === 1 ? "host" : "hosts"} answered, without a row.`;
  return failed ? `No host sent a row: ${counted.format(failed)} failed.` : "Nobody answered.";
}

// The two largest units of so many seconds, as 1 h 5 min.
export function lengthOf(seconds: number): string {
  const parts: string[] = [];
  for (const [name, size] of [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]] as const) {
    const number = Math.floor(seconds / size);
    seconds %= size;
    if (number) parts.push(`${number} ${name}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}
