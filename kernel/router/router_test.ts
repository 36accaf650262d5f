import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import type { LedgerEventInput } from "../ledger/event.ts";
import { Router } from "./router.ts";

function createFixture(ownEntriesMax: number) {
  const entries: LedgerEventInput[] = [];
  const refused: string[] = [];
  const asked: string[] = [];
  const router = new Router({
    plugins: {
      find: (id) => {
        throw new ProblemError("PLUGIN_NOT_FOUND", `Cannot find plugin "${id}": it is not installed`);
      },
      nameOf: () => "",
    },
    ledger: {
      append(event) {
        entries.push(event);
        return Promise.resolve({ index: entries.length, size: entries.length + 1, checkpoint: "" });
      },
    },
    metrics: { refused: (code) => refused.push(code), callEnded: () => {} },
    refusals: { take: (actor) => asked.push(actor) <= ownEntriesMax },
    ...{ callsPendingMax: 1, inputBytesPendingMax: 1_000, cellWaitMs: 1 },
  });
  const invoke = (action: string) =>
    router.invoke({
      ...{ plugin: "none", action, input: new Uint8Array(), actor: "token:a", request: "r" },
      signal: new AbortController().signal,
    });
  return { invoke, entries, refused, asked };
}

const isNotFound = (error: unknown) => error instanceof ProblemError && error.code === "PLUGIN_NOT_FOUND";

Deno.test("Router.invoke() records a refused call while its caller's budget lasts, and answers the same after it", async () => {
  const { invoke, entries, refused, asked } = createFixture(2);
  for (let call = 0; call < 5; call++) await assert.rejects(() => invoke("greet"), isNotFound);
  assert.deepEqual(
    entries.map(({ type, actor }) => [type, actor]),
    Array(2).fill(["call.refused", "token:a"]),
  );
  assert.deepEqual(asked, Array(5).fill("token:a"));
  assert.deepEqual(refused, Array(5).fill("PLUGIN_NOT_FOUND"));
});

Deno.test("Router.invoke() keeps no more than 256 bytes of what a refused call asked for", async () => {
  const { invoke, entries } = createFixture(2);
  await assert.rejects(() => invoke("x".repeat(9_000)), isNotFound);
  const [{ commit }] = entries;
  assert.ok(commit !== undefined && "target" in commit);
  assert.deepEqual(commit.target, new TextEncoder().encode(`none/${"x".repeat(251)}`));
});
