import { equal } from "node:assert/strict";
import { requestPath, withPlainHost } from "./request_path.ts";

Deno.test("requestPath() takes the path as it was sent, whatever the host", () => {
  for (
    const [url, path] of [
      ["http://127.0.0.1:8787/v1/plugins?limit=1", "/v1/plugins"],
      ["http://127.0.0.1:8787/v1/%2e%2e/x", "/v1/%2e%2e/x"],
      ["http://a b/v1/plugins", "/v1/plugins"],
      ["http://x:99999/v1?a=/b", "/v1"],
      ["http://localhost, evil/v1", "/v1"],
      ["http://localhost", ""],
    ] as const
  ) {
    equal(requestPath(url), path);
  }
});

Deno.test("withPlainHost() keeps path and query, whatever the host", () => {
  equal(withPlainHost("http://[/v1/jobs/1/retry?a=/b"), "http://localhost/v1/jobs/1/retry?a=/b");
  equal(withPlainHost("http://:/"), "http://localhost/");
  equal(withPlainHost("http://%00"), "http://localhost/");
});
