import assert from "node:assert/strict";
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Role } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Event, EventCursor } from "../bus/event_cursor.ts";
import type { Reader } from "../jobs/jobs.ts";
import type { ApiEnv } from "./context.ts";
import { EventReaders } from "./event_readers.ts";
import { registerJobEvents } from "./job_events.ts";
import { answerProblem, refuseInvalid } from "./problems.ts";
import { readEvents } from "./testing_event_source.ts";
import { bearer, createTestingKernel } from "./testing_kernel.ts";

const id = "01JD0000000000000000000001";
const forged = "\n\nid: 9\nevent: JOB_COMPLETED\ndata: {}\n\n";

/** Tokens as a plugin may write them. */
const tokens = [
  '"a"',
  JSON.stringify(forged),
  `[1,${forged.replace(/\S+/g, "")}2]`,
  '{"a":\r\n\r\n1,\r\r"\u2028\u2029":2}',
  "1.00",
  "null",
];
const events: Event[] = [
  { id: "1", type: "JOB_QUEUED", json: "{}" },
  { id: "2", type: "JOB_STARTED", json: "{}" },
  ...tokens.map((json, index) => ({ id: String(index + 3), type: "JOB_TOKEN", json })),
  { id: "20", type: "JOB_COMPLETED", json: "{}" },
];

/** A cursor over events that are all there. */
function createCursor(rest: Event[], disposed: () => void): EventCursor {
  return {
    read: () => rest.splice(0, 2),
    get isEnded() {
      return rest.length === 0;
    },
    changed: () => Promise.resolve(),
    [Symbol.dispose]: disposed,
  };
}

function create() {
  const seen = { readers: [] as Reader[], open: 0 };
  const kernel = createTestingKernel({
    jobs: {
      watch: (job, after, reader) => {
        seen.readers.push(reader);
        if (job !== id) throw new ProblemError("JOB_NOT_FOUND", `Cannot watch "${job}": there is none`);
        if (!reader.readsAll && reader.actor !== "token:invoker") {
          throw new ProblemError("FORBIDDEN", `Cannot watch "${job}": it is another's`);
        }
        seen.open += 1;
        return createCursor(events.filter((event) => Number(event.id) > after), () => seen.open -= 1);
      },
    },
  });
  const readers = new EventReaders({ readersMax: 2 });
  const app = new OpenAPIHono<ApiEnv>({ defaultHook: refuseInvalid });
  app.onError((error, c) => answerProblem(kernel, error, c));
  registerJobEvents(app, kernel, readers);
  const get = (path = `/v1/jobs/${id}/events`, headers = {}, role: Role = "operator", method = "GET") =>
    Promise.resolve(app.request(path, { method, headers: { ...bearer(role), ...headers } }));
  return { get, seen, readers };
}

Deno.test("registerJobEvents() sends a job's events to its end, and no token is more than a token", async () => {
  const { get, seen, readers } = create();
  const source = await readEvents(await get());
  assert.deepEqual(source.events.map(({ id, type }) => [id, type]), events.map(({ id, type }) => [id, type]));
  const sent = source.events.slice(2, -1).map(({ data }) => data);
  assert.deepEqual(sent.map((text) => JSON.parse(text)), tokens.map((text) => JSON.parse(text)));
  assert.equal(sent.at(-2), "1.00");
  assert.deepEqual([seen.open, readers.count], [0, 0]);
});

Deno.test("registerJobEvents() goes on after each event, by header or parameter", async () => {
  const { get } = create();
  const path = `/v1/jobs/${id}/events`;
  for (const [at, { id: after }] of events.slice(0, -1).entries()) {
    const expected = events.slice(at + 1).map(({ id }) => id);
    const asked: [path: string, headers: Record<string, string>][] = [
      [path, { "Last-Event-ID": after }],
      [`${path}?after=${after}`, {}],
      [`${path}?after=1`, { "last-event-id": after }],
    ];
    for (const [path, headers] of asked) {
      const source = await readEvents(await get(path, headers));
      assert.deepEqual(source.events.map(({ id }) => id), expected);
    }
  }
});

Deno.test("registerJobEvents() answers 204 where nothing is to come", async () => {
  const { get, seen, readers } = create();
  const response = await get(undefined, { "last-event-id": "20" });
  assert.deepEqual([response.status, await response.text()], [204, ""]);
  assert.equal((await get(undefined, {}, "operator", "HEAD")).status, 200);
  assert.deepEqual([seen.open, readers.count], [0, 0]);
});

Deno.test("registerJobEvents() refuses an id that is no number of an event", async () => {
  const { get, seen } = create();
  for (const after of ["x", "-1", "1.5", "1e3", "0x1", "9".repeat(16), "1, 2", "NaN"]) {
    for (
      const response of [
        await get(undefined, { "last-event-id": after }),
        await get(`/v1/jobs/${id}/events?after=${after}`),
      ]
    ) assert.deepEqual([response.status, (await response.json()).code], [422, "INPUT_INVALID"], after);
  }
  assert.deepEqual(seen.readers, []);
});

Deno.test("registerJobEvents() lets the jobs decide who may read, and takes no place for who may not", async () => {
  const { get, seen, readers } = create();
  const statusOf = async (role: Role, path?: string) => (await get(path, {}, role, "HEAD")).status;
  assert.equal(await statusOf("viewer"), 403);
  assert.equal(await statusOf("invoker"), 200);
  assert.equal(await statusOf("operator"), 200);
  assert.equal(await statusOf("admin"), 200);
  assert.deepEqual(
    seen.readers.map(({ actor, readsAll }) => [actor, readsAll]),
    [["token:viewer", false], ["token:invoker", false], ["token:operator", true], ["token:admin", true]],
  );
  for (const job of ["none", "__proto__", id.toLowerCase()]) {
    assert.equal(await statusOf("admin", `/v1/jobs/${job}/events`), 404);
  }
  assert.deepEqual([seen.open, readers.count], [0, 0]);
  // What can be no job's id is not asked for.
  assert.equal(seen.readers.length, 4);
});

Deno.test("registerJobEvents() asks proxies not to hold events back", async () => {
  const { get } = create();
  assert.equal((await get(undefined, {}, "operator", "HEAD")).headers.get("x-accel-buffering"), "no");
});

Deno.test("registerJobEvents() disposes the cursor of who finds no place", async () => {
  const { get, seen } = create();
  const open = [await get(), await get()];
  const refused = await get();
  assert.deepEqual([refused.status, (await refused.json()).code], [503, "QUEUE_FULL"]);
  assert.equal(seen.open, 2);
  for (const { body } of open) await body?.cancel();
  assert.equal(seen.open, 0);
});
