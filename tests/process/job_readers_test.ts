/**
 * Who sees what of jobs: roles, the feed for everybody, and what is deleted when it is old.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, until } from "../support/airlock.ts";
import {
  checkLedger,
  ended,
  enqueue,
  makeToken,
  open,
  parseEvents,
  patienceMs,
  reaches,
  run,
  show,
  traced,
  workerPackage,
} from "../support/jobs.ts";

const secret = "canaryc0ffee";
const start = (config: Record<string, unknown> = {}) =>
  Airlock.start({ args: ["--tier", "process"], config, plugins: { worker: workerPackage() } });
const statusOf = async (airlock: Airlock, token: string, method: string, path: string) => {
  const response = await airlock.fetch(method, path, undefined, { authorization: `Bearer ${token}` });
  await response.body?.cancel();
  return response.status;
};

Deno.test("jobs: what is in them is for who enqueued them and for operators", async () => {
  await using airlock = await start();
  const [viewer, owner, other, operator] = await Promise.all(
    ["viewer", "invoker", "invoker", "operator"].map((role) => makeToken(airlock, role)),
  ) as [string, string, string, string];
  const own = { token: owner, idempotencyKey: `key ${secret}` };
  const input = { count: 1, text: secret };
  const done = await ended(airlock, await enqueue(airlock, "stream", input, own));
  const failed = await ended(airlock, await enqueue(airlock, "fail", { text: secret }, { token: owner }));
  const waiting = await enqueue(airlock, "echo", secret, { token: owner, delayMs: 600_000 });

  for (const token of [owner, operator]) {
    const { output, note, idempotencyKey } = await show(airlock, done, token);
    deepEqual([output, note, idempotencyKey], [`${secret}done`, `${secret}note 1`, `key ${secret}`]);
    ok((await show(airlock, failed, token)).error?.message.includes(secret));
    equal(await statusOf(airlock, token, "GET", `/v1/jobs/${done.id}/events`), 200);
    equal(await statusOf(airlock, token, "GET", `/v1/jobs/${done.id}/logs`), 200);
  }
  for (const token of [viewer, other]) {
    const texts = [
      ...(await Promise.all([done, failed].map((job) => show(airlock, job, token)))),
      (await airlock.request("GET", "/v1/jobs", undefined, { authorization: `Bearer ${token}` })).body,
    ].map((body) => JSON.stringify(body));
    // Nor a hash by which a guess could be confirmed.
    const contents = [secret, done.inputSha256, done.outputSha256!, failed.inputSha256];
    deepEqual(contents.filter((one) => texts.some((text) => text.includes(one))), []);
    const seen = await show(airlock, failed, token);
    deepEqual([seen.state, seen.error?.code], ["failed", "ACTION_FAILED"]);
    for (const what of ["events", "logs"]) {
      equal(await statusOf(airlock, token, "GET", `/v1/jobs/${done.id}/${what}`), 403, what);
    }
    equal(await statusOf(airlock, token, "POST", `/v1/jobs/${waiting.id}/cancel`), 403);
    equal(await statusOf(airlock, token, "POST", `/v1/jobs/${failed.id}/retry`), 403);
    equal(await statusOf(airlock, token, "POST", "/v1/jobs/redrive"), 403);
  }
  const body = { plugin: "worker", action: "echo", dependsOn: [done.id] };
  for (const [token, code] of [[viewer, "FORBIDDEN"], [other, "JOB_NOT_FOUND"]]) {
    const headers = { authorization: `Bearer ${token}` };
    equal((await airlock.request<Problem>("POST", "/v1/jobs", body, headers)).body.code, code);
  }
  equal((await show(airlock, waiting)).state, "pending", "and nothing came of it");
  equal(await statusOf(airlock, owner, "POST", `/v1/jobs/${waiting.id}/cancel`), 200);
  equal(await statusOf(airlock, operator, "POST", `/v1/jobs/${failed.id}/retry`), 200);
  const none = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  for (const id of [none, "x", "%00", "constructor"]) {
    equal(await statusOf(airlock, viewer, "GET", `/v1/jobs/${id}`), 404);
  }
  await checkLedger(airlock, [done, await show(airlock, waiting)]);
});

Deno.test("jobs: lists are pages, by state, plugin and parent", async () => {
  await using airlock = await start();
  const list = async (query: string) =>
    (await airlock.request<{ items: JobView[]; next: string | null }>("GET", `/v1/jobs?${query}`)).body;
  const ids: string[] = [];
  for (let n = 0; n < 7; n++) ids.unshift((await run(airlock, n === 3 ? "fail" : "echo", { n })).id);
  const read: string[] = [];
  for (let next: string | null = ""; next !== null;) {
    const page: Awaited<ReturnType<typeof list>> = await list(`limit=3${next && `&after=${next}`}`);
    ok(page.items.length <= 3);
    read.push(...page.items.map(({ id }) => id));
    next = page.next;
  }
  deepEqual(read, ids);
  deepEqual((await list("state=failed")).items.map(({ id }) => id), [ids[3]]);
  deepEqual((await list("plugin=hello")).items, []);
});

Deno.test("the feed tells everybody what happens, and never what is in it", async () => {
  await using airlock = await start();
  const viewer = await makeToken(airlock, "viewer");
  const headers = { authorization: `Bearer ${viewer}` };
  const watched = async (after: string | undefined, isLast: (event: string, job: unknown) => boolean) => {
    const query = after === undefined ? "" : `?after=${after}`;
    const response = await airlock.fetch("GET", `/v1/events${query}`, undefined, headers);
    const events = [];
    // Leaving the loop ends the stream.
    for await (const { id, event, data } of parseEvents(response.body!)) {
      events.push({
        id,
        event,
        data: data as { job?: string; plugin: string; code?: string; state: string },
      });
      if (isLast(event, events.at(-1)?.data.job)) break;
    }
    return events;
  };
  let last = "";
  const all = watched(undefined, (event, job) => event === "JOB_FAILED" && job === last);
  // Somebody reads by now: the first one that it is told is not the first that there is.
  const done = await run(airlock, "stream", { count: 2, text: secret });
  const failing = await enqueue(airlock, "fail", { text: secret }, { delayMs: 50 });
  last = failing.id;
  await ended(airlock, failing);
  const events = await all;
  equal(JSON.stringify(events).includes(secret), false);
  const of = ({ id }: JobView) => events.filter(({ data }) => data.job === id);
  deepEqual(of(done).map(({ event }) => event).filter((event) => event !== "JOB_PROGRESS"), [
    ...["JOB_QUEUED", "JOB_STARTED", "JOB_COMPLETED"],
  ]);
  deepEqual(of(failing).map(({ event, data }) => [event, data.state, data.code]), [
    ...[["JOB_QUEUED", "pending", null], ["JOB_STARTED", "running", null]],
    ["JOB_FAILED", "failed", "ACTION_FAILED"],
  ]);
  const changed = events.filter(({ event, data }) => event === "PLUGIN_CHANGED" && data.plugin === "worker");
  ok(changed.some(({ data }) => data.state === "running"), JSON.stringify(changed));
  deepEqual([...new Set(events.map(({ event }) => event))].filter((event) => /TOKEN/.test(event)), []);
  for (const at of [0, Math.floor(events.length / 2)]) {
    const rest = await watched(events[at]?.id, (event, job) => event === "JOB_FAILED" && job === last);
    deepEqual(rest, events.slice(at + 1), "it goes on where it was");
  }
});

Deno.test("jobs: they are deleted when they are old, and what runs or waits is not", async () => {
  await using airlock = await start({ jobs: { retentionMs: 1_500 } });
  const running = await enqueue(airlock, "gated", { name: "kept", gate: "kept" });
  await traced(airlock, "+kept");
  const waiting = await enqueue(airlock, "echo", {}, { delayMs: 600_000 });
  const keyed = { idempotencyKey: "old" };
  const old = await enqueue(airlock, "stream", { count: 2 }, keyed);
  await until("it is deleted", async () => {
    return (await airlock.request("GET", `/v1/jobs/${old.id}`)).status === 404;
  }, patienceMs);
  for (const what of ["events", "logs"]) {
    const { status, body } = await airlock.request<Problem>("GET", `/v1/jobs/${old.id}/${what}`);
    deepEqual([status, body.code], [404, "JOB_NOT_FOUND"]);
  }
  deepEqual([(await show(airlock, running)).state, (await show(airlock, waiting)).state], [
    "running",
    "pending",
  ]);
  const again = await enqueue(airlock, "stream", { count: 2 }, keyed);
  equal(again.id === old.id, false, "its idempotency key is free");
  open(airlock, "kept");
  await reaches(airlock, running, "completed");
  const told = (await airlock.records()).filter(({ data }) => data["job"] === old.id).map(({ type }) => type);
  deepEqual(told, ["job.enqueued", "job.completed"], "the ledger keeps its entries");
});
