/**
 * A kernel in memory, for the tests of the API: it does nothing but remember what it was asked.
 *
 * Only `*_test.ts` files import this.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { CheckpointView, LedgerEntry, LogLine, PluginView, Role, TokenView } from "../../schemas/api.ts";
import { type Config, configSchema } from "../../schemas/config.ts";
import { SlowLane } from "../../sandbox/slow_lane.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Call, CallResult, GrantsView, Refusal } from "../kernel.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { EntriesQuery, LedgerReader } from "../ledger/ledger_reader.ts";
import type { AuditRow } from "../store/audit_table.ts";
import type { ApiKernel } from "./context.ts";
import { createTestingFeed, createTestingJobs, type TestingFeed, type TestingJobs } from "./testing_jobs.ts";

/** The secret of the token of each role is `secret-<role>`. */
export function bearer(role: Role): { authorization: string } {
  return { authorization: `Bearer secret-${role}` };
}

export interface TestingKernel extends ApiKernel {
  readonly refusals: Refusal[];
  readonly requests: { route: string; method: string; status: number }[];
  readonly calls: Call[];
  readonly acts: string[];
  readonly queries: EntriesQuery[];
  readonly refusedTokens: { count: number };
  readonly state: { status: "starting" | "ready" | "draining"; missing: string[] };
  readonly jobs: TestingJobs;
  readonly feed: TestingFeed;
}

export interface TestingKernelOptions {
  config?: Parameters<typeof configSchema.parse>[0];
  /** Answers a call; the input echoed if left out. */
  invoke?: (call: Call) => Promise<CallResult> | CallResult;
  /** In place of parts of the ledger's reader. */
  reader?: Partial<LedgerReader>;
  /** In place of parts of the jobs. */
  jobs?: Partial<Jobs>;
}

export const note = "airlock.test\n3\nAAAA\n\n— airlock.test c2ln\n";
export const checkpointBase64 = new TextEncoder().encode(note).toBase64();

/** The result of a call whose output is `output`. */
export function resultOf(output: string, input = ""): CallResult {
  return {
    output: new TextEncoder().encode(output),
    durationMs: 1.5,
    inputSha256: sha256(input),
    outputSha256: sha256(output),
    ledger: { index: 41, size: 42 },
    checkpoint: checkpointBase64,
  };
}

export function sha256(text: string | Uint8Array): string {
  return createHash("sha256").update(text).digest("hex");
}

export function createTestingKernel(options: TestingKernelOptions = {}): TestingKernel {
  const config: Config = configSchema.parse(options.config ?? {});
  const invoke = options.invoke ?? ((call: Call) => resultOf(new TextDecoder().decode(call.input) || "{}"));
  const kernel: TestingKernel = {
    config,
    version: "0.1.0",
    lane: new SlowLane(),
    startedAtMs: Date.now(),
    state: { status: "ready", missing: [] },
    status: () => kernel.state.status,
    refusals: [],
    requests: [],
    calls: [],
    acts: [],
    queries: [],
    refusedTokens: { count: 0 },
    refuse: (refusal) => {
      kernel.refusals.push(refusal);
      return Promise.resolve();
    },
    ledger: testingLedger(
      (query) => kernel.queries.push(query),
      (act) => kernel.acts.push(act),
      options.reader,
    ),
    commitments: testingCommitments((act) => kernel.acts.push(act)),
    tokens: testingTokens(() => kernel.refusedTokens.count += 1),
    metrics: {
      requestEnded: ({ route, method, status }) => void kernel.requests.push({ route, method, status }),
      render: () => "airlock_up 1\n",
    },
    plugins: {
      list: ({ after = "", limit } = {}) =>
        [...plugins.values()].filter(({ id }) => id > after).slice(0, limit),
      get: findPlugin,
      missing: () => kernel.state.missing,
      act: (id, verb, actor) => {
        const value = findPlugin(id);
        kernel.acts.push(`${actor} ${verb} ${id}`);
        return Promise.resolve({ value, checkpoint: checkpointBase64 });
      },
      logs: (id, { after = -1, limit }) => {
        findPlugin(id);
        return logLines.slice(after + 1, after + 1 + limit);
      },
      grants: (id) => grantsOf(findPlugin(id)),
      setGrants: (id, operator, actor) => {
        const value = { ...grantsOf(findPlugin(id)), operator };
        if (operator.run?.length) throw new ProblemError("GRANT_REFUSED", `Cannot grant run to "${id}"`);
        kernel.acts.push(`${actor} grants ${id} ${JSON.stringify(operator)}`);
        return Promise.resolve({ value, checkpoint: checkpointBase64 });
      },
    },
    audit: testingAudit,
    jobs: createTestingJobs(checkpointBase64, options.jobs),
    feed: createTestingFeed(),
    router: {
      invoke: async (call) => {
        kernel.calls.push(call);
        return await invoke(call);
      },
    },
  };
  return kernel;
}

const logLines: LogLine[] = [0, 1, 2].map((seq) => ({
  seq,
  at: "2026-11-20T10:00:00.000Z",
  source: "log",
  level: "info",
  text: `line ${seq}`,
  droppedBytes: 0,
  code: null,
}));

const auditRows: AuditRow[] = ["/srv/a", "/etc/passwd", null].map((resource, at) => ({
  seq: 10 + at,
  plugin: "hello",
  permission: "read",
  resource,
  outcome: at === 0 ? "granted" : "refused",
  count: 2,
  firstAtMs: 1_000,
  lastAtMs: 2_000,
}));

const testingAudit: ApiKernel["audit"] = {
  list: (id, { after = 0, limit, outcome }) => {
    if (id === "none") {
      return Promise.reject(new ProblemError("PLUGIN_NOT_FOUND", `Cannot find plugin "${id}"`));
    }
    const rows = auditRows.filter((row) => row.seq > after && (outcome ?? row.outcome) === row.outcome);
    return Promise.resolve({ rows: rows.slice(0, limit), untold: 4, isAudited: id !== "unaudited" });
  },
};

const entries: LedgerEntry[] = [0, 1, 2].map((index) => ({
  index,
  leafHash: sha256(`${index}`),
  line: `{"v":1,"seq":${index}}`,
}));

function testingCommitments(acted: (act: string) => void): ApiKernel["commitments"] {
  return {
    open: (index, actor) => {
      acted(`${actor} opens ${index}`);
      const view = { index, items: [{ field: "inputCommitment", salt: "AAAA", value: null }] };
      return Promise.resolve({ view, checkpoint: checkpointBase64 });
    },
    delete: (index, actor) => {
      acted(`${actor} shreds ${index}`);
      return Promise.resolve({ deleted: 1, checkpoint: checkpointBase64 });
    },
  };
}

function testingLedger(
  asked: (query: EntriesQuery) => void,
  acted: (act: string) => void,
  reader: Partial<LedgerReader> = {},
): ApiKernel["ledger"] {
  const change = (verb: string, actor: string) => {
    acted(`${actor} ${verb}s the key`);
    const key = "airlock.test+11111111+AQ==";
    return Promise.resolve({ key, index: 3, size: 4, checkpoint: checkpointBase64 });
  };
  return {
    verifierKeys: ["airlock.test+00000000+AQ=="],
    checkpoint: (): CheckpointView => ({ origin: "airlock.test", size: 3, rootHash: "AAAA", note }),
    checkpointBase64: () => checkpointBase64,
    reader: { ...testingReader(asked), ...reader },
    rotateKey: (actor) => change("rotate", actor),
    retireKey: (actor) => change("retire", actor),
  };
}

/** A log of three entries. */
function testingReader(asked: (query: EntriesQuery) => void): LedgerReader {
  return {
    entries: (query) => {
      asked(query);
      const first = (query.after ?? -1) + 1;
      const items = entries.slice(first, first + query.limit);
      const end = first + items.length;
      return Promise.resolve({ items, next: end < entries.length ? end - 1 : null });
    },
    inclusionProof: (index) => {
      if (index >= entries.length) {
        throw new ProblemError("ENTRY_NOT_FOUND", `Cannot prove entry ${index}: none`);
      }
      return Promise.resolve({ index, size: 3, hashes: [emptyHash, emptyHash], checkpoint: note });
    },
    consistencyProof: (from, to = 3) => Promise.resolve({ from, to, hashes: [emptyHash] }),
    tile: (place) =>
      Promise.resolve(place.index === 0 ? new TextEncoder().encode(JSON.stringify(place)) : undefined),
    bundle: (from, to = 3) => {
      const [origin, sides] = ["airlock.test", { left: [], right: [] }];
      const header = {
        format: "airlock-ledger-bundle@v1" as const,
        origin,
        from,
        to,
        size: 3,
        keys: [],
        ...sides,
      };
      const lines = entries.slice(from, to).map(({ line }) => new TextEncoder().encode(`${line}\n`));
      return Promise.resolve({ header: { ...header, checkpoint: note }, lines: iterate(lines) });
    },
  };
}

async function* iterate<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

const emptyHash = Uint8Array.fromHex(sha256("")).toBase64();

const roleOf: Record<string, Role> = {
  "secret-viewer": "viewer",
  "secret-invoker": "invoker",
  "secret-operator": "operator",
  "secret-admin": "admin",
};

function testingTokens(refused: () => void): ApiKernel["tokens"] {
  const known: TokenView = {
    id: "t1",
    name: "ci",
    role: "viewer",
    createdAt: "2026-11-20T10:00:00.000Z",
    revokedAt: null,
  };
  return {
    authenticate: (secret) => {
      const role = roleOf[secret];
      return role === undefined ? undefined : { id: role, role, actor: `token:${role}` };
    },
    create: ({ name, role }) =>
      Promise.resolve({ token: { ...known, name, role }, secret: "once", checkpoint: checkpointBase64 }),
    list: () => ({ items: [known], next: null }),
    revoke: (id) => {
      if (id !== known.id) throw new ProblemError("TOKEN_NOT_FOUND", `Cannot revoke "${id}": no such token`);
      const token = { ...known, revokedAt: "2026-11-20T11:00:00.000Z" };
      return Promise.resolve({ token, checkpoint: checkpointBase64 });
    },
    refused,
  };
}

function pluginNamed(id: string): PluginView {
  return {
    id,
    version: "1.0.0",
    name: null,
    description: null,
    state: "running",
    enabled: true,
    standing: "admitted",
    status: "ready",
    kind: "custom",
    tier: "tool",
    signed: false,
    packageSha256: sha256(id),
    isolation: "sealed",
    pid: 4711,
    loadedAt: "2026-11-20T10:00:00.000Z",
    lastActivityAt: null,
    limits: {},
    restarts: 0,
    breaker: "closed",
    critical: false,
    health: null,
    actions: {},
    requested: {},
    granted: {},
    lastError: null,
  };
}

const plugins = new Map(["echo", "hello", "words"].map((id) => [id, pluginNamed(id)]));

function findPlugin(id: string): PluginView {
  const plugin = plugins.get(id);
  if (plugin === undefined) {
    throw new ProblemError("PLUGIN_NOT_FOUND", `Cannot find plugin "${id}": it is not installed`);
  }
  return plugin;
}

function grantsOf(_plugin: PluginView): GrantsView {
  const granted = { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false };
  return { requested: { net: ["api.example.com:443"] }, granted, operator: {} };
}
