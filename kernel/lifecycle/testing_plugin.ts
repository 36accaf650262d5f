/**
 * A plugin under supervision with cells that do what a test says. Only `*_test.ts` files import this.
 *
 * @module
 */
import { equal } from "node:assert/strict";
import { configSchema } from "../../schemas/config.ts";
import { manifestSchema } from "../../schemas/manifest.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { LedgerEventInput } from "../ledger/ledger.ts";
import { type CellEnd, Plugin, type SupervisedCell } from "./plugin.ts";
import type { Quarantine } from "./recovery.ts";
import type { Release } from "./release.ts";
import { RestartQueue } from "./restart_queue.ts";
import { TestingClock } from "../../sandbox/testing_clock.ts";

export function releaseOf(version = "1.0.0", more: Record<string, unknown> = {}): Release {
  const minimal = { id: "echo", version, airlock: "*", entrypoint: "mod.ts", actions: { run: {} } };
  const manifest = manifestSchema.parse({ ...minimal, ...more });
  const grants = { net: [], read: ["/p"], write: [], run: [], env: [], sys: [], ffi: [], eval: false };
  const folders = { packageDir: "/p", dataDir: "/d" };
  return { manifest, digest: "ab", ...folders, grants, limits: manifest.limits, isolation: "process" };
}

/** What a router hands to a cell. */
export interface FakeCall {
  readonly wallMs: number;
  readonly signal: AbortSignal;
  readonly sink?: { log?(level: "info", text: string): void };
  readonly job?: unknown;
  readonly cancelGraceMs?: number;
}

/** A cell that does what the test says. */
export class FakeCell implements SupervisedCell {
  callsUnderWay = 0;
  isStopping = false;
  isSuspended = false;
  isStale = false;
  /** For the calls that its stop cut off. */
  stopCode: ProblemError["code"] | undefined;
  /** What its health function says. */
  health: (timeoutMs: number) => Promise<string | undefined> = () => Promise.resolve(undefined);
  readonly #ended = Promise.withResolvers<CellEnd>();
  isAlive = true;
  /** What becomes of a call. */
  call: (call: FakeCall) => Promise<Uint8Array<ArrayBuffer>> = () =>
    Promise.resolve(new TextEncoder().encode("null"));

  /** `stopsAtOnce`: it ends as soon as it is asked to. */
  constructor(readonly release: Release, readonly pid: number, private readonly stopsAtOnce: boolean) {}

  get cell() {
    const { callsUnderWay, isAlive, isStopping, isSuspended, isStale } = this;
    const takesCalls = isAlive && !isStopping && !isSuspended && !isStale;
    const pulse = { restsUntilMs: 0 };
    return { callsUnderWay, takesCalls, isStale, pulse, ended: this.#ended.promise, call: this.call };
  }

  audited(): Promise<void> {
    return Promise.resolve();
  }

  async suspend(): Promise<void> {
    this.isSuspended = true;
    await this.#goneOr(null);
  }

  async resume(): Promise<void> {
    await this.#goneOr(null);
    this.isSuspended = false;
  }

  kill({ code }: ProblemError): void {
    this.end("killed", code);
  }

  async stop(code: "PLUGIN_STOPPED" | "PLUGIN_CRASHED" = "PLUGIN_STOPPED"): Promise<void> {
    this.isStopping = true;
    this.stopCode = code;
    if (this.isSuspended) this.end("killed", code);
    else if (this.stopsAtOnce) this.end("stopped");
    await this.#ended.promise;
  }

  /** Rejects once the cell has ended. */
  async #goneOr(event: unknown): Promise<void> {
    await event;
    if (!this.isAlive) throw (await this.#ended.promise).cause;
  }

  end(by: CellEnd["by"], code: ProblemError["code"] = "PLUGIN_CRASHED", isCallsDoing = false): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    const signal = by === "stopped" ? null : "SIGKILL";
    const cause = new ProblemError(code, "Cannot call");
    this.#ended.resolve({ cause, exitCode: 9, signal, calls: 2, by, isCallsDoing });
  }
}

interface Options {
  readonly idleMs?: number;
  readonly stopsAtOnce?: boolean;
  /** More of the manifest. */
  readonly manifest?: Record<string, unknown>;
  readonly dev?: boolean;
}

/** Starts of cells, each of which ends as the test says. */
class FakeStarts {
  readonly cells: FakeCell[] = [];
  readonly all: { release: Release; finish(): FakeCell; fail(error: Error): void }[] = [];
  readonly #waiters = new Map<number, PromiseWithResolvers<void>>();

  constructor(private readonly stopsAtOnce: boolean) {}

  begin(release: Release): Promise<FakeCell> {
    const { promise, resolve, reject } = Promise.withResolvers<FakeCell>();
    const finish = () => {
      const cell = new FakeCell(release, 100 + this.cells.length, this.stopsAtOnce);
      this.cells.push(cell);
      resolve(cell);
      return cell;
    };
    this.#waiters.get(this.all.push({ release, finish, fail: reject }) - 1)?.resolve();
    return promise;
  }

  /** The start number `index`, from 0, once it was asked for. */
  async at(index: number) {
    if (this.all.length <= index) {
      const waiter = Promise.withResolvers<void>();
      this.#waiters.set(index, waiter);
      await waiter.promise;
    }
    return this.all[index]!;
  }
}

/** Pauses before restarts last 100 ms, 200 ms, 400 ms … */
export function createPlugin(
  { idleMs = 60_000, stopsAtOnce = true, manifest = {}, dev = false }: Options = {},
) {
  const fakes = new FakeStarts(stopsAtOnce);
  const { cells, all: starts } = fakes;
  const events: string[] = [];
  const records: LedgerEventInput[] = [];
  const background: Promise<unknown>[] = [];
  const clock = { nowMs: 1_000 };
  const timing = new TestingClock();
  const config = configSchema.parse({ dev, cells: { restartBackoffMs: 100, healthFailuresMax: 2 } });
  const kept: Quarantine[] = [];
  /** Entries are durable once this resolves. */
  const disk = { isFree: Promise.resolve(), isBroken: false };
  const fatal: Error[] = [];
  /** Thrown at a call that waited. */
  const forbidden: { by: ProblemError | undefined } = { by: undefined };
  const plugin = new Plugin<FakeCell>("echo", {
    startCell: (release) => fakes.begin(release),
    record(event) {
      records.push(event);
      return disk.isFree;
    },
    onCellStarted: (reason) => events.push(`started ${reason}`),
    onCellEnded: (reason) => events.push(`ended ${reason}`),
    checkCallable() {
      if (forbidden.by !== undefined) throw forbidden.by;
    },
    keepQuarantine(quarantine) {
      if (disk.isBroken) throw new Error("the disk is broken");
      equal(plugin.state, "error", "durable before it can be seen");
      kept.push(quarantine);
    },
    ...{ config, timing, restarts: new RestartQueue(timing, config.cells.restartsMax) },
    random: () => 1,
    nowMs: () => clock.nowMs,
    track: (work) => background.push(work),
    fatal: (error) => fatal.push(error),
  });
  plugin.load(releaseOf("1.0.0", { idleMs, ...manifest }));
  return {
    ...{ plugin, cells, starts, events, records, clock, timing, kept, forbidden, disk, fatal },
    types: () => records.map(({ type }) => type),
    /** The start number `index`, from 0, once it was asked for. */
    start: (index = starts.length) => fakes.at(index),
    /** Starts a cell by a call. */
    async wake(): Promise<FakeCell> {
      const index = starts.length;
      const waking = Promise.resolve(plugin.awake());
      if (plugin.state !== "running") (await fakes.at(index)).finish();
      return await waking;
    },
    async [Symbol.asyncDispose]() {
      for (const cell of cells) cell.end("stopped");
      await Promise.all(background);
      equal(cells.filter(({ isAlive }) => isAlive).length, 0);
    },
  };
}
