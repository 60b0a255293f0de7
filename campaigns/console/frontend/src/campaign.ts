// A campaign's page, in the console and in the admin: draws what the socket says, and the grid over the rows.

import { startAbout } from "./campaign/about";
import { startAddress } from "./campaign/address";
import { Analysis } from "./campaign/analyse";
import { type CampaignSeen, type Counts, get, isForGood, RefusedError, secondsToWait } from "./campaign/api";
import { drawBar } from "./campaign/bar";
import { RowGrid } from "./campaign/grid";
import { startGroups } from "./campaign/groups";
import { startChoosing } from "./campaign/chosen";
import { type Frame, Live, type State } from "./campaign/live";
import { drawControls, startControls } from "./campaign/controls";
import { startDownloads } from "./downloads";
import { startTabs } from "./campaign/tabs";
import { startRowTools } from "./campaign/tools";
import { type Ending, endSentence, lengthOf, nothingSent, stateWord } from "./campaign/words";
import { told } from "./times";
import { sayLoggedOut } from "./logged_out";

const SPEAK_MS = 10_000; // how often a screen reader is told
const LOOK_MS = 5_000; // how often the campaign itself is looked at: frames of progress tell its status, not its end
const LATE_MS = 10_000; // how often it is looked at once it ended, while answers may still come
const POLL_MS = 2_000; // how often counts are asked for while no socket brings them
const DEAF_MS = 1_500; // a socket that opens has this long before that begins
const AWAY_MS = 800; // a server that is away is looked for that often, so that it is noticed in its first second
const LONGEST_AWAY_MS = 15_000; // once it is away for hours
const PATIENCE = 300; // what is away for so many times as long is looked for less often
const ANSWER_MS = 5_000; // what answers no sooner is away
const TICK_MS = 250;
const OVER = ["completed", "expired", "stopped"];
const CONNECTION: Record<State, [kind: string, words: string]> = {
  connecting: ["off", "connecting…"],
  live: ["live", "live"],
  reconnecting: ["off", "reconnecting…"],
  polling: ["off", "no live connection: asked every 2 s"],
  ended: ["ended", "ended"],
  "signed out": ["lost", "logged out"],
  "not allowed": ["lost", "you may not look at this campaign any more"],
  gone: ["lost", "this campaign was deleted, or you may not look at it any more: what is shown is old"],
};
const REFUSALS: Record<number, State> = { 401: "signed out", 403: "not allowed", 404: "gone" }; // of the API

const root = document.getElementById("campaign")!;
const id = root.dataset["campaign"] ?? "";
const counted = new Intl.NumberFormat("en");
const title = document.title;
const find = (name: string): NodeListOf<HTMLElement> => root.querySelectorAll<HTMLElement>(`[data-live="${name}"]`);
const numberIn = (name: string): number => Number((find(name)[0]?.textContent ?? "").replace(/\D/g, ""));

let counts: Counts | null = null;
let status = root.dataset["status"] ?? "";
let stands = `${status} ${root.dataset["endedBy"] ?? ""} ${root.dataset["waitsFor"] ?? ""}`; // what the buttons are drawn for
let endsAt = Date.parse(root.dataset["endsAt"] ?? "") || null;
let endedAt = Date.parse(root.dataset["endedAt"] ?? "") || null;
let clockAhead = 0; // ms that the server's clock is ahead of ours
let spokenAt = 0;
let speaks = 0; // the timer of what is spoken next
let asked = 0; // how often the campaign was asked for, and which answer is drawn
let drawn = 0;
let doubtedAt = 0;
let polls = false;
let pollAt = 0;
let notBefore = 0; // who asked too often waits
let shown: State = "connecting";
let byPolling = false;
let awaySince = 0; // the server answers nothing, or that it failed
let isInTrouble = false; // it is there, and says so itself: then it is asked no more often than ever

const write = (name: string, text: string): void =>
  find(name).forEach((place) => {
    if (place.textContent !== text) place.textContent = text;
  });
const isOver = (): boolean => OVER.includes(status);

const saidFirst = find("shown")[0]?.textContent?.trim() ?? "";
const grid = startRowTools(root, (place, onShown, onView) =>
  new RowGrid(
    place,
    id,
    JSON.parse(root.dataset["columns"] ?? "[]") as string[],
    root.hasAttribute("data-sees-hosts"),
    document.querySelector<HTMLScriptElement>("script[nonce]")?.nonce ?? "",
    { onShown, onView, onRefused: glance },
  ),
);
grid.grow(numberIn("rows"), isOver(), saidFirst);

// --- counts, status, time --------------------------------------------------------------------------------------------

function drawCounts(now: Counts): void {
  const changed = JSON.stringify(counts) !== JSON.stringify(now);
  counts = now;
  for (const [name, number] of Object.entries(now)) write(name, counted.format(number));
  const final = (now["targeted"] ?? 0) - (now["waiting"] ?? 0) - (now["delivered"] ?? 0);
  const open = (now["targeted"] ?? 0) - final;
  write("open", counted.format(open));
  write("hosts-word", now["targeted"] === 1 ? "host" : "hosts");
  root.querySelectorAll("[data-live-bar]").forEach((bar) => drawBar(bar, now));
  root.querySelectorAll<HTMLElement>("[data-state-item]").forEach((item) => (item.hidden = !now[item.dataset["stateItem"] ?? ""]));
  const errors = (now["failed"] ?? 0) + (now["denylisted"] ?? 0);
  root.toggleAttribute("data-unasked", isOver() && !now["targeted"]);
  root.querySelectorAll<HTMLElement>("[data-if-errors]").forEach((link) => (link.hidden = !errors && !now["unsupported"]));
  root.querySelectorAll<HTMLElement>("[data-if-asked]").forEach((link) => (link.hidden = !now["targeted"]));
  write("errors", counted.format(errors));
  find("errors").forEach((badge) => (badge.hidden = !errors));
  grid.grow(now["rows"] ?? 0, isOver(), nothingSent(now));
  speak(now, final);
  const share = now["targeted"] ? Math.floor((100 * final) / now["targeted"]) : 0;
  document.title = isOver() ? title : `${share} % · ${title}`;
  if (changed) root.dispatchEvent(new CustomEvent("counts"));
}

function speak(now: Counts, final: number, atOnce = false): void {
  clearTimeout(speaks);
  const wait = spokenAt + SPEAK_MS - Date.now();
  if (!atOnce && wait > 0) {
    speaks = window.setTimeout(() => speak(now, final, true), wait); // what came last is told too
    return;
  }
  spokenAt = Date.now();
  if (isOver() && !now["targeted"]) {
    write("spoken", `The campaign is ${status}. ${nothingSent(now)}`);
    return;
  }
  const open = (now["targeted"] ?? 0) - final;
  const hosts = now["targeted"] === 1 ? "host" : "hosts";
  const parts = [`${now["answered"]} of ${now["targeted"]} ${hosts} answered`, `${open} ${open === 1 ? "is" : "are"} open`];
  if (now["failed"]) parts.push(`${now["failed"]} failed`);
  write("spoken", `${isOver() ? `The campaign is ${status}. ` : ""}${parts.join(", ")}.`);
}

// Say whether what may be done, or must be said, is another than what is drawn.
function standsAnew(campaign: Pick<Ending, "status" | "ended_by" | "waits_for">): boolean {
  const standing = `${campaign.status} ${campaign.ended_by ?? ""} ${campaign.waits_for ?? ""}`;
  if (standing === stands) return false;
  stands = standing;
  drawControls();
  return true;
}

function drawStatus(campaign: Ending): void {
  standsAnew(campaign);
  const wasOver = isOver();
  root.dataset["status"] = status = campaign.status;
  if (isOver() && !wasOver) root.dispatchEvent(new CustomEvent("over"));
  if ("ends_at" in campaign) endsAt = Date.parse(campaign.ends_at ?? "") || null;
  if (campaign.ended_at) endedAt = Date.parse(campaign.ended_at) || null;
  if (typeof campaign.left === "number") write("left", lengthOf(campaign.left));
  write("status", stateWord(campaign, isOver()));
  find("status").forEach((badge) => {
    badge.className = `status st-${status}`;
  });
  root.querySelectorAll<HTMLElement>("[data-while-open]").forEach((part) => {
    part.hidden = isOver() || (Boolean(campaign.ended_by) && part.hasAttribute("data-until-stopped"));
  });
  const sentence = endSentence(campaign, isOver());
  find("ending").forEach((place) => {
    place.replaceChildren(...told(sentence));
    place.hidden = !sentence;
  });
  drawTime();
}

function drawTime(): void {
  if (isOver() || !endsAt) return;
  const left = Math.round((endsAt - Date.now() - clockAhead) / 1000);
  write("left", left > 0 ? lengthOf(left) : "ending…");
}

// Ask for the campaign itself, and draw what it says; null when that is nothing new. Throws when the server fails.
async function look(signal?: AbortSignal): Promise<CampaignSeen | null> {
  const number = ++asked;
  const { body: campaign, date } = await get<CampaignSeen>(`/api/v1/campaigns/${id}/`, signal).catch((error: unknown) => {
    notBefore = Math.max(notBefore, Date.now() + secondsToWait(error) * 1000);
    const refusal = error instanceof RefusedError ? REFUSALS[error.status] : undefined;
    if (refusal) live.finish(refusal);
    throw error;
  });
  if (date) clockAhead = date - Date.now();
  if (number < drawn) return null; // a later question was answered first
  drawn = number;
  grid.arrange(campaign.columns);
  if (!isOver()) drawStatus(campaign);
  doubtSocket(campaign.counts);
  // The end and its counts are drawn together, whichever way they come.
  if (!live.hears || OVER.includes(campaign.status)) drawCounts(campaign.counts);
  return campaign;
}

// What cannot be had now comes with the next look, and whoever polls says that the server is away.
function glance(): void {
  if ("lost" in root.dataset || Date.now() < notBefore) return;
  look().catch(() => {});
}

// Answers that were on their way are kept for a while after the end, of hosts that had not answered by then.
function mayComeLate(): boolean {
  const now = counts;
  if (!isOver() || !now || !endedAt) return false;
  const without = (now["targeted"] ?? 0) - ["answered", "failed", "denylisted", "unsupported"].reduce((sum, name) => sum + (now[name] ?? 0), 0);
  return without > 0 && Date.now() + clockAhead < endedAt + Number(root.dataset["lateSeconds"] ?? 0) * 1000;
}

function lookForLate(): void {
  if (document.hidden || "lost" in root.dataset || Date.now() < notBefore || !mayComeLate()) return;
  const before = counts?.["answered"];
  look()
    .then(() => counts?.["answered"] !== before && root.dispatchEvent(new CustomEvent("late")))
    .catch(() => {});
}

// A socket may be dead and nobody says so: other counts in two looks, and not a word of it in between.
function doubtSocket(now: Counts): void {
  const shown = counts;
  const differ = shown && Object.keys(shown).some((name) => name !== "online" && shown[name] !== now[name]);
  if (!live.hears || !differ) doubtedAt = 0;
  else if (doubtedAt && live.heardAt < doubtedAt) live.closed(0);
  else doubtedAt = Date.now();
}

// While no socket brings them, counts are asked for. Whoever hears that the server is back opens a socket at once.
async function poll(): Promise<void> {
  if (document.hidden || live.over || live.hears || polls || Date.now() < Math.max(pollAt, notBefore, live.deafSince + DEAF_MS)) return;
  polls = true;
  try {
    onPolled(await look(AbortSignal.timeout(ANSWER_MS)));
  } catch (error) {
    const refused = error instanceof RefusedError ? error : null;
    awaySince = refused && refused.status < 500 ? 0 : awaySince || Date.now();
    isInTrouble = refused?.isOurs ?? false;
    pollAt = 0;
    if (!live.over && !live.hears) onState("reconnecting", false);
  } finally {
    polls = false;
    pollAt = Math.max(pollAt, Date.now() + pollWait());
  }
}

function onPolled(campaign: CampaignSeen | null): void {
  const isBack = awaySince > 0;
  awaySince = 0;
  if (!campaign || live.over) return;
  if (isBack) live.hurry();
  else if (!live.hears) onState("polling");
  if (OVER.includes(campaign.status) && !live.hears) {
    speak(campaign.counts, campaign.counts["targeted"] ?? 0, true);
    live.finish("ended");
  }
}

// Viewers who lost a server at one moment come back spread over a second, and look for it less often as hours go by.
function pollWait(): number {
  if (!awaySince || isInTrouble) return POLL_MS;
  const wait = Math.max(AWAY_MS, (Date.now() - awaySince) / PATIENCE);
  return Math.min(wait, LONGEST_AWAY_MS) * (0.5 + Math.random() / 2);
}

// --- the socket ------------------------------------------------------------------------------------------------------

const live: Live = new Live(id, { onFrame, onState });

function onFrame(frame: Frame): void {
  if (frame.type === "progress") {
    if (isOver()) return; // what is late says less than the end did
    drawCounts(frame.counts);
    write("released", counted.format(frame.released ?? 0));
    if (standsAnew(frame)) glance();
    lookForColumns(frame.counts);
  } else if (frame.type === "snapshot") {
    awaySince = pollAt = 0;
    grid.arrange(frame.campaign.columns);
    drawStatus(frame.campaign);
    drawCounts(frame.campaign.counts);
  } else if (frame.type === "ended") onEnded(frame);
}

// Progress tells no columns: the first rows bring them, later ones come with the next look.
function lookForColumns(now: Counts): void {
  if (now["rows"] && !grid.columnNames.length) glance();
}

function onEnded(frame: Ending & { counts: Counts }): void {
  drawStatus(frame);
  drawCounts(frame.counts);
  speak(frame.counts, frame.counts["targeted"] ?? 0, true);
  drawEnding();
}

// The frame tells neither by whom nor how long: the campaign itself does, as soon as the server answers.
function drawEnding(): void {
  get<CampaignSeen>(`/api/v1/campaigns/${id}/`)
    .then(({ body }) => {
      grid.arrange(body.columns);
      drawStatus(body);
    })
    .catch((error: unknown) => {
      if (!isForGood(error)) setTimeout(drawEnding, secondsToWait(error) * 1000 || POLL_MS);
    });
}

// Trying again is no news while polling works.
function onState(state: State, polling = byPolling): void {
  byPolling = state === "polling" || (polling && (state === "connecting" || state === "reconnecting"));
  shown = byPolling ? "polling" : state;
  const [kind, words] = CONNECTION[shown];
  drawConnection();
  if (kind === "lost") giveUp(words);
  if (state === "signed out") sayLoggedOut();
}

// The seconds are no news to who hears the page.
function drawConnection(): void {
  const wait = Math.ceil((notBefore - Date.now()) / 1000);
  const waits = wait > 0 && !live.hears && !live.over;
  const [kind, words] = waits ? ["off", "you asked too often: "] : CONNECTION[shown];
  find("connection").forEach((place) => {
    place.dataset["connection"] = kind;
    if (place.firstChild?.textContent !== words) place.replaceChildren(words);
    if (!waits) return;
    const seconds = place.querySelector("[aria-hidden]") ?? place.appendChild(Object.assign(document.createElement("span"), { ariaHidden: "true" }));
    seconds.textContent = `again in ${wait} s`;
  });
}

// Nothing here can be done or heard any more: it is said where the buttons were, in words that cannot be overlooked.
function giveUp(words: string): void {
  root.dataset["lost"] = "";
  document.getElementById("control")?.remove();
  document.getElementById("standing")?.remove();
  const said = document.getElementById("control-said");
  if (!said || words === CONNECTION["signed out"][1]) return; // that is said above, with the way back
  said.className = "in-place banner bad";
  said.setAttribute("role", "alert");
  said.textContent = `${words[0]?.toUpperCase()}${words.slice(1)}.`;
}

// A part of the page is not there: perhaps the campaign is not.
document.addEventListener("htmx:responseError", (event) => {
  const { status } = (event as CustomEvent<{ xhr: XMLHttpRequest }>).detail.xhr;
  if (status === 401) live.finish("signed out");
  else if (status in REFUSALS) glance();
});

startDownloads();
startAddress();
startTabs(root);
document.addEventListener("stepped", () => grid.follow());
startGroups(root);
startChoosing(root);
const panel = document.getElementById("panel-analyse");
const analysis = panel ? new Analysis(panel) : null;
if (panel && !panel.hidden) analysis?.opened();
root.addEventListener("counts", () => analysis?.grew());
startAbout(root);
root.addEventListener("tab", (event) => {
  if ((event as CustomEvent<string>).detail === "tab-analyse") analysis?.opened();
  if ((event as CustomEvent<string>).detail === "tab-rows") grid.back();
});
live.open();
setInterval(() => {
  drawTime();
  drawConnection();
}, 1000);
setInterval(() => isOver() || document.hidden || !live.hears || glance(), LOOK_MS);
setInterval(lookForLate, LATE_MS);
setInterval(() => void poll(), TICK_MS);

startControls(root, glance);
