import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { SlowLane } from "../../sandbox/slow_lane.ts";
import { createSalts, hashLarge, type LedgerEventInput, prepareEvent } from "./event.ts";

const input = new Uint8Array([1, 2, 3]);
const event: LedgerEventInput<"call.accepted"> = {
  type: "call.accepted",
  actor: "token:ci",
  plugin: "hello@1.2.0",
  data: { action: "greet", request: "r1" },
  commit: { input },
};
const tools = {
  nowMs: () => Date.UTC(2026, 10, 20, 10),
  nextSalt: () => new Uint8Array(16).fill(7),
  valueBytesMax: 3,
};

Deno.test("prepareEvent() commits to bytes with a salt, and hands both out", () => {
  const { text, commitments } = prepareEvent(event, tools);
  const salted = new Uint8Array([
    ...new TextEncoder().encode("airlock/commitment/v1\n"),
    ...tools.nextSalt(),
    1,
    2,
    3,
  ]);
  const hash = createHash("sha256").update(salted).digest("hex");
  assert.deepEqual(JSON.parse(`{${text}}`), {
    time: "2026-11-20T10:00:00.000Z",
    type: "call.accepted",
    actor: "token:ci",
    plugin: "hello@1.2.0",
    data: { action: "greet", request: "r1", inputCommitment: hash },
  });
  assert.deepEqual(commitments, [{ field: "inputCommitment", salt: tools.nextSalt(), value: input }]);
});

Deno.test("prepareEvent() hands out no value that is larger than its limit", () => {
  const [{ value }] = prepareEvent({ ...event, commit: { input: "1234" } }, tools).commitments;
  assert.equal(value, null);
});

Deno.test("prepareEvent() refuses what the allow-list of its type does not have", () => {
  const refused: LedgerEventInput[] = [
    // @ts-expect-error: a field that is not in the list
    { ...event, data: { ...event.data, input: "secret" } },
    // @ts-expect-error: a commitment is missing
    { ...event, commit: {} },
    { ...event, commit: { ...event.commit, output: input } },
    // @ts-expect-error: a commitment to nothing
    { type: "plugin.enabled", actor: "kernel", plugin: "", data: {}, commit: { reason: "" } },
    { type: "token.refused", actor: "kernel", plugin: "", data: { count: 1.5, windowMs: 1 } },
    { ...event, actor: "x".repeat(129) },
    { ...event, data: { action: "greet\ud800", request: "r1" } },
  ];
  for (const input of refused) {
    assert.throws(() => prepareEvent(input, tools), TypeError, JSON.stringify(input));
  }
});

Deno.test("prepareEvent() refuses a record that is too long", () => {
  const granted = { read: Array.from({ length: 256 }, (_, index) => `/${index}`.padEnd(1_024, "x")) };
  const long = { type: "grant.given", actor: "kernel", plugin: "", data: { granted } } as const;
  assert.throws(() => prepareEvent(long, tools), RangeError);
});

Deno.test("createSalts() never hands out the same bytes twice", () => {
  let next = 0;
  const salt = createSalts((count) => Uint8Array.from({ length: count }, () => next++ % 256));
  const salts = Array.from({ length: 600 }, salt);
  assert.ok(salts.every((bytes) => bytes.length === 16));
  assert.equal(new Set(salts.slice(0, 16).flatMap((bytes) => [...bytes])).size, 256);
  // Each is a view of its own: 600 salts took three blocks.
  assert.equal(new Set(salts.map(({ buffer }) => buffer)).size, 3);
});

Deno.test("hashLarge() makes the commitments that prepareEvent() would make", async () => {
  const bytes = new Uint8Array(1_000_003).map((_, index) => index * 31);
  const completed: LedgerEventInput<"call.completed"> = {
    ...{ type: "call.completed", actor: "token:ci", plugin: "hello@1.2.0" },
    data: { action: "greet", request: "r1", accepted: 1, durationUs: 1 },
    commit: { output: bytes },
  };
  const { nextSalt } = tools;
  const hashed = await hashLarge(completed, nextSalt, new SlowLane());
  const salts = { count: 0 };
  const counted = { ...tools, nextSalt: () => (salts.count++, nextSalt()) };
  assert.deepEqual(prepareEvent(completed, counted, hashed), prepareEvent(completed, tools));
  assert.equal(salts.count, 0, "it was hashed beforehand, with the salt that is handed out");
  assert.equal(hashed.size, 1);
  const small = hashLarge(
    { ...completed, commit: { output: bytes.subarray(0, 65_536) } },
    nextSalt,
    new SlowLane(),
  );
  assert.equal(small instanceof Promise, false, "what is small waits for nobody");
});
