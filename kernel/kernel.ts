/**
 * The kernel, composed: what it is made of, and the order in which it starts and stops.
 *
 * Start: store, ledger (recovery runs), tokens, packages, cells' socket; critical plugins start in the
 * background. Stop, in reverse: no cell starts any more, calls under way get their answers, cells stop, what
 * was being recorded is recorded, then ledger and store close. A crash at any point is the same to the next
 * start as one at any other.
 *
 * @module
 */
import { getRandomValues } from "node:crypto";
import { dirname } from "node:path";
import denoJson from "../deno.json" with { type: "json" };
import type { LogLine, PluginView } from "../schemas/api.ts";
import type { Config } from "../schemas/config.ts";
import type { ProblemCode } from "../schemas/problem.ts";
import type { LedgerRecord } from "../schemas/ledger_event.ts";
import type { KernelBoot } from "../schemas/warden_protocol.ts";
import { Sandbox, type StartedCell } from "../sandbox/sandbox.ts";
import type { WardenLink } from "../sandbox/warden_link.ts";
import { Feed } from "./bus/feed.ts";
import type { JobsParts } from "./jobs/create_jobs.ts";
import { JobTraces } from "./jobs/job_traces.ts";
import type { Jobs } from "./jobs/jobs.ts";
import { type Ledger, openLedger } from "./ledger/ledger.ts";
import { createShredder, type Shredder } from "./ledger/shredder.ts";
import { LifeReader } from "./life_reader.ts";
import type { LifecycleVerb } from "./lifecycle/orders.ts";
import type { PluginChange } from "./lifecycle/plugin_view.ts";
import { type GrantsView, Plugins } from "./lifecycle/plugins.ts";
import { systemClock } from "../sandbox/clock.ts";
import { SlowLane } from "../sandbox/slow_lane.ts";
import { createPackageStore } from "./registry/package_store.ts";
import { readOne, type RegistryDeps, scanPluginFolders } from "./registry/registry.ts";
import { openJobs } from "./open_jobs.ts";
import { Router } from "./router/router.ts";
import { recordFailure, recordStart, recordStop } from "./start_entries.ts";
import { type Commitments, openCommitments } from "./store/commitments_table.ts";
import { openStore, type Store } from "./store/store.ts";
import type { Logger } from "./telemetry/log.ts";
import { createMetrics, type Metrics } from "./telemetry/metrics.ts";
import { Audit } from "./trust/audit.ts";
import { clipTarget, createRefusalBudget, type RefusalBudget } from "./trust/refusal_budget.ts";
import { createTokens, type Tokens } from "./trust/tokens.ts";
import { Tracker } from "./tracker.ts";
import { within } from "./within.ts";

export { type LifecycleVerb, lifecycleVerbs } from "./lifecycle/orders.ts";
export type { GrantsView } from "./lifecycle/plugins.ts";
export type { Call, CallResult, StreamSink } from "./router/call.ts";

/** A value, and the signed checkpoint (base64 of the note) that covers the act that made it. */
export interface Written<T> {
  readonly value: T;
  readonly checkpoint: string;
}

export interface Refusal {
  readonly code: ProblemCode;
  /** What was asked for, method and path; committed to, never written in the clear. */
  readonly target: string;
  /** Id of the plugin that was asked for, be it known or not; "" for none. Only a known one is ever written. */
  readonly plugin: string;
  readonly actor: string;
  readonly request: string;
}

export type KernelStatus = "starting" | "ready" | "draining";

export interface Kernel {
  readonly config: Config;
  readonly version: string;
  readonly startedAtMs: number;
  readonly tier: KernelBoot["tier"];
  status(): KernelStatus;
  readonly ledger: Ledger;
  /** What opens the ledger's commitments. */
  readonly commitments: Shredder;
  readonly tokens: Tokens;
  readonly metrics: Metrics;
  readonly plugins: {
    /** Those with an id above `after`, ascending by id, at most `limit`. */
    list(page?: { after?: string | undefined; limit?: number }): PluginView[];
    get(id: string): PluginView;
    /** Ids of critical plugins that are enabled and not up, ascending. */
    missing(): string[];
    act(id: string, verb: LifecycleVerb, actor: string): Promise<Written<PluginView>>;
    /** Lines of the plugin's log with a `seq` above `after`, ascending. */
    logs(id: string, page: { after?: number | undefined; limit: number }): LogLine[];
    grants(id: string): GrantsView;
    setGrants(id: string, grants: Config["grants"][string], actor: string): Promise<Written<GrantsView>>;
  };
  /** What plugins' code asked Deno for, until now. Of what is not known it rejects with PLUGIN_NOT_FOUND. */
  readonly audit: Pick<Audit, "list">;
  readonly router: Pick<Router, "invoke">;
  /** For long work on the event loop. */
  readonly lane: SlowLane;
  readonly jobs: Jobs;
  readonly feed: Pick<Feed, "watch">;
  /** Records a refused request; durable when it resolves. Of many by one actor most are only counted. */
  refuse(refusal: Refusal): Promise<void>;
  /**
   * Answers the calls under way, stops the cells, closes ledger and store. `serverClosed`: no request comes
   * any more. Takes `http.drainTimeoutMs` at most, and then three times `cells.stopTimeoutMs`: an order that is
   * under way, and the stop of its cell.
   */
  drain(serverClosed: Promise<void>): Promise<void>;
  /** Records that the kernel gives up, where it still can; the process is expected to end. Never rejects. */
  fail(): Promise<void>;
}

export interface KernelDeps {
  readonly boot: Omit<KernelBoot, "type" | "config">;
  readonly link: WardenLink;
  readonly logger: Logger;
  nowMs(): number;
  /** The kernel can no longer keep its promises: end the process. */
  fatal(error: Error): void;
}

export const airlockVersion = denoJson.version;

/** Throws when the data folder cannot be used; the message says what to mend. */
export async function createKernel(config: Config, deps: KernelDeps): Promise<Kernel> {
  const { boot, logger, nowMs } = deps;
  const startedAtMs = nowMs();
  let status: KernelStatus = "starting";
  const closers = new AsyncDisposableStack();
  const tracker = new Tracker((error) =>
    logger.error("Work in the background failed", { error: String(error) })
  );
  const metrics = createMetrics();
  const lane = new SlowLane();
  const made = { metrics, lane };
  const { store, ledger, commitments, tokens, traces } = await openState(config, deps, closers, made);
  const life = randomBytes(4).toHex();
  const feed = new Feed({ feedEventsMax: config.streams.feedEventsMax, life });
  /** Plugins are there before their jobs. */
  const late: { jobs?: JobsParts } = {};
  const changed = ({ id, state, status, breaker }: PluginChange) => {
    feed.publish("PLUGIN_CHANGED", { plugin: id, state, status, breaker });
    late.jobs?.pluginChanged(id);
  };
  const { plugins, sandbox, audit } = await orFail(
    ledger,
    () => openPlugins({ config, deps, tracker, store, ledger, ...made }, changed),
  );
  const refusals = createRefusalBudget({
    tell: (actor, data) => ledger.append({ type: "refusal.counted", actor, plugin: "", data }),
    ...{ nowMs, windowMs: config.ledger.refusalsWindowMs, refusalsMax: config.ledger.refusalsMax },
    actorsMax: config.tokensMax,
  });
  const router = new Router({ plugins, ledger, metrics, refusals, ...config.cells, lane });
  const jobs = late.jobs = await orFail(ledger, () =>
    openJobs({
      ...{ config, dataDir: boot.dataDir, closers, tracker, logger },
      ...{ ledger, metrics, router, feed, traces, life, nowMs },
      nameOf: (id) => plugins.nameOf(id),
      // Who has no token, as the kernel itself, cannot lose it.
      isActive: (actor) => !actor.startsWith("token:") || tokens.isActive(actor),
      fatal: (error) => void recordFailure(ledger).then(() => deps.fatal(error)),
    }));
  const parts = { config, plugins, jobs, router, sandbox, tracker, audit, tokens, refusals, ledger };
  status = "ready";
  return {
    config,
    version: airlockVersion,
    startedAtMs,
    tier: boot.tier,
    status: () => status,
    ...{ ledger, commitments, tokens, metrics, plugins, router, lane, feed, jobs: jobs.service },
    audit: { list: (id, page) => plugins.audited(id).then(() => audit.list(id, page)) },
    async refuse({ code, target, plugin, actor, request }) {
      metrics.refused(code);
      if (!refusals.take(actor)) return;
      const data = { request, code };
      await ledger.append({
        type: "request.refused",
        actor,
        plugin: plugins.nameOf(plugin),
        data,
        commit: { target: clipTarget(target) },
      });
    },
    async drain(serverClosed) {
      status = "draining";
      await orFail(ledger, () => drainParts({ ...parts, serverClosed }));
      await closers.disposeAsync();
    },
    fail: () => recordFailure(ledger),
  };
}

interface DrainedParts {
  readonly config: Config;
  readonly plugins: Pick<Plugins<StartedCell>, "close" | "shutdown">;
  readonly jobs: Pick<JobsParts, "close" | "settled">;
  readonly router: Pick<Router, "drain">;
  readonly sandbox: AsyncDisposable;
  readonly tracker: Tracker;
  readonly audit: Pick<Audit, "close">;
  readonly tokens: Pick<Tokens, "close">;
  readonly refusals: Pick<RefusalBudget, "close">;
  readonly ledger: Ledger;
  readonly serverClosed: Promise<void>;
}

/** In the order in which what comes later needs what came before. */
async function drainParts(parts: DrainedParts): Promise<void> {
  const { config, plugins, jobs, router, sandbox, tracker, audit, tokens, refusals, ledger, serverClosed } =
    parts;
  // No start may outlast the drain: what is up answers, what is not is refused.
  plugins.close();
  jobs.close();
  await within(config.http.drainTimeoutMs, Promise.all([router.drain(), serverClosed]));
  // What is still under way ends with its cell, and gets an answer that says so.
  await plugins.shutdown();
  await router.drain();
  await jobs.settled();
  await sandbox[Symbol.asyncDispose]();
  await tracker.settled();
  await audit.close();
  await tokens.close();
  await refusals.close();
  await recordStop(ledger, "drained");
}

/** What fails here ends the kernel: the ledger is told first. */
async function orFail<T>(ledger: Ledger, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await recordFailure(ledger);
    throw error;
  }
}

/** What outlives the kernel: store, ledger and tokens, in the order in which they need each other. */
async function openState(
  config: Config,
  deps: KernelDeps,
  closers: AsyncDisposableStack,
  { metrics, lane }: { metrics: Metrics; lane: SlowLane },
) {
  const { boot, nowMs } = deps;
  const store = closers.use(openStore({ file: `${boot.dataDir}/airlock.db` }));
  const life = new LifeReader();
  const openings = closers.use(
    openCommitments({ file: `${boot.dataDir}/commitments.db`, rowsMax: config.ledger.commitmentsMax }),
  );
  const traces = new JobTraces();
  const scanned = (record: LedgerRecord) => {
    life.take(record);
    traces.take(record);
  };
  const ledger = closers.use(
    await openKernelLedger(config, deps, { commitments: openings, metrics, lane, scanned }),
  );
  await recordStart({ ledger, table: store.config }, config, {
    version: airlockVersion,
    deno: Deno.version.deno,
    tier: boot.tier,
    before: life.ended(),
  });
  const tokens = createTokens({
    table: store.tokens,
    ledger,
    nowMs,
    randomBytes,
    tokensMax: config.tokensMax,
    refusalsWindowMs: config.ledger.refusalsWindowMs,
  });
  await orFail(ledger, () => tokens.ensureAdminToken(`${boot.dataDir}/admin.token`));
  return { store, ledger, commitments: createShredder({ ledger, table: openings }), tokens, traces };
}

interface PluginParts {
  readonly config: Config;
  readonly deps: KernelDeps;
  readonly tracker: Tracker;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly lane: SlowLane;
}

/** The sandbox, what the plugin folders hold, and the audit of what comes of both. */
async function openPlugins(
  { config, deps, tracker, metrics, store, ledger, lane }: PluginParts,
  changed: (plugin: PluginChange) => void,
) {
  const { boot, logger, nowMs } = deps;
  const { packages, registry } = await openRegistry(config, boot.dataDir);
  const sandbox = new Sandbox({
    ...config.cells,
    socket: boot.socket,
    link: deps.link,
    lane,
    randomBytes,
    log: (message) => logger.child("sandbox").warning(message),
  });
  const audit = new Audit({
    ...{ table: store.audit, ledger, limits: config.audit, pluginsMax: config.pluginsMax },
    ...{ isAudited: boot.audited, timing: systemClock, nowMs },
    warn: (message) => logger.child("audit").warning(message),
  });
  const plugins: Plugins<StartedCell> = new Plugins({
    config,
    tier: boot.tier,
    dataDir: boot.dataDir,
    forbidden: [boot.dataDir, boot.codeDir, dirname(boot.socket)],
    sandbox,
    checkDescription: (description) => deps.link.check(description),
    ...{ store, ledger, metrics, audit, nowMs },
    timing: systemClock,
    random: () => Math.random(),
    warn: (message) => logger.child("lifecycle").warning(message),
    track: (work) => tracker.track(work),
    fatal: (error) => void recordFailure(ledger).then(() => deps.fatal(error)),
    readPackage: (folder) => readOne(folder, registry),
    verifyPackage: (digest) => packages.verify(digest),
    changed: (id) => changed(plugins.change(id)),
  });
  const scan = await scanPluginFolders([boot.bundledPlugins, ...boot.pluginFolders], registry);
  const digests = scan.plugins.flatMap((plugin) => plugin.kind === "admitted" ? [plugin.digest] : []);
  await packages.collectGarbage(new Set(digests));
  await plugins.install(scan.plugins);
  return { plugins, sandbox, audit };
}

async function openKernelLedger(
  config: Config,
  deps: KernelDeps,
  { commitments, metrics, lane, scanned }: {
    commitments: Commitments;
    metrics: Metrics;
    lane: SlowLane;
    scanned(record: LedgerRecord): void;
  },
): Promise<Ledger> {
  const { boot, logger, nowMs, fatal } = deps;
  const { origin, ...limits } = config.ledger;
  return await openLedger(
    { folder: `${boot.dataDir}/ledger`, ...(origin === undefined ? {} : { origin }), ...limits },
    {
      ...{ nowMs, randomBytes, commitments, fatal, lane },
      committed: (batch) => metrics.ledgerCommitted(batch),
      scanned,
      warn: (message) => logger.child("ledger").warning(message),
    },
  );
}

async function openRegistry(config: Config, dataDir: string) {
  const limits = { bytesMax: config.packageBytesMax, filesMax: config.packageFilesMax };
  const packages = await createPackageStore(`${dataDir}/packages`, limits);
  const { pluginsMax } = config;
  const registry: RegistryDeps = { store: packages, ...limits, hostVersion: airlockVersion, pluginsMax };
  return { packages, registry };
}

function randomBytes(count: number): Uint8Array<ArrayBuffer> {
  return getRandomValues(new Uint8Array(count));
}
