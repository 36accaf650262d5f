/**
 * Metrics are counts and durations of what the kernel does, in Prometheus' text format.
 *
 * The registry is this object's own. The number of series is bounded whatever callers send: plugins and
 * actions are those of admitted manifests, routes the first {@linkcode routesMax} patterns seen, and all else
 * is counted under `other`.
 *
 * @module
 */
import type { ProblemCode } from "../../schemas/problem.ts";
import { Exposition, expositionType, type NumberSeries } from "./exposition.ts";

export const cellStartReasons = ["operator", "wake", "restart"] as const;
export type CellStartReason = (typeof cellStartReasons)[number];

export const cellEndReasons = [
  "operator",
  "idle",
  "shutdown",
  "reload",
  "per-call",
  "crashed",
  "killed",
] as const;
export type CellEndReason = (typeof cellEndReasons)[number];

export interface Metrics {
  /** Lets these names stand as labels. Repeating it adds the actions of a newer version. */
  pluginAdmitted(plugin: { id: string; actions: readonly string[] }): void;
  /** `route` is the pattern, such as `/v1/plugins/:id`, never the path. */
  requestEnded(request: { route: string; method: string; status: number }): void;
  /** `code` is `OK` or why it failed. */
  callEnded(call: { plugin: string; action: string; code: ProblemCode | "OK"; durationMs: number }): void;
  /** A request that reached no plugin. */
  refused(code: ProblemCode): void;
  cellStarted(cell: { plugin: string; reason: CellStartReason }): void;
  cellEnded(cell: { plugin: string; reason: CellEndReason }): void;
  cellsAwake(count: number): void;
  breakerChanged(breaker: { plugin: string; state: "closed" | "open" | "half_open" }): void;
  pluginQuarantined(plugin: string): void;
  /** A job, of an action or (without one) a pipeline, has ended. */
  jobEnded(job: { plugin: string | null; state: "completed" | "failed" | "cancelled" }): void;
  /** Changes of jobs are on disk, with one sync. */
  jobsCommitted(): void;
  jobsNow(jobs: { waiting: number; running: number }): void;
  /** A batch of entries that is on disk. */
  ledgerCommitted(batch: { entries: number; durationMs: number }): void;
  /** In the text format, version 0.0.4. */
  render(): string;
  readonly contentType: string;
}

const other = "other";
const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const routesMax = 256;
const pluginActionsMax = 10_000;
const breakerValues = { closed: 0, half_open: 1, open: 2 } as const;
const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const commitSecondsBuckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1];
const entriesBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** One plugin's action, its labels resolved once, when they are needed first. */
interface CallSeries {
  readonly duration: { observe(seconds: number): void };
  readonly ended: (code: string) => NumberSeries;
}

export function createMetrics(): Metrics {
  const exposition = new Exposition();
  const families = createFamilies(exposition);
  const calls = createCallSeries(families);
  const routes = new Set<string>();
  const refusals = memoize((code: string) => families.refusals.labels(code));
  const requests = memoize((labels: string) => {
    const [method = other, status = other, ...route] = labels.split(" ");
    return families.requests.labels(route.join(" "), method, status);
  });

  function boundRoute(route: string): string {
    if (routes.has(route)) return route;
    if (routes.size >= routesMax) return other;
    routes.add(route);
    return route;
  }

  return {
    pluginAdmitted(plugin) {
      const isNew = calls.plugin(plugin.id) === other;
      calls.admit(plugin);
      // A breaker is closed until it says otherwise.
      if (isNew) families.breakers.labels(calls.plugin(plugin.id)).set(breakerValues.closed);
    },
    requestEnded({ route, method, status }) {
      const boundMethod = methods.has(method) ? method : other;
      const boundStatus = Number.isInteger(status) && status >= 100 && status < 600 ? status : other;
      requests(`${boundMethod} ${boundStatus} ${boundRoute(route)}`).inc();
    },
    callEnded({ plugin, action, code, durationMs }) {
      const series = calls.get(plugin, action);
      series.ended(code).inc();
      series.duration.observe(durationMs / 1_000);
    },
    refused: (code) => refusals(code).inc(),
    cellStarted: ({ plugin, reason }) => families.cellStarts.labels(calls.plugin(plugin), reason).inc(),
    cellEnded: ({ plugin, reason }) => families.cellEnds.labels(calls.plugin(plugin), reason).inc(),
    cellsAwake: (count) => families.cellsAwake.labels().set(count),
    breakerChanged: ({ plugin, state }) =>
      families.breakers.labels(calls.plugin(plugin)).set(breakerValues[state]),
    pluginQuarantined: (plugin) => families.quarantines.labels(calls.plugin(plugin)).inc(),
    jobEnded: ({ plugin, state }) =>
      families.jobsEnded.labels(plugin === null ? "" : calls.plugin(plugin), state).inc(),
    jobsCommitted: () => families.jobsCommits.labels().inc(),
    jobsNow({ waiting, running }) {
      families.jobs.labels("waiting").set(waiting);
      families.jobs.labels("running").set(running);
    },
    ledgerCommitted({ entries, durationMs }) {
      families.ledgerEntries.labels().inc(entries);
      families.ledgerBatch.labels().observe(entries);
      families.ledgerCommit.labels().observe(durationMs / 1_000);
    },
    render: () => exposition.render(),
    contentType: expositionType,
  };
}

/** Calls by plugin and action, for those admitted and for `other`. */
function createCallSeries(families: ReturnType<typeof createFamilies>) {
  const series = new Map<string, Map<string, CallSeries>>();
  let size = 0;

  function create(plugin: string, action: string): CallSeries {
    let duration: CallSeries["duration"] | undefined;
    return {
      // Made at the first call: of a thousand plugins most are asleep, and each histogram is twenty lines.
      get duration() {
        return duration ??= families.callSeconds.labels(plugin, action);
      },
      ended: memoize((code) => families.calls.labels(plugin, action, code)),
    };
  }

  const unknown = create(other, other);
  return {
    admit({ id, actions }: { id: string; actions: readonly string[] }): void {
      const ofPlugin = series.get(id) ?? new Map<string, CallSeries>();
      for (const action of actions) {
        if (ofPlugin.has(action) || size >= pluginActionsMax) continue;
        ofPlugin.set(action, create(id, action));
        size++;
      }
      if (ofPlugin.size > 0) series.set(id, ofPlugin);
    },
    get: (plugin: string, action: string) => series.get(plugin)?.get(action) ?? unknown,
    plugin: (id: string) => series.has(id) ? id : other,
  };
}

function createFamilies(exposition: Exposition) {
  return {
    requests: exposition.counter({
      name: "airlock_http_requests_total",
      help: "HTTP requests answered.",
      labelNames: ["route", "method", "status"],
    }),
    calls: exposition.counter({
      name: "airlock_calls_total",
      help: "Calls of plugins' actions that ended, by OK or the code of the failure.",
      labelNames: ["plugin", "action", "code"],
    }),
    callSeconds: exposition.histogram({
      name: "airlock_call_duration_seconds",
      help: "From a call's acceptance to its end.",
      labelNames: ["plugin", "action"],
      buckets: secondsBuckets,
    }),
    refusals: exposition.counter({
      name: "airlock_refusals_total",
      help: "Requests refused before they reached a plugin, by code.",
      labelNames: ["code"],
    }),
    cellStarts: exposition.counter({
      name: "airlock_cell_starts_total",
      help: "Cells started, by reason.",
      labelNames: ["plugin", "reason"],
    }),
    cellEnds: exposition.counter({
      name: "airlock_cell_ends_total",
      help: "Cells ended, by reason.",
      labelNames: ["plugin", "reason"],
    }),
    cellsAwake: exposition.gauge({ name: "airlock_cells_awake", help: "Cells alive." }),
    breakers: exposition.gauge({
      name: "airlock_breaker_state",
      help: "State of a plugin's circuit breaker: 0 closed, 1 half open, 2 open.",
      labelNames: ["plugin"],
    }),
    quarantines: exposition.counter({
      name: "airlock_quarantines_total",
      help: "Plugins given up after too many failures.",
      labelNames: ["plugin"],
    }),
    ...createJobFamilies(exposition),
    ledgerEntries: exposition.counter({
      name: "airlock_ledger_entries_total",
      help: "Ledger entries on disk since the start.",
    }),
    ledgerBatch: exposition.histogram({
      name: "airlock_ledger_batch_entries",
      help: "Ledger entries that shared one sync.",
      buckets: entriesBuckets,
    }),
    ledgerCommit: exposition.histogram({
      name: "airlock_ledger_commit_duration_seconds",
      help: "From the first write of a batch of ledger entries to its acknowledgement.",
      buckets: commitSecondsBuckets,
    }),
  };
}

function createJobFamilies(exposition: Exposition) {
  return {
    jobsEnded: exposition.counter({
      name: "airlock_jobs_ended_total",
      help: "Jobs that ended, by their state; those of no plugin are pipelines.",
      labelNames: ["plugin", "state"],
    }),
    jobsCommits: exposition.counter({
      name: "airlock_jobs_commits_total",
      help: "Transactions with changes of jobs that were synced.",
    }),
    jobs: exposition.gauge({
      name: "airlock_jobs",
      help: "Jobs that wait, and jobs that run, without pipelines.",
      labelNames: ["state"],
    }),
  };
}

/** Remembers each result for ever: for arguments from a bounded set. */
function memoize<T>(make: (key: string) => T): (key: string) => T {
  const made = new Map<string, T>();
  return (key) => {
    let value = made.get(key);
    if (value === undefined) made.set(key, value = make(key));
    return value;
  };
}
