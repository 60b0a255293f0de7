// A program as somebody would write it over what openapi-typescript makes of docs/openapi.yaml.
// It prints one line of JSON; TypeScript has looked at it before.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.ts";

const client = createClient<paths>({
  baseUrl: process.env.FLEET ?? "",
  headers: { Authorization: `Bearer ${process.env.TOKEN ?? ""}` },
});

const launched = await client.POST("/api/v1/campaigns/", {
  params: { query: { wait: 60 }, header: { "Idempotency-Key": "typescript" } },
  body: { sql: "SELECT version FROM osquery_info", target: { all: true }, timeout: 300 },
});
if (!launched.data) throw new Error(launched.error?.error);
const campaign: components["schemas"]["Campaign"] = launched.data;

const rows = await client.GET("/api/v1/campaigns/{id}/rows/", { params: { path: { id: campaign.id } } });
const csv = await client.GET("/api/v1/campaigns/{id}/export.csv", {
  params: { path: { id: campaign.id } },
  parseAs: "text",
});
const refused = await client.GET("/api/v1/campaigns/", { params: { query: { limit: 5000 } } });

console.log(
  JSON.stringify({
    status: campaign.status,
    answered: campaign.counts.answered,
    versions: rows.data?.results.map((found) => found.row.version).length,
    lines: csv.data?.trim().split("\n").length,
    refusal: refused.error?.error,
  }),
);
