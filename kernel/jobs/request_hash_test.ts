import assert from "node:assert/strict";
import fc from "fast-check";
import { jobRequestSchema } from "../../schemas/job.ts";
import { pipelineRequestSchema } from "../../schemas/pipeline.ts";
import { requestSha256 } from "./request_hash.ts";

const minimal = { plugin: "p", action: "a" };
const ofJob = (request: object) => {
  const parsed = jobRequestSchema.parse({ ...minimal, ...request });
  return requestSha256(jobRequestSchema, { ...parsed }).toHex();
};

Deno.test("requestSha256() is the same for a default that is written out, and for any order of members", () => {
  const written = { input: {}, priority: 0, dependsOn: [], retry: null, ttlMs: null };
  assert.equal(ofJob(written), ofJob({}));
  assert.equal(
    ofJob({ input: { a: [1, { b: 2, c: 3 }], d: 4 } }),
    ofJob({ input: { d: 4, a: [1, { c: 3, b: 2 }] } }),
  );
  const { plugin, ...rest } = jobRequestSchema.parse({ ...minimal, priority: 3 });
  assert.equal(requestSha256(jobRequestSchema, { ...rest, plugin }).toHex(), ofJob({ priority: 3 }));
});

// A later Airlock must know the requests of an earlier one.
Deno.test("requestSha256() leaves out a member that is at its default", () => {
  assert.equal(ofJob({}), requestSha256(jobRequestSchema, minimal).toHex());
  const steps = [{ id: "s", ...minimal }];
  const { steps: parsed, ...defaults } = pipelineRequestSchema.parse({ steps });
  assert.equal(
    requestSha256(pipelineRequestSchema, { ...defaults, steps: parsed }).toHex(),
    requestSha256(pipelineRequestSchema, { steps: parsed }).toHex(),
  );
});

Deno.test("requestSha256() differs with every member, and with any two inputs", () => {
  const changed = [
    ...[{}, { action: "b" }, { input: [] }, { input: null }, { priority: 1 }, { ttlMs: 1 }, { delayMs: 1 }],
    ...[{ deadlineMs: 10 }, { retry: {} }, { concurrency: { key: "k" } }, { idempotencyKey: "k" }],
  ];
  assert.equal(new Set(changed.map(ofJob)).size, changed.length);
  fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
    const isSame = JSON.stringify(a) === JSON.stringify(b);
    if (isSame) assert.equal(ofJob({ input: a }), ofJob({ input: b }));
  }));
});

Deno.test("requestSha256() looks once into what was sent, and not at all to tell it from a default", () => {
  let looks = 0;
  const input = new Proxy({ a: 1 }, {
    get: (target, name) => {
      looks++;
      return Reflect.get(target, name);
    },
  });
  requestSha256(jobRequestSchema, { ...minimal, input });
  assert.equal(looks, 1);
});
