// A campaign's page, in the console and in the admin: draws what the socket says.

import { drawBar } from "./bar.js";
import { Live } from "./live.js";
import { RowTable } from "./rows.js";
import { startTabs } from "./tabs.js";

const SPEAK_MS = 10_000; // how often a screen reader is told
const LOOK_MS = 5_000; // how often the campaign itself is looked at: frames of progress do not tell status and end
const OVER = ["completed", "expired", "stopped"];
const CONNECTION = {
  connecting: ["off", "connecting…"],
  live: ["live", "live"],
  reconnecting: ["off", "reconnecting…"],
  ended: ["ended", "ended"],
  "signed out": ["lost", "signed out: reload the page to log in"],
  "not allowed": ["lost", "you may not look at this campaign any more"],
  gone: ["lost", "this campaign was deleted"],
};

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
  const total = counts ? counts.rows : table.shown;
  moreButton.hidden = !table.missing || Boolean(table.filling && !table.full);
  if (!table.fresh && !counts) return;
  write("shown", shownSentence(Math.max(total, table.shown)));
}

function shownSentence(total) {
  if (!total) return isOver() ? "No host sent a row." : counts?.answered ? "Answers without rows so far." : "No rows yet.";
  if (table.words) return `${counted.format(table.matching)} of the ${counted.format(table.shown)} rows shown match.`;
  if (table.missing && table.full)
    return `The first ${counted.format(table.shown)} of ${counted.format(total)} rows are shown. The export has all of them.`;
  if (table.missing && !table.filling) return `${counted.format(table.shown)} rows are shown. The others could not be fetched.`;
  return `${counted.format(total)} ${total === 1 ? "row" : "rows"}.`;
}

moreButton.addEventListener("click", () => table.more().catch(showShown));
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

async function look() {
  const response = await fetch(`/api/v1/campaigns/${id}/`, { headers: { Accept: "application/json" } });
  if (!response.ok) return;
  const date = Date.parse(response.headers.get("Date"));
  if (date) clockAhead = date - Date.now();
  const campaign = await response.json();
  table.arrange(campaign.columns);
  if (!isOver()) drawStatus(campaign);
}

// --- the socket ------------------------------------------------------------------------------------------------------

const live = new Live(id, { onFrame, onState, onBehind });
let lastSeq = Number(root.dataset.lastSeq);

function onFrame(frame) {
  if (frame.last_seq) lastSeq = Math.max(lastSeq, frame.last_seq);
  if (frame.type === "results") table.take(frame.items);
  else if (frame.type === "progress") drawCounts(frame.counts);
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

function onState(state) {
  const [kind, words] = CONNECTION[state];
  find("connection").forEach((place) => {
    place.dataset.connection = kind;
    if (place.textContent !== words) place.textContent = words;
  });
}

startTabs(root);
live.open();
setInterval(drawTime, 1000);
setInterval(() => isOver() || document.hidden || look().catch(() => {}), LOOK_MS);

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
