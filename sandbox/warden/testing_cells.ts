/**
 * Real cells for the tests of the warden: a fake kernel that asks for cells, hands each a plugin's source,
 * calls its actions, and keeps what the warden reports.
 *
 * Only `*_test.ts` files and measurements import this.
 *
 * @module
 */
import { deepEqual, ok } from "node:assert/strict";
import { type Config, configSchema } from "../../schemas/config.ts";
import type { Grants, Isolation } from "../../schemas/capabilities.ts";
import { type CellSetup, tokenOverheadChars } from "../../schemas/cell_protocol.ts";
import { type Limits, limitsSchema } from "../../schemas/limits.ts";
import type { FromWarden } from "../../schemas/warden_protocol.ts";
import { encodeFrame, FrameReader } from "../frame.ts";
import { Cells } from "./cells.ts";

import type { CellGroups } from "./cgroup.ts";
import { findHostPrograms } from "./host_programs.ts";

type Ended = Extract<FromWarden, { type: "ended" }>;
type Frames = { type: string; id?: number; message?: string; token?: string };

export interface TestingCell {
  readonly cell: string;
  readonly dataDir: string;
  readonly ended: Promise<Ended>;
  /** Resolves when the plugin is loaded, or the cell has ended. */
  readonly ready: Promise<unknown>;
  pid(): Promise<number>;
  /** Says that a call is under way, makes it, and gives its output, or throws with what it failed with. */
  call(action: string, input?: unknown): Promise<unknown>;
}

export interface TestingCellOptions {
  readonly tier?: Isolation;
  /** The plugin's module; what it exports as `actions` is named in `actions`. */
  readonly source: string;
  readonly actions?: readonly string[];
  readonly limits?: Partial<Limits>;
  readonly grants?: Partial<Grants>;
  /** Done to its private folder before it starts. */
  prepare?(dataDir: string): void;
}

export interface TestingCellsOptions extends Partial<Config["cells"]> {
  readonly groups?: CellGroups;
  readonly cores?: number;
}

/** No test waits for longer: what it waits for does not come. */
const waitMsMax = 30_000;

export class TestingCells implements AsyncDisposable {
  readonly reports: FromWarden[] = [];
  /** A test that expects some takes them out. */
  readonly logged: string[] = [];
  readonly cells: Cells;
  readonly #listener: Deno.Listener;
  readonly #accepting: Promise<void>;
  readonly #conns = new Set<Deno.Conn>();
  readonly #byToken = new Map<string, (conn: Deno.Conn, reader: FrameReader) => void>();
  readonly #waiting = new Set<() => void>();
  #plural = 0;

  private constructor(
    readonly root: string,
    { groups, cores, ...config }: TestingCellsOptions,
  ) {
    for (const folder of ["data/packages", "data/plugins", "code", "run"]) {
      Deno.mkdirSync(`${root}/${folder}`, { recursive: true });
    }
    this.#listener = Deno.listen({ transport: "unix", path: `${root}/run/s` });
    this.#accepting = this.#accept();
    this.cells = new Cells({
      kernelPid: Deno.pid,
      ...(cores === undefined ? {} : { cores }),
      host: findHostPrograms(Deno.env.get("PATH") ?? ""),
      bundleDir: decodeURIComponent(new URL("../dist", import.meta.url).pathname),
      config: { ...configSchema.parse({}).cells, ...config },
      audit: configSchema.parse({}).audit,
      caps: { ...configSchema.parse({}).limits, cpuPercent: 6_400 },
      groups,
      own: { dataDir: `${root}/data`, codeDir: `${root}/code`, runFolder: `${root}/run` },
      environment: () => undefined,
      report: (message) => this.#take(message),
      flushed: () => Promise.resolve(),
      log: (message) => this.logged.push(message),
    });
  }

  static async create(options: TestingCellsOptions = {}): Promise<TestingCells> {
    return new TestingCells(await Deno.realPath(await Deno.makeTempDir({ prefix: "cells-" })), options);
  }

  #take(message: FromWarden): void {
    this.reports.push(message);
    for (const look of [...this.#waiting]) look();
  }

  /** The first report, already there or to come soon, that fits. */
  async reported<T extends FromWarden["type"]>(
    type: T,
    fits?: (message: Extract<FromWarden, { type: T }>) => boolean,
  ): Promise<Extract<FromWarden, { type: T }>> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const last = JSON.stringify(this.reports.slice(-10));
      late.reject(new Error(`Waited ${waitMsMax} ms for a report "${type}"; the last ones: ${last}`));
    }, waitMsMax);
    return await Promise.race([this.#reported(type, fits), late.promise]).finally(() => clearTimeout(timer));
  }

  /** Whenever it comes. */
  async #reported<T extends FromWarden["type"]>(
    type: T,
    fits: (message: Extract<FromWarden, { type: T }>) => boolean = () => true,
  ): Promise<Extract<FromWarden, { type: T }>> {
    const { promise, resolve } = Promise.withResolvers<Extract<FromWarden, { type: T }>>();
    const look = () => {
      const isOfType = (report: FromWarden): report is Extract<FromWarden, { type: T }> =>
        report.type === type;
      const found = this.reports.filter(isOfType).find(fits);
      if (found !== undefined) resolve(found);
    };
    this.#waiting.add(look);
    look();
    return await promise.finally(() => this.#waiting.delete(look));
  }

  start(
    { tier = "process", source, actions = ["run"], limits, grants, prepare }: TestingCellOptions,
  ): TestingCell {
    const cell = `c${++this.#plural}`;
    const packageDir = `${this.root}/data/packages/${cell}`;
    const dataDir = `${this.root}/data/plugins/${cell}`;
    Deno.mkdirSync(packageDir);
    Deno.mkdirSync(dataDir);
    Deno.writeTextFileSync(`${packageDir}/mod.ts`, source);
    prepare?.(dataDir);
    const token = crypto.getRandomValues(new Uint8Array(32)).toHex();
    const client = new CellClient();
    this.#byToken.set(token, (conn, reader) => {
      this.#conns.add(conn);
      const setup: CellSetup = {
        ...{ plugin: { id: cell, version: "1.0.0" }, entrypoint: "mod.ts", packageDir, dataDir, config: {} },
        ...{
          actions: Object.fromEntries(actions.map((name) => [name, {}])),
          outputBytesMax: 65_536,
          streamWindowChars: 1_024,
          tokenOverheadChars,
        },
      };
      void client.run(conn, reader, setup);
    });
    const none = { net: [], run: [], env: [], sys: [], ffi: [], eval: false };
    this.cells.start({
      ...{ cell, token, tier, packageDir, dataDir, limits: limitsSchema.parse(limits ?? {}) },
      grants: { ...none, read: [packageDir, dataDir], write: [dataDir], ...grants },
    }, { socket: `${this.root}/run/s`, folder: `${this.root}/run` });
    const ended = this.#reported("ended", (report) => report.cell === cell);
    void this.#reported("refused", (report) => report.cell === cell).then(({ message }) =>
      client.ready.reject(new Error(message))
    );
    return {
      cell,
      dataDir,
      ended,
      ready: Promise.race([client.ready.promise, ended]),
      pid: async () => {
        await Promise.race([client.ready.promise, ended]);
        this.cells.locate(cell);
        const { pid } = await this.reported("located", (report) => report.cell === cell);
        ok(pid !== null);
        return pid;
      },
      call: async (action, input = {}) => {
        await client.ready.promise;
        return await client.call(
          action,
          input,
          (count, ids) => this.cells.calls(cell, count, ids),
        );
      },
    };
  }

  async #accept(): Promise<void> {
    for await (const conn of this.#listener) void this.#greet(conn);
  }

  async #greet(conn: Deno.Conn): Promise<void> {
    const reader = new FrameReader(1_048_576);
    const chunk = new Uint8Array(65_536);
    const read = await conn.read(chunk);
    const [hello] = reader.push(chunk.subarray(0, read ?? 0));
    this.#byToken.get((hello?.envelope as Frames).token ?? "")?.(conn, reader);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cells.killAll();
    this.#listener.close();
    await this.#accepting;
    for (const conn of this.#conns) conn.close();
    await Deno.remove(this.root, { recursive: true });
    deepEqual(this.logged, []);
  }
}

/** The kernel's end of one cell's socket, as little of it as a test needs. */
class CellClient {
  readonly ready = Promise.withResolvers<void>();
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  #conn: Deno.Conn | undefined;
  #ids = 0;

  async run(conn: Deno.Conn, reader: FrameReader, setup: CellSetup): Promise<void> {
    this.#conn = conn;
    const chunk = new Uint8Array(65_536);
    await conn.write(encodeFrame({ type: "setup" }, new TextEncoder().encode(JSON.stringify(setup))));
    for (;;) {
      const read = await conn.read(chunk).catch(() => null);
      if (read === null) return;
      for (const { envelope, body } of reader.push(chunk.subarray(0, read))) {
        const message = envelope as Frames;
        const call = this.#calls.get(message.id ?? 0);
        if (message.type === "ready") this.ready.resolve();
        if (message.type === "result") call?.resolve(JSON.parse(new TextDecoder().decode(body)));
        if (message.type === "error" || message.type === "failed") {
          (call ?? this.ready).reject(new Error(message.message));
        }
      }
    }
  }

  async call(action: string, input: unknown, tell: (count: number, ids: number[]) => void): Promise<unknown> {
    const id = ++this.#ids;
    const answer = Promise.withResolvers<unknown>();
    this.#calls.set(id, answer);
    const told = () => tell(this.#calls.size, [...this.#calls.keys()].slice(0, 32));
    told();
    const body = new TextEncoder().encode(JSON.stringify(input));
    const frame = encodeFrame({ type: "call", id, action, request: "r", stream: false }, body);
    await this.#conn?.write(frame).catch(() => undefined);
    try {
      return await answer.promise;
    } finally {
      this.#calls.delete(id);
      told();
    }
  }
}
