// One bundle for each page, libraries shared between them; into the static files of the console.
import { build } from "esbuild";

await build({
  entryPoints: ["src/ask.ts"],
  outdir: "../static/campaigns/built",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: false,
  legalComments: "linked",
  logLevel: "warning",
});
