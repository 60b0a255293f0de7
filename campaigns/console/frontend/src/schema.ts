// The fleet's own tables, as hosts told of them: fetched once a page, shared by all who complete or browse.

import { get, isForGood, secondsToWait } from "./campaign/api";

const AGAIN_MS = 5_000; // after a failure

export interface Column {
  name: string;
  type: string;
  hidden: boolean;
  platforms: string[];
}

export interface Table {
  name: string;
  platforms: string[];
  columns: Column[];
}

// As people call them, and as `Platform` of the server does.
const NAMES: Record<string, string> = { linux: "Linux", darwin: "macOS", windows: "Windows", freebsd: "FreeBSD" };
export const platformNames = (platforms: string[]) =>
  platforms.map((name) => NAMES[name] ?? name).sort((one, other) => one.localeCompare(other)).join(", ");

let known: Promise<Table[]> | undefined;
const delayed = new Set<(why: unknown) => void>();

// Gives them as soon as the server tells them, and fails when it refuses to; `onDelay` hears why they are not there yet.
export function tables(onDelay?: (why: unknown) => void): Promise<Table[]> {
  if (onDelay) delayed.add(onDelay);
  known ??= load();
  return known;
}

async function load(): Promise<Table[]> {
  for (;;) {
    try {
      return (await get<{ results: Table[] }>("/api/v1/schema/")).body.results;
    } catch (error) {
      const wait = secondsToWait(error) * 1000;
      if (isForGood(error)) throw error;
      for (const hear of delayed) hear(error);
      await new Promise((again) => setTimeout(again, wait || AGAIN_MS));
    }
  }
}
