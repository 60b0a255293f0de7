// The Ask page: counts who is meant while one chooses, and lets Run be pressed once somebody is.

const form = document.getElementById("ask");
const run = document.getElementById("run");
const runOff = document.getElementById("run-off");
const sql = document.getElementById("id_sql");
const estimate = document.getElementById("estimate");
const hosts = document.getElementById("id_hosts");
const counted = new Intl.NumberFormat("en");
const WAITS = { kind: 80, labels: 80, platforms: 80, online: 80, hosts: 350, sql: 350 }; // ms of calm before it is counted

let counting = false;
let runWhenCounted = false;
let due = null;

const targeted = () => Number(estimate.querySelector("[data-targeted]")?.dataset.targeted ?? 0);

function drawRun() {
  const hosts = targeted();
  const off = document.querySelector("#switch [data-off]")?.textContent ?? "";
  run.disabled = counting || !hosts || !sql.value.trim() || Boolean(off);
  runOff.textContent = off;
  runOff.hidden = !off;
  run.textContent = hosts && !counting ? `Run on ${counted.format(hosts)} ${hosts === 1 ? "host" : "hosts"}` : "Run";
}

function countSoon(wait = 150) {
  counting = true;
  estimate.setAttribute("aria-busy", "true");
  htmx.trigger(estimate, "htmx:abort"); // an answer under way is of what was there before
  drawRun();
  clearTimeout(due);
  due = setTimeout(() => {
    due = null;
    htmx.trigger(estimate, "estimate");
  }, wait);
}

function onCounted() {
  if (due) return;
  counting = false;
  estimate.removeAttribute("aria-busy");
  drawRun();
  if (runWhenCounted) submit();
  runWhenCounted = false;
}

function submit() {
  if (counting) runWhenCounted = true;
  else if (!run.disabled) form.requestSubmit(run);
}

form.addEventListener("input", (event) => {
  const wait = WAITS[event.target.name];
  if (wait) countSoon(wait);
  else drawRun();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    submit();
  }
});
form.addEventListener("submit", () => {
  // A second click does not ask twice; the server knows the page as well.
  setTimeout(() => {
    run.disabled = true;
    run.textContent = "Launching…";
  });
});

estimate.addEventListener("htmx:beforeSwap", (event) => {
  if (due) event.detail.shouldSwap = false; // of what was there before
});
estimate.addEventListener("htmx:afterSettle", onCounted);
document.getElementById("switch").addEventListener("htmx:afterSettle", drawRun);
for (const failure of ["htmx:responseError", "htmx:sendError"])
  estimate.addEventListener(failure, () => {
    if (due) return;
    const sentence = document.createElement("p");
    sentence.className = "error";
    sentence.dataset.targeted = "0";
    sentence.textContent = "The server did not answer, so nobody knows how many hosts this means. Choose again to retry.";
    estimate.replaceChildren(sentence);
    onCounted();
  });

// Take over the SQL of a saved query without leaving what is filled in.
document.addEventListener("click", (event) => {
  const pick = event.target.closest("[data-pick-query]");
  const host = event.target.closest("[data-add-host]");
  if (pick && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    sql.value = pick.dataset.sql;
    form.elements.query.value = pick.dataset.pickQuery;
    form.elements.name.value = pick.dataset.name;
    sql.dispatchEvent(new Event("change"));
    countSoon(0);
  }
  if (host) {
    const lines = hosts.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!lines.includes(host.dataset.addHost)) hosts.value = [...lines, host.dataset.addHost].join("\n") + "\n";
    countSoon(0);
  }
});

// Coming back to a page that launched already is a new question.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  form.elements.page.value = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  countSoon(0);
});

drawRun();
