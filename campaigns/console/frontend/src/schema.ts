// The fleet's own tables, as hosts told of them: fetched once a page, shared by all who complete or browse.

import { get } from "./campaign/api";

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

// Fails when the server does not tell: SQL can be typed without completion.
export function tables(): Promise<Table[]> {
  known ??= load();
  return known;
}

async function load(): Promise<Table[]> {
  try {
    return (await get<{ results: Table[] }>("/api/v1/schema/")).body.results;
  } catch (error) {
    known = undefined; // who asks next asks the server again
    throw error;
  }
}
