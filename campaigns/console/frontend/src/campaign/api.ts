// What the API says of a campaign, as far as its page reads it.

export type Counts = Record<string, number>;

export interface CampaignSeen {
  status: string;
  columns: string[];
  counts: Counts;
  last_seq: number;
  ends_at?: string | null;
  started_at?: string | null;
  ended_at?: string | null;
  ended_by?: string;
  ended_reason?: string;
  waits_for?: string | null;
  left?: number | null; // seconds, once a paused campaign goes on
  released?: number;
}

export interface Row {
  seq: number;
  place: number;
  host: { id: number; hostname: string };
  row: Record<string, string | null>;
  cut: string[]; // columns whose cells are longer than what came
  truncated: boolean;
  late: boolean;
  in_doubt: boolean;
}

// A cell of a row; undefined where the row has none. Columns may be called as what every object has: constructor, toString.
export function cellOf(row: Row["row"], column: string): string | null | undefined {
  return Object.hasOwn(row, column) ? row[column] : undefined;
}

export interface RowPage {
  next: string | null;
  results: Row[];
}

export const TOO_MANY = 429;
const A_MINUTE = 60; // within which requests are counted

export class RefusedError extends Error {
  // `isOurs`: the API itself says so, not something before it that cannot reach it; `wait`: seconds until it may be asked again.
  constructor(readonly status: number, readonly isOurs: boolean, sentence: string, readonly wait: number) {
    super(sentence);
  }
}

export function refusalIn(response: Response): RefusedError {
  const isOurs = response.headers.get("Content-Type")?.startsWith("application/json") ?? false;
  return new RefusedError(response.status, isOurs, `${response.url} answered ${response.status}`, secondsIn(response.headers.get("Retry-After")));
}

// A refusal that does not say how long it stands, stands as long as requests are counted together.
export function secondsIn(retryAfter: string | null): number {
  return Number(retryAfter) || A_MINUTE;
}

export async function get<Answer>(address: string, signal?: AbortSignal): Promise<{ body: Answer; date: number }> {
  const response = await fetch(address, { headers: { Accept: "application/json" }, signal: signal ?? null });
  if (!response.ok) throw refusalIn(response);
  return { body: (await response.json()) as Answer, date: Date.parse(response.headers.get("Date") ?? "") };
}

// For how many seconds nothing more is answered, 0 = that is not what is the matter.
export function secondsToWait(error: unknown): number {
  return error instanceof RefusedError && error.status === TOO_MANY ? error.wait : 0;
}

const WORDS: Record<number, string> = {
  401: "you are logged out",
  403: "you may not do this any more",
  404: "it was deleted, or you may not look at it any more",
};

// Why something was not done, as the end of a sentence.
export function whyNot(error: unknown): string {
  if (!(error instanceof RefusedError)) return "the server does not answer, try again";
  return tooOften(error) || WORDS[error.status] || (error.status < 500 ? "the server refuses it" : "the server could not do it, try again");
}

// Asked again it says the same: who asks may not, it is not there, or it is no question.
export const isForGood = (error: unknown): boolean =>
  error instanceof RefusedError && error.status >= 400 && error.status < 500 && error.status !== TOO_MANY;

export const isLoggedOut = (error: unknown): boolean => error instanceof RefusedError && error.status === 401;

export function tooOften(error: unknown): string {
  const wait = secondsToWait(error);
  return wait ? `you asked too often, again in ${wait} s` : "";
}
