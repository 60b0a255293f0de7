// A campaign's socket: keeps its place, comes back by itself, and says truthfully how it is connected.
//
// Frames and close codes are the contract of the address /ws/campaigns/{id}/?after=SEQ. Nothing is drawn here.

const SILENCE_MS = 45_000; // the server pings every 20 s; after two missing pings the line counts as dead
const SNAPSHOT_MS = 10_000; // a socket that opens and brings nothing: a proxy keeps it back
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
    this.hears = false; // the snapshot of this socket came
    this.deafSince = Date.now();
    this.heardAt = 0;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  open() {
    if (this.over) return;
    clearTimeout(this.retry);
    this.handlers.onState(this.failures ? "reconnecting" : "connecting");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = this.connect(`${scheme}//${location.host}/ws/campaigns/${this.campaign}/?after=${this.seq}`);
    if (!socket) return;
    this.socket = socket;
    socket.onmessage = (message) => socket === this.socket && this.hear(JSON.parse(message.data));
    socket.onclose = (close) => socket === this.socket && this.closed(close.code);
    this.watch();
  }

  connect(address) {
    try {
      return new WebSocket(address);
    } catch {
      this.closed(0); // the browser itself forbids it
      return null;
    }
  }

  hear(frame) {
    this.heardAt = Date.now();
    if (frame.type === "snapshot") this.hears = true;
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
      this.finish(FINAL[code]);
      return;
    }
    this.failures += 1;
    const longest = code === RESTARTING ? FIRST_WAIT_MS : FIRST_WAIT_MS * 2 ** Math.min(this.failures - 1, 10);
    this.drop(Math.min(longest, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2));
    this.handlers.onState("reconnecting");
  }

  // There is nothing more to hear, and this is why.
  finish(state) {
    this.over = true;
    this.leave();
    this.handlers.onState(state);
  }

  leave() {
    const socket = this.socket;
    this.socket = null;
    if (this.hears) this.deafSince = Date.now();
    this.hears = false;
    socket?.close();
    clearTimeout(this.silence);
    clearTimeout(this.retry);
  }

  // Leave this socket and open another after a while.
  drop(wait) {
    this.leave();
    this.retry = setTimeout(() => this.open(), wait);
  }

  watch() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.closed(0), this.hears ? SILENCE_MS : SNAPSHOT_MS);
  }

  // Somebody looks again, or the network is back: do not sit out the wait.
  hurry() {
    if (!this.over && this.socket === null) this.open();
  }
}
