import assert from "node:assert/strict";
import { createMetrics } from "./metrics.ts";

/** The value of each sample, by its name and labels. */
function samples(metrics: { render(): string }): Map<string, number> {
  const lines = metrics.render().split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const cut = line.lastIndexOf(" ");
    return [line.slice(0, cut), Number(line.slice(cut + 1))];
  }));
}

Deno.test("Metrics counts calls by plugin, action and code", () => {
  const metrics = createMetrics();
  metrics.pluginAdmitted({ id: "hello", actions: ["greet"] });
  metrics.callEnded({ plugin: "hello", action: "greet", code: "OK", durationMs: 2 });
  metrics.callEnded({ plugin: "hello", action: "greet", code: "OK", durationMs: 2_000 });
  metrics.callEnded({ plugin: "hello", action: "greet", code: "LIMIT_WALL", durationMs: 1 });
  const found = samples(metrics);
  assert.equal(found.get('airlock_calls_total{plugin="hello",action="greet",code="OK"}'), 2);
  assert.equal(found.get('airlock_calls_total{plugin="hello",action="greet",code="LIMIT_WALL"}'), 1);
  assert.equal(found.get('airlock_call_duration_seconds_count{plugin="hello",action="greet"}'), 3);
  assert.equal(
    found.get('airlock_call_duration_seconds_bucket{le="0.0025",plugin="hello",action="greet"}'),
    2,
  );
});

Deno.test("Metrics shows nothing of actions that were never called", () => {
  const metrics = createMetrics();
  metrics.pluginAdmitted({ id: "hello", actions: ["greet", "wave"] });
  metrics.callEnded({ plugin: "hello", action: "greet", code: "OK", durationMs: 2 });
  const calls = [...samples(metrics).keys()].filter((name) => name.startsWith("airlock_call"));
  assert.ok(calls.some((name) => name.includes('action="greet"')));
  assert.deepEqual(calls.filter((name) => !name.includes('action="greet"')), []);
});

Deno.test("Metrics counts names that no admitted manifest holds as other", () => {
  const metrics = createMetrics();
  metrics.pluginAdmitted({ id: "hello", actions: ["greet"] });
  metrics.callEnded({ plugin: "hello", action: "nonsense", code: "OK", durationMs: 1 });
  metrics.callEnded({ plugin: "nonsense", action: "greet", code: "OK", durationMs: 1 });
  metrics.cellStarted({ plugin: "nonsense", reason: "wake" });
  metrics.requestEnded({ route: "/v1/plugins", method: "BREW", status: 9_999 });
  for (let i = 0; i < 1_000; i++) metrics.requestEnded({ route: `/r/${i}`, method: "GET", status: 200 });
  const text = metrics.render();
  assert.doesNotMatch(text, /nonsense|BREW|9999/);
  const found = samples(metrics);
  assert.equal(found.get('airlock_calls_total{plugin="other",action="other",code="OK"}'), 2);
  assert.equal(found.get('airlock_cell_starts_total{plugin="other",reason="wake"}'), 1);
  const routes = [...found.keys()].filter((name) => name.startsWith("airlock_http_requests_total"));
  assert.equal(routes.length, 257);
  assert.equal(found.get('airlock_http_requests_total{route="other",method="GET",status="200"}'), 745);
});

Deno.test("Metrics shows requests, cells, refusals and the ledger", () => {
  const metrics = createMetrics();
  metrics.pluginAdmitted({ id: "hello", actions: ["greet"] });
  assert.equal(samples(metrics).get('airlock_breaker_state{plugin="hello"}'), 0, "before it ever changed");
  metrics.requestEnded({ route: "/p/:id/ *", method: "GET", status: 404 });
  metrics.cellStarted({ plugin: "hello", reason: "operator" });
  metrics.cellEnded({ plugin: "hello", reason: "idle" });
  metrics.cellsAwake(3);
  metrics.breakerChanged({ plugin: "hello", state: "half_open" });
  metrics.pluginQuarantined("hello");
  metrics.refused("UNAUTHENTICATED");
  metrics.ledgerCommitted({ entries: 5, durationMs: 0.4 });
  metrics.ledgerCommitted({ entries: 1, durationMs: 0.4 });
  const found = samples(metrics);
  assert.equal(found.get('airlock_http_requests_total{route="/p/:id/ *",method="GET",status="404"}'), 1);
  assert.equal(found.get('airlock_cell_starts_total{plugin="hello",reason="operator"}'), 1);
  assert.equal(found.get('airlock_cell_ends_total{plugin="hello",reason="idle"}'), 1);
  assert.equal(found.get("airlock_cells_awake"), 3);
  assert.equal(found.get('airlock_breaker_state{plugin="hello"}'), 1);
  assert.equal(found.get('airlock_quarantines_total{plugin="hello"}'), 1);
  assert.equal(found.get('airlock_refusals_total{code="UNAUTHENTICATED"}'), 1);
  assert.equal(found.get("airlock_ledger_entries_total"), 6);
  assert.equal(found.get('airlock_ledger_batch_entries_bucket{le="1"}'), 1);
  assert.equal(found.get("airlock_ledger_commit_duration_seconds_count"), 2);
});

Deno.test("createMetrics() shares nothing with another", () => {
  const one = createMetrics();
  const two = createMetrics();
  one.cellsAwake(3);
  assert.equal(samples(two).get("airlock_cells_awake"), 0);
});

Deno.test("Metrics counts jobs that ended, and shows those that wait and run", () => {
  const metrics = createMetrics();
  metrics.pluginAdmitted({ id: "hello", actions: ["greet"] });
  metrics.jobEnded({ plugin: "hello", state: "completed" });
  metrics.jobEnded({ plugin: null, state: "failed" });
  metrics.jobEnded({ plugin: "unknown", state: "cancelled" });
  metrics.jobsNow({ waiting: 3, running: 2 });
  metrics.jobsCommitted();
  const found = samples(metrics);
  assert.equal(found.get('airlock_jobs_ended_total{plugin="hello",state="completed"}'), 1);
  assert.equal(found.get('airlock_jobs_ended_total{plugin="",state="failed"}'), 1);
  assert.equal(found.get('airlock_jobs_ended_total{plugin="other",state="cancelled"}'), 1);
  assert.equal(found.get('airlock_jobs{state="waiting"}'), 3);
  assert.equal(found.get('airlock_jobs{state="running"}'), 2);
  assert.equal(found.get("airlock_jobs_commits_total"), 1);
});
