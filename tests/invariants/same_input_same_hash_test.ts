/**
 * Invariant: the same input gives the same input hash in the answer; the ledger holds a salted commitment.
 *
 * @module
 */
import { deepEqual, equal } from "node:assert/strict";
import { createHash } from "node:crypto";
import { Airlock, temporaryFolder, until } from "../support/airlock.ts";

interface Hashed {
  inputSha256: string;
  outputSha256: string;
  output: unknown;
}

const path = "/v1/plugins/hello/actions/greet";
const json = { "content-type": "application/json" };

Deno.test("same input, same hash: in 50 calls one after the other and 20 at once", async () => {
  await using airlock = await Airlock.start();
  const text = '{"name": "Zoë \\ud83d\\ude00"}';
  const call = async () => (await airlock.request<Hashed>("POST", path, text, json)).body;
  const answers: Hashed[] = [];
  for (let count = 0; count < 50; count++) answers.push(await call());
  answers.push(...await Promise.all(Array.from({ length: 20 }, call)));
  const sha256 = (bytes: string) => createHash("sha256").update(bytes).digest("hex");
  deepEqual(new Set(answers.map(({ inputSha256 }) => inputSha256)), new Set([sha256(text)]));
  const output = JSON.stringify(answers[0]?.output);
  deepEqual(new Set(answers.map(({ outputSha256 }) => outputSha256)), new Set([sha256(output)]));

  // Salted: who guesses an input cannot confirm it from the ledger.
  const accepted = (await airlock.records()).filter(({ type }) => type === "call.accepted");
  equal(accepted.length, 70);
  equal(new Set(accepted.map(({ data }) => data["inputCommitment"])).size, 70);
  equal(JSON.stringify(accepted).includes(sha256(text)), false);
});

Deno.test("same input, same hash: it covers the bytes, whoever sends them and after a restart", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  const hashes: string[] = [];
  for (let start = 0; start < 2; start++) {
    await using airlock = await Airlock.start({ dataDir });
    const { body: made } = await airlock.request<{ token: string }>("POST", "/v1/tokens", {
      name: "ci",
      role: "invoker",
    });
    for (const token of [airlock.token, made.token]) {
      const headers = { ...json, authorization: `Bearer ${token}` };
      hashes.push((await airlock.request<Hashed>("POST", path, '{"name":"x"}', headers)).body.inputSha256);
    }
    const spaced = await airlock.request<Hashed>("POST", path, '{"name": "x"}', json);
    equal(hashes.includes(spaced.body.inputSha256), false);
  }
  equal(new Set(hashes).size, 1);
});

Deno.test("same input, same hash: of jobs, however they are written, and in each part of a pipeline", async () => {
  await using airlock = await Airlock.start();
  interface Shown extends Hashed {
    id: string;
    state: string;
    planSha256: string | null;
  }
  const ended = async (path: string, text: string) => {
    const { status, body } = await airlock.request<Shown>("POST", path, text, json);
    equal(status, 202, JSON.stringify(body));
    return await until("its end", async () => {
      const { body: job } = await airlock.request<Shown>("GET", `/v1/jobs/${body.id}`);
      return job.state === "completed" && job;
    }, 20_000);
  };
  const call = '"plugin": "hello", "action": "greet"';
  const input = '{"name":"Zo\u00eb"}';
  const jobs = await Promise.all([
    ...Array.from({ length: 20 }, () => ended("/v1/jobs", `{ ${call}, "input": ${input} }`)),
    ended("/v1/jobs", `{ "input": { "name": "Zo\\u00eb" }, ${call}, "priority": 3 }`),
  ]);
  const sha256 = createHash("sha256").update(input).digest("hex");
  deepEqual(new Set(jobs.map(({ inputSha256 }) => inputSha256)), new Set([sha256]));
  equal(new Set(jobs.map(({ outputSha256 }) => outputSha256)).size, 1);
  const plans = await Promise.all([
    ...Array.from({ length: 5 }, () => `{ "steps": [{ "id": "one", ${call}, "input": ${input} }] }`),
    `{ "input": {}, "steps": [{ "input": ${input}, "id": "one", ${call}, "deadlineMs": null }] }`,
  ].map((plan) => ended("/v1/pipelines", plan)));
  deepEqual([new Set(plans.map(({ planSha256 }) => planSha256)).size, plans[0]?.planSha256?.length], [1, 64]);
  equal(new Set(plans.map(({ outputSha256 }) => outputSha256)).size, 1);

  // Salted: who guesses an input cannot confirm it from the ledger.
  const enqueued = (await airlock.records()).filter(({ type }) => type === "job.enqueued");
  equal(enqueued.length, 21 + 2 * 6);
  equal(new Set(enqueued.map(({ data }) => data["inputCommitment"])).size, enqueued.length);
  equal(JSON.stringify(enqueued).includes(sha256), false);
});
