import { equal, match } from "node:assert/strict";
import fc from "fast-check";
import { pipelineRequestSchema } from "../../../schemas/pipeline.ts";
import { canonicalJson } from "./canonical_json.ts";
import { planSha256 } from "./plan_hash.ts";

const step = { id: "a", plugin: "p", action: "run", input: { x: 1, y: { $input: "/n" } } };
const hashOf = (request: unknown) => planSha256(pipelineRequestSchema.parse(request));

Deno.test("planSha256() is the same whatever the order of members and the options of the job", () => {
  const hash = hashOf({ steps: [step], input: { n: 1, m: 2 } });
  match(hash, /^[0-9a-f]{64}$/);
  const turned = { action: "run", input: { y: { $input: "/n" }, x: 1 }, plugin: "p", id: "a" };
  equal(
    hashOf({
      input: { m: 2, n: 1 },
      steps: [turned],
      priority: 9,
      idempotencyKey: "k",
      delayMs: 5,
      ttlMs: 9,
    }),
    hash,
  );
});

Deno.test("planSha256() differs with steps, input, policy and limit", () => {
  const requests = [
    { steps: [step], input: { n: 1 } },
    { steps: [step], input: { n: 2 } },
    { steps: [{ ...step, id: "b" }], input: { n: 1 } },
    { steps: [{ ...step, onFailure: "stop" }], input: { n: 1 } },
    { steps: [{ parallel: [step] }], input: { n: 1 } },
    { steps: [step], input: { n: 1 }, onFailure: "continue" },
    { steps: [step], input: { n: 1 }, stepsMax: 7 },
  ];
  equal(new Set(requests.map(hashOf)).size, requests.length);
});

Deno.test("planSha256() differs where, and only where, the canonical texts of inputs do", () => {
  fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
    const same = canonicalJson(a) === canonicalJson(b);
    equal(hashOf({ steps: [step], input: a }) === hashOf({ steps: [step], input: b }), same);
  }));
});
