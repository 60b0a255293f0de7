// A campaign's page, in the console and in the admin: draws what the socket says.

import { drawBar } from "./bar.js";
import { Live } from "./live.js";
import { RowTable } from "./rows.js";
import { startTabs } from "./tabs.js";

const SPEAK_MS = 10_000; // how often a screen reader is told
const LOOK_MS = 5_000; // how often the campaign itself is looked at: frames of progress do not tell status and end
const POLL_MS = 2_000; // how often counts and rows are asked for while no socket brings them
const DEAF_MS = 1_500; // a socket that opens has this long before that begins
const OVER = ["completed", "expired", "stopped"];
const CONNECTION = {
  connecting: ["off", "connecting…"],
  live: ["live", "live"],
  reconnecting: ["off", "reconnecting…"],
  polling: ["off", "no live connection: asked every 2 s"],
  ended: ["ended", "ended"],
  "signed out": ["lost", "signed out: reload the page to log in"],
  "not allowed": ["lost", "you may not look at this campaign any more"],
  gone: ["lost", "this campaign was deleted"],
};

const REFUSALS = { 401: "signed out", 403: "not allowed", 404: "gone" }; // of the API

const root = document.getElementById("campaign");
const id = root.dataset.campaign;
const counted = new Intl.NumberFormat("en");
const title = document.title;
const find = (name) => root.querySelectorAll(`[data-live="${name}"]`);

let counts = null;
let status = root.dataset.status;
let endsAt = Date.parse(root.dataset.endsAt) || null;
let clockAhead = 0; // ms that the server's clock is ahead of ours
let spokenAt = 0;
let lastSeq = Number(root.dataset.lastSeq);
let asked = 0; // how often the campaign was asked for, and which answer is drawn
let drawn = 0;
let doubtedAt = 0;
let polls = false;
let byPolling = false;
const known = Number(root.querySelector('[data-live="rows"]').textContent.replace(/\D/g, "")); // rows, when the page was made

const write = (name, text) => find(name).forEach((place) => place.textContent !== text && (place.textContent = text));
const isOver = () => OVER.includes(status);

// --- rows ----------------------------------------------------------------------------------------------------------

const moreButton = root.querySelector("[data-more-rows]");
const filterField = root.querySelector("[data-filter-rows]");
const table = new RowTable(root.querySelector("[data-rows]"), id, JSON.parse(root.dataset.columns), {
  onChange: showShown,
  onColumn: () => (columnsDue ??= setTimeout(fetchColumns)),
});
let columnsDue = null;

async function fetchColumns() {
  columnsDue = null;
  await look().catch(() => {});
}

function showShown() {
  moreButton.hidden = !table.missing || Boolean(table.filling && !table.full);
  if (!table.fresh && !counts && !table.words) return; // the server's sentence stands
  write("shown", shownSentence(table.onPage, Math.max(counts ? counts.rows : known, table.onPage)));
}

// Says what is on the page, and never of all rows what is true of those alone.
function shownSentence(shown, total) {
  const of = `${counted.format(shown)} of ${counted.format(total)} rows`;
  if (!total) return isOver() ? "No host sent a row." : counts?.answered ? "Answers without rows so far." : "No rows yet.";
  if (table.words) {
    const others = shown < total ? ` The other ${counted.format(total - shown)} are not on the page and not searched.` : "";
    return `${counted.format(table.matching)} of the ${counted.format(shown)} rows shown match.${others}`;
  }
  if (table.missing && table.full) return `The first ${of} are shown. The export has all of them.`;
  if (table.failed) return `${of} are shown. The others could not be fetched.`;
  if (shown < total) return `${of} are shown, the others are on their way.`;
  return `${counted.format(total)} ${total === 1 ? "row" : "rows"}.`;
}

moreButton.addEventListener("click", () => table.more().catch(() => {}));
filterField.addEventListener("input", () => table.filter(filterField.value));
root.querySelector("[data-rows]").addEventListener("click", (event) => {
  if (!getSelection().toString()) event.target.closest("td")?.classList.toggle("open");
});

// --- counts, status, time --------------------------------------------------------------------------------------------

function drawCounts(now) {
  counts = now;
  for (const [name, number] of Object.entries(counts)) write(name, counted.format(number));
  const final = counts.targeted - counts.waiting - counts.delivered;
  write("open", counted.format(counts.targeted - final));
  root.querySelectorAll("[data-live-bar]").forEach((bar) => drawBar(bar, counts));
  root.querySelectorAll("[data-state-item]").forEach((item) => item.classList.toggle("none", !counts[item.dataset.stateItem]));
  const errors = counts.failed + counts.denylisted;
  write("errors", counted.format(errors));
  find("errors").forEach((badge) => (badge.hidden = !errors));
  showShown();
  speak(final);
  const share = counts.targeted ? Math.floor((100 * final) / counts.targeted) : 0;
  document.title = isOver() ? title : `${share} % · ${title}`;
  root.dispatchEvent(new CustomEvent("counts"));
}

function speak(final, atOnce = false) {
  if (!atOnce && Date.now() - spokenAt < SPEAK_MS) return;
  spokenAt = Date.now();
  const parts = [`${counts.answered} of ${counts.targeted} hosts answered`, `${counts.targeted - final} are open`];
  if (counts.failed) parts.push(`${counts.failed} failed`);
  write("spoken", `${isOver() ? `The campaign is ${status}. ` : ""}${parts.join(", ")}.`);
}

function drawStatus(campaign) {
  status = campaign.status;
  if ("ends_at" in campaign) endsAt = Date.parse(campaign.ends_at) || null;
  find("status").forEach((badge) => {
    badge.textContent = status;
    badge.className = `status st-${status}`;
  });
  root.querySelectorAll("[data-while-open]").forEach((part) => {
    part.hidden = isOver() || (Boolean(campaign.ended_by) && part.hasAttribute("data-open-dialog"));
  });
  const sentence = endSentence(campaign);
  write("ending", sentence);
  find("ending").forEach((place) => (place.hidden = !sentence));
  drawTime();
}

// wording.py says the same.
function endSentence({ ended_by: by, ended_reason: reason, started_at: start, ended_at: end }) {
  const whom = by ? ` by ${by}` : "";
  const why = reason ? `: ${reason}` : "";
  const took = start && end ? ` after ${lengthOf(Math.round((Date.parse(end) - Date.parse(start)) / 1000))}` : "";
  if (isOver()) return `${status[0].toUpperCase()}${status.slice(1)}${took}${whom}${why}`.replace(/\.+$/, "") + ".";
  return by ? `Stopping${whom}${why}. What hosts have sent is being stored.` : "";
}

function drawTime() {
  if (isOver() || !endsAt) return;
  const left = Math.round((endsAt - Date.now() - clockAhead) / 1000);
  write("left", left > 0 ? lengthOf(left) : "ending…");
}

function lengthOf(seconds) {
  const parts = [];
  for (const [name, size] of [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]]) {
    const number = Math.floor(seconds / size);
    seconds %= size;
    if (number) parts.push(`${number} ${name}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

// Ask for the campaign itself, and draw what it says; null when that is nothing new. Throws when the server fails.
async function look() {
  const number = ++asked;
  const response = await fetch(`/api/v1/campaigns/${id}/`, { headers: { Accept: "application/json" } });
  if (REFUSALS[response.status] && !live.hears) live.finish(REFUSALS[response.status]);
  if (!response.ok) throw new Error(`the campaign could not be fetched: ${response.status}`);
  const date = Date.parse(response.headers.get("Date"));
  if (date) clockAhead = date - Date.now();
  const campaign = await response.json();
  if (number < drawn) return null; // a later question was answered first
  drawn = number;
  lastSeq = Math.max(lastSeq, campaign.last_seq);
  table.arrange(campaign.columns);
  if (!isOver()) drawStatus(campaign);
  doubtSocket(campaign.counts);
  // The end and its counts are drawn together, whichever way they come.
  if (!live.hears || OVER.includes(campaign.status)) drawCounts(campaign.counts);
  return campaign;
}

// A socket may be dead and nobody says so: other counts in two looks, and not a word of it in between.
function doubtSocket(now) {
  const differ = counts && Object.keys(counts).some((name) => name !== "online" && counts[name] !== now[name]);
  if (!live.hears || !differ) doubtedAt = 0;
  else if (doubtedAt && live.heardAt < doubtedAt) live.closed(0);
  else doubtedAt = Date.now();
}

// While no socket brings them, counts and rows are asked for.
async function poll() {
  if (document.hidden || live.over || live.hears || polls || Date.now() - live.deafSince < DEAF_MS) return;
  polls = true;
  try {
    const campaign = await look();
    if (!campaign || live.over) return;
    if (!live.hears) onState("polling");
    table.lacks(campaign.last_seq);
    await table.fill();
    live.seq = Math.max(live.seq, table.missing ? campaign.last_seq : table.seq);
    if (OVER.includes(campaign.status) && !live.hears) {
      speak(campaign.counts.targeted, true);
      live.finish("ended");
    }
  } catch {
    if (!live.over && !live.hears) onState("reconnecting", false);
  } finally {
    polls = false;
  }
}

// --- the socket ------------------------------------------------------------------------------------------------------

const live = new Live(id, { onFrame, onState, onBehind });

function onFrame(frame) {
  if (frame.last_seq) lastSeq = Math.max(lastSeq, frame.last_seq);
  if (frame.type === "results") table.take(frame.items);
  else if (frame.type === "progress") isOver() || drawCounts(frame.counts); // what is late says less than the end did
  else if (frame.type === "snapshot") {
    lastSeq = Math.max(lastSeq, frame.campaign.last_seq);
    table.arrange(frame.campaign.columns);
    drawStatus(frame.campaign);
    drawCounts(frame.campaign.counts);
  } else if (frame.type === "ended") onEnded(frame);
}

async function onEnded(frame) {
  drawStatus(frame);
  drawCounts(frame.counts);
  speak(frame.counts.targeted, true);
  const response = await fetch(`/api/v1/campaigns/${id}/`); // the frame does not tell by whom, nor how long it took
  if (response.ok) drawStatus(await response.json());
}

// More answers wait than the socket brings: fetch as many as the page shows, go on after the last one there is.
async function onBehind() {
  const upTo = lastSeq;
  table.lacks(upTo);
  await table.fill();
  return table.missing ? Math.max(upTo, table.missing) : table.seq;
}

// Trying again is no news while polling works.
function onState(state, polling = byPolling) {
  byPolling = state === "polling" || (polling && (state === "connecting" || state === "reconnecting"));
  if (byPolling) state = "polling";
  const [kind, words] = CONNECTION[state];
  find("connection").forEach((place) => {
    place.dataset.connection = kind;
    if (place.textContent !== words) place.textContent = words;
  });
}

startTabs(root);
live.open();
setInterval(drawTime, 1000);
setInterval(() => isOver() || document.hidden || !live.hears || look().catch(() => {}), LOOK_MS);
setInterval(poll, POLL_MS);

// What somebody is typing is not replaced under their hands.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target.id === "control" && detail.target.querySelector("input:focus")) detail.shouldSwap = false;
});

// Paused, resumed, widened: the status above follows at once.
let control = document.getElementById("control")?.textContent;
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target.id !== "control" || detail.target.textContent === control) return;
  control = detail.target.textContent;
  look().catch(() => {});
});
