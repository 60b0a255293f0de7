// One bundle for each page, libraries shared between them, and the icons in one file; into the console's static files.
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const OUT = "../static/campaigns/built";
const ICONS = [
  "activity", "arrow-right", "book-open", "bookmark", "calendar-clock", "check", "chevron-right", "circle-alert", "copy",
  "download", "eye", "file-down", "history", "house", "key-round", "link", "list-filter", "log-out", "monitor", "pause", "pencil",
  "play", "plus", "power", "radio", "refresh-cw", "scroll-text", "search", "server", "settings", "shield-alert", "square", "star", "tags",
  "terminal", "trash-2", "triangle-alert", "user", "users", "wifi-off", "x",
];

await build({
  entryPoints: ["src/ask.ts", "src/campaign.ts", "src/host.ts", "src/latest.ts", "src/page.ts", "src/query.ts"],
  outdir: OUT,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  logLevel: "warning",
});

const symbols = ICONS.map((name) => {
  const icon = readFileSync(`node_modules/lucide-static/icons/${name}.svg`, "utf8");
  const drawing = icon.slice(icon.indexOf(">", icon.indexOf("<svg")) + 1, icon.lastIndexOf("</svg>")).replace(/\s+/g, " ").trim();
  return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">${drawing}</symbol>`;
});
writeFileSync(`${OUT}/icons.svg`, `<!-- Lucide, ISC --><svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`);
