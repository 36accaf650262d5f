/**
 * The reader of the OpenAPI document: Swagger UI, from our own process and nowhere else.
 *
 * Only the files named here are served, under a policy that lets the page load from this origin only.
 *
 * @module
 */
import { join } from "node:path";
import type { Api, ApiContext } from "./context.ts";

const policy =
  "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Airlock API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="reader"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
`;

// No validator badge: it would tell an outside service the address of this one.
const start =
  `SwaggerUIBundle({ url: "/openapi.json", dom_id: "#reader", deepLinking: true, validatorUrl: null });
`;

/** Type by name of the package's files that the page needs. */
const assets = [
  ["swagger-ui.css", "text/css; charset=utf-8"],
  ["swagger-ui-bundle.js", "text/javascript; charset=utf-8"],
  ["favicon-32x32.png", "image/png"],
] as const;

/** `swaggerUiFolder` is the folder of swagger-ui-dist; each file is read when it is asked for. */
export function registerDocs(app: Api, swaggerUiFolder: string): void {
  app.get("/docs", (c) => answer(c, page, "text/html; charset=utf-8"));
  app.get("/docs/start.js", (c) => answer(c, start, "text/javascript; charset=utf-8"));
  for (const [name, type] of assets) {
    app.get(`/docs/${name}`, async (c) => answer(c, await Deno.readFile(join(swaggerUiFolder, name)), type));
  }
}

function answer(c: ApiContext, body: string | Uint8Array<ArrayBuffer>, contentType: string): Response {
  c.header("content-security-policy", policy);
  return c.body(body, 200, { "content-type": contentType });
}
