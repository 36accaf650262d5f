import assert from "node:assert/strict";
import type { AuditView } from "../schemas/audit.ts";
import type { Output } from "./output.ts";
import { runAudit } from "./run_audit.ts";

const none = { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false };
const grants = { requested: {}, granted: { ...none, env: ["TZ"] }, operator: { env: ["TZ"] } };

/** Runs `airlock audit` against a kernel that answers with `audit`. */
async function run(args: readonly string[], audit: Partial<AuditView>) {
  const lines = { out: [] as string[], err: [] as string[] };
  const print = (...more: readonly string[]) => Promise.resolve(void lines.out.push(...more));
  const output: Output = {
    ...{ print, printRaw: print, draw: print, isDrawable: false, closed: new AbortController().signal },
    warn: (...more) => Promise.resolve(void lines.err.push(...more)),
  };
  const view: AuditView = { items: [], next: null, untold: 0, isAudited: true, ...audit };
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ url }) => Response.json(url.includes("/audit") ? view : grants),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  const code = await runAudit([...args, "--url", url], { token: "secret", output });
  return { code, ...lines };
}

// It would propose to drop every grant, and whoever takes it in a script would do so.
Deno.test("airlock audit trim refuses where nothing is audited, and says why", async () => {
  for (const args of [["trim", "hello", "--json"], ["trim", "hello"]]) {
    const { code, out, err } = await run(args, { isAudited: false });
    assert.deepEqual([code, out, err.length], [3, [], 1]);
    assert.match(err[0] ?? "", /^Cannot propose grants of plugin "hello": .*mkfifo.*compiled binary/);
  }
  const { code, out } = await run(["trim", "hello", "--json"], {});
  assert.deepEqual([code, out], [0, ["{}"]]);
});

Deno.test("airlock audit show says whether anything is audited", async () => {
  const unaudited = await run(["show", "hello"], { isAudited: false });
  assert.equal(unaudited.code, 0);
  assert.match(unaudited.out.join("\n"), /^Not known what plugin "hello" asks for: .*mkfifo.*$/);
  const audited = await run(["show", "hello"], {});
  assert.deepEqual(audited.out, ['Plugin "hello" has asked Deno for nothing']);
  const json = await run(["show", "hello", "--json"], { isAudited: false });
  assert.deepEqual(JSON.parse(json.out[0] ?? ""), { items: [], untold: 0, isAudited: false });
});
