import assert from "node:assert/strict";
import { createApp } from "./app.ts";
import { swaggerUiFolder } from "./swagger_ui_folder.ts";
import { createTestingKernel } from "./testing_kernel.ts";

const app = createApp(createTestingKernel(), { swaggerUiFolder: swaggerUiFolder() });

Deno.test("registerDocs() serves a page that loads from this origin only", async () => {
  const response = await app.request("/docs");
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/html/);
  const policy = response.headers.get("content-security-policy") ?? "";
  assert.match(policy, /^default-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  const page = await response.text();
  assert.doesNotMatch(page, /https?:|\/\/|<style|style=|onload=|<script>/);
  const links = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = ""]) => link);
  assert.equal(links.length, 4);
  for (const link of links) {
    const asset = await app.request(link);
    assert.equal(asset.status, 200, link);
    assert.equal(asset.headers.get("content-security-policy"), policy);
    assert.ok((await asset.bytes()).length > 50, link);
  }
});

Deno.test("registerDocs() names each file's type", async () => {
  const types: [name: string, type: RegExp][] = [
    ["swagger-ui.css", /^text\/css/],
    ["swagger-ui-bundle.js", /^text\/javascript/],
    ["start.js", /^text\/javascript/],
    ["favicon-32x32.png", /^image\/png$/],
  ];
  for (const [name, type] of types) {
    const response = await app.request(`/docs/${name}`);
    assert.match(response.headers.get("content-type") ?? "", type);
    await response.body?.cancel();
  }
});

Deno.test("registerDocs() serves no other file of the package", async () => {
  for (
    const name of ["package.json", "index.html", "swagger-ui.js", "oauth2-redirect.html", "../docs/x", ".."]
  ) {
    const response = await app.request(new Request(`http://localhost/docs/${name}`));
    assert.notEqual(response.status, 200, name);
  }
});
