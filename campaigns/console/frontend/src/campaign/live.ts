// A campaign's socket: comes back by itself, and says truthfully how it is connected.
//
// Frames and close codes are the contract of the address /ws/campaigns/{id}/?after=SEQ. Nothing is drawn here.

import type { CampaignSeen, Counts } from "./api";

const SILENCE_MS = 45_000; // the server pings every 20 s; after two missing pings the line counts as dead
const SNAPSHOT_MS = 10_000; // a socket that opens and brings nothing: a proxy keeps it back
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const RESTARTING = 1012;
const TOO_MANY = 4429;
const A_MINUTE_MS = 60_000; // within which sockets are counted
const FINAL: Record<number, State> = { 4401: "signed out", 4403: "not allowed", 4404: "gone" };
// No answer has a seq as high: the socket brings counts and states alone, and the grid fetches the rows it shows.
const NO_ANSWERS = "999999999999999999";

export type State = "connecting" | "live" | "reconnecting" | "polling" | "ended" | "signed out" | "not allowed" | "gone";

export type Frame =
  | { type: "snapshot"; campaign: CampaignSeen }
  | ({ type: "progress"; counts: Counts; last_seq: number } & Pick<CampaignSeen, "status" | "waits_for" | "ended_by" | "released">)
  | ({ type: "ended"; counts: Counts; last_seq: number } & CampaignSeen)
  | { type: "ping" };

export interface Handlers {
  onFrame(frame: Frame): void;
  onState(state: State): void;
}

export class Live {
  over = false;
  hears = false; // the snapshot of this socket came
  heardAt = 0;
  deafSince = Date.now();
  private failures = 0;
  private refusedUntil = 0;
  private socket: WebSocket | null = null;
  private retry = 0;
  private silence = 0;

  constructor(
    private readonly campaign: string,
    private readonly handlers: Handlers,
  ) {
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  open(): void {
    if (this.over) return;
    clearTimeout(this.retry);
    this.handlers.onState(this.failures ? "reconnecting" : "connecting");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = this.connect(`${scheme}//${location.host}/ws/campaigns/${this.campaign}/?after=${NO_ANSWERS}`);
    if (!socket) return;
    this.socket = socket;
    socket.onmessage = (message) => socket === this.socket && this.hear(JSON.parse(String(message.data)) as Frame);
    socket.onclose = (close) => socket === this.socket && this.closed(close.code);
    this.watch();
  }

  private connect(address: string): WebSocket | null {
    try {
      return new WebSocket(address);
    } catch {
      this.closed(0); // the browser itself forbids it
      return null;
    }
  }

  private hear(frame: Frame): void {
    this.heardAt = Date.now();
    if (frame.type === "snapshot") this.hears = true;
    this.watch();
    if (frame.type === "snapshot") {
      this.failures = 0;
      this.handlers.onState("live");
    }
    if (frame.type === "ended") this.over = true;
    this.handlers.onFrame(frame);
    if (frame.type === "ended") this.handlers.onState("ended");
  }

  closed(code: number): void {
    clearTimeout(this.silence);
    if (this.over) return;
    const final = FINAL[code];
    if (final) {
      this.finish(final);
      return;
    }
    this.failures += 1;
    if (code === TOO_MANY) {
      this.refusedUntil = Date.now() + A_MINUTE_MS;
      this.drop(A_MINUTE_MS);
      this.handlers.onState("reconnecting");
      return;
    }
    const longest = code === RESTARTING ? FIRST_WAIT_MS : FIRST_WAIT_MS * 2 ** Math.min(this.failures - 1, 10);
    this.drop(Math.min(longest, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2));
    this.handlers.onState("reconnecting");
  }

  // There is nothing more to hear, and this is why.
  finish(state: State): void {
    this.over = true;
    this.leave();
    this.handlers.onState(state);
  }

  private leave(): void {
    const socket = this.socket;
    this.socket = null;
    if (this.hears) this.deafSince = Date.now();
    this.hears = false;
    socket?.close();
    clearTimeout(this.silence);
    clearTimeout(this.retry);
  }

  // Leave this socket and open another after a while.
  private drop(wait: number): void {
    this.leave();
    this.retry = window.setTimeout(() => this.open(), wait);
  }

  private watch(): void {
    clearTimeout(this.silence);
    this.silence = window.setTimeout(() => this.closed(0), this.hears ? SILENCE_MS : SNAPSHOT_MS);
  }

  // Somebody looks again, or the network or the server is back: do not sit out the wait, but for one that was told.
  hurry(): void {
    if (!this.over && this.socket === null && Date.now() >= this.refusedUntil) this.open();
  }
}
