// A campaign's socket: keeps its place, comes back by itself, and says truthfully how it is connected.
//
// Frames and close codes are the contract of the address /ws/campaigns/{id}/?after=SEQ. Nothing is drawn here.

const SILENCE_MS = 45_000; // the server pings every 20 s; after two missing pings the line counts as dead
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const RESTARTING = 1012;
const FINAL = { 4401: "signed out", 4403: "not allowed", 4404: "gone" };

export class Live {
  // handlers: onFrame(frame), onState(state), onBehind(after) -> Promise of the seq to go on from.
  constructor(campaign, handlers) {
    this.campaign = campaign;
    this.handlers = handlers;
    this.seq = 0;
    this.failures = 0;
    this.over = false;
    this.socket = null;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  open() {
    if (this.over) return;
    clearTimeout(this.retry);
    this.handlers.onState(this.failures ? "reconnecting" : "connecting");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws/campaigns/${this.campaign}/?after=${this.seq}`);
    this.socket = socket;
    socket.onmessage = (message) => socket === this.socket && this.hear(JSON.parse(message.data));
    socket.onclose = (close) => socket === this.socket && this.closed(close.code);
    this.watch();
  }

  hear(frame) {
    this.watch();
    if (frame.type === "snapshot") {
      this.failures = 0;
      this.handlers.onState("live");
    }
    if (frame.type === "behind") {
      this.catchUp(frame.after);
      return;
    }
    if (frame.type === "ended") this.over = true;
    this.handlers.onFrame(frame);
    if (frame.type === "results" && frame.items.length) this.seq = frame.items.at(-1).seq;
    if (frame.type === "ended") this.handlers.onState("ended");
  }

  // The counts keep coming over this socket while the answers are paged over HTTP; then a new one follows from there.
  async catchUp(after) {
    const socket = this.socket;
    try {
      this.seq = Math.max(this.seq, await this.handlers.onBehind(after));
      if (socket === this.socket) this.drop(0);
    } catch {
      if (socket === this.socket) this.closed(0);
    }
  }

  closed(code) {
    clearTimeout(this.silence);
    if (this.over) return;
    if (FINAL[code]) {
      this.over = true;
      this.handlers.onState(FINAL[code]);
      return;
    }
    this.failures += 1;
    const longest = code === RESTARTING ? FIRST_WAIT_MS : FIRST_WAIT_MS * 2 ** Math.min(this.failures - 1, 10);
    this.drop(Math.min(longest, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2));
    this.handlers.onState("reconnecting");
  }

  // Leave this socket and open another after a while.
  drop(wait) {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.open(), wait);
  }

  watch() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.closed(0), SILENCE_MS);
  }

  // Somebody looks again, or the network is back: do not sit out the wait.
  hurry() {
    if (!this.over && this.socket === null) this.open();
  }
}
