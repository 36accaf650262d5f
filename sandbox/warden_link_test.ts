import { deepEqual, equal, rejects } from "node:assert/strict";
import { limitsSchema } from "../schemas/limits.ts";
import type { ToWarden } from "../schemas/warden_protocol.ts";
import { TestingClock } from "./testing_clock.ts";
import { type CheckedDescription, WardenLink } from "./warden_link.ts";

const description: CheckedDescription = {
  ...{ tier: "process", packageDir: "/packages/1", dataDir: "/plugins/echo" },
  grants: { net: [], read: ["/srv"], write: [], run: [], env: [], sys: [], ffi: [], eval: false },
};

function createLink() {
  const clock = new TestingClock();
  const sent: ToWarden[] = [];
  return { clock, sent, link: new WardenLink((message) => sent.push(message), clock) };
}

Deno.test("WardenLink.check() resolves to what the warden says of that description", async () => {
  const { clock, sent, link } = createLink();
  const [first, second] = [link.check(description), link.check(description)];
  deepEqual(sent[0], { type: "check", check: 1, description });
  link.receive({ type: "checked", check: 2, fault: "a link" });
  link.receive({ type: "checked", check: 1, fault: null });
  link.receive({ type: "checked", check: 3, fault: null });
  deepEqual([await first, await second], [null, "a link"]);
  equal(clock.isTimerSet, false);
});

Deno.test("WardenLink.check() sends of a description what is checked, and no token", () => {
  const { sent, link } = createLink();
  void link.check({ ...description, ...{ cell: "1", token: "f".repeat(64) } });
  deepEqual(sent, [{ type: "check", check: 1, description }]);
  link.receive({ type: "checked", check: 1, fault: null });
});

Deno.test("WardenLink.check() fails when the warden does not answer, and when too many wait", async () => {
  const { clock, link } = createLink();
  const checks = Array.from({ length: 64 }, () => link.check(description));
  await rejects(link.check(description), { code: "QUEUE_FULL" });
  const failed = Promise.all(checks.map((check) => rejects(check, { code: "NOT_READY" })));
  clock.advance(10_000);
  await failed;
  equal(clock.isTimerSet, false);
  const again = link.check(description);
  link.receive({ type: "checked", check: 65, fault: null });
  equal(await again, null);
});

/** A link with a cell "1", and what that one was told. */
function createCell() {
  const { sent, link, clock } = createLink();
  const events: string[] = [];
  const limits = limitsSchema.parse({});
  link.start({ ...description, ...{ cell: "1", token: "f".repeat(64), limits } }, {
    onRefused: (message) => events.push(message),
    onLocated: (pid) => events.push(`located ${pid}`),
    onLog: (text) => events.push(text),
    onAudit: (checks) => events.push(`asked for ${checks.map(({ resource }) => resource)}`),
    onPaused: (ms) => events.push(`paused for ${ms}`),
    onSuspended: () => events.push("suspended"),
    onResumed: () => events.push("resumed"),
    onEnded: ({ killed, detail, calls }) => events.push(`ended ${killed} ${detail} ${calls}`),
  });
  return { sent, link, clock, events };
}

const cellEnd = { exitCode: 0, signal: null, killed: "LIMIT_CPU" as const, detail: "much", calls: [7] };

Deno.test("WardenLink.audit() resolves when a cell was told all that it asked for, or has ended", async () => {
  const { sent, link, events } = createCell();
  const check = (resource: string) => ({ permission: "read" as const, resource, count: 1 });
  const first = link.audit("1");
  const second = link.audit("1").then(() => events.push("second"));
  link.receive({ type: "audit", cell: "1", checks: [check("/a")], asked: null });
  link.receive({ type: "audit", cell: "1", checks: [check("/b")], asked: 1 });
  await first;
  deepEqual(events, ["asked for /a", "asked for /b"]);
  link.receive({ type: "ended", cell: "1", ...cellEnd });
  await second;
  deepEqual(sent.slice(1), [1, 2].map((question) => ({ type: "audit", cell: "1", question })));
  await link.audit("1");
  equal(sent.length, 3);
});

Deno.test("WardenLink.audit() waits no longer than it may, and takes a late answer for no other question", async () => {
  const { link, clock, events } = createCell();
  const late = link.audit("1");
  clock.advance(1_000);
  await late;
  const next = link.audit("1").then(() => events.push("next"));
  link.receive({ type: "audit", cell: "1", checks: [], asked: 1 });
  await Promise.resolve();
  deepEqual(events, ["asked for "]);
  link.receive({ type: "audit", cell: "1", checks: [], asked: 2 });
  await next;
});

Deno.test("WardenLink tells a cell that it was suspended and resumed, and nothing after its end", () => {
  const { sent, link, events } = createCell();
  link.suspend("1");
  link.resume("1");
  link.calls("1", 2, [7, 8]);
  deepEqual(sent.slice(1), [
    { type: "suspend", cell: "1" },
    { type: "resume", cell: "1" },
    { type: "calls", cell: "1", count: 2, ids: [7, 8] },
  ]);
  link.receive({ type: "suspended", cell: "1" });
  link.receive({ type: "resumed", cell: "1" });
  link.receive({ type: "resumed", cell: "2" });
  link.receive({ type: "ended", cell: "1", ...cellEnd });
  link.receive({ type: "suspended", cell: "1" });
  deepEqual(events, ["suspended", "resumed", "ended LIMIT_CPU much 7"]);
});
