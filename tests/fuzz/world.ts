/**
 * The world that is fuzzed: a real Airlock with quick plugins, small limits, a token of each role, and the ids of
 * what the fuzzing has made in it.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import { type Role, roles } from "../../schemas/api.ts";
import { Airlock, manifest } from "../support/airlock.ts";

const source = `
export const actions = {
  run: (input) => input,
  async slow() { await new Promise((resolve) => setTimeout(resolve, 20)); return "late"; },
  async *tokens(_input, { progress }) { for (let n = 0; n < 5; n += 1) { progress(n / 5, "n"); yield { n }; } },
  note(_input, { log }) { log.info("noted"); return null; },
  fail() { throw new Error("on purpose"); },
};`;

const quick = { timeoutMs: 1_000 };
const calm = { run: quick, slow: quick, note: quick, tokens: { ...quick, stream: true } };
const restart = { max: 100 };

/** Ids of plugins that bodies and calls name; `steady` is never stopped, and so often what is meant. */
export const pluginNames = [
  ...Array.from({ length: 12 }, () => "steady"),
  ...["moody", "moody", "broken", "absent"],
];
/** Ids that orders are given to. */
export const orderedPluginNames = ["moody", "moody", "moody", "broken", "absent"] as const;
export const actionNames = [
  ...["run", "run", "run", "run", "slow", "slow", "tokens", "tokens"],
  ...["note", "note", "fail", "absent"],
];

/** Small, so that they are met, and so that nothing grows with the number of cases. */
const config = {
  http: { bodyBytesMax: 200_000 },
  streams: { messageBytesMax: 200_000 },
  cells: {
    tier: "process",
    restartBackoffMs: 10,
    restartBackoffMaxMs: 50,
    cellWaitMs: 500,
    breakerOpenMs: 50,
  },
  jobs: {
    ...{ retentionMs: 5_000, deadlineMs: 2_000, cancelGraceMs: 100, pauseMs: 100, backoffMaxMs: 100 },
    ...{ schedulesMax: 50, keptMax: 5_000, waitingMax: 50_000 },
  },
  tokensMax: 100,
};

const errorsShownMax = 20;
/** No more ids of a kind are remembered; the oldest go. */
const poolMax = 64;
const noSuchId = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/** Ids of what there is, by the collection that it is in: `/v1/jobs` is "jobs". */
export class Pools {
  readonly #ids = new Map<string, string[]>();

  add(collection: string, id: string): void {
    const ids = this.#ids.get(collection) ?? [];
    ids.unshift(id);
    this.#ids.set(collection, ids.slice(0, poolMax));
  }

  /** `text` with an id in place of each mark `@collection:n@`. */
  fill(text: string): string {
    return text.replaceAll(/@([a-z]+):([0-9]+)@/g, (_mark, collection: string, n: string) => {
      const ids = this.#ids.get(collection) ?? [];
      return ids[Number(n) % Math.max(ids.length, 1)] ?? noSuchId;
    });
  }
}

export interface World extends AsyncDisposable {
  readonly airlock: Airlock;
  readonly pools: Pools;
  readonly tokens: Readonly<Record<Role, string>>;
  /** What went wrong, by the log. */
  errors(): string[];
  /** That nothing did, and that it is the kernel that was started. */
  check(): Promise<void>;
}

export async function startWorld(): Promise<World> {
  const airlock = await Airlock.start({
    plugins: {
      steady: {
        "plugin.jsonc": manifest("steady", { actions: calm, limits: { cpuPercent: 100 } }),
        "mod.ts": source,
      },
      moody: {
        "plugin.jsonc": manifest("moody", {
          actions: { ...calm, fail: quick },
          ...{ restart, capabilities: { net: ["api.example.com:443"], read: ["/srv/models"] } },
        }),
        "mod.ts": source,
      },
      broken: { "plugin.jsonc": "{", "mod.ts": source },
    },
    config,
  });
  const pid = await airlock.kernelPid();
  const secrets: [Role, string][] = [];
  for (const role of roles) {
    const made = await airlock.request<{ token: string }>("POST", "/v1/tokens", { name: role, role });
    equal(made.status, 201);
    secrets.push([role, made.body.token]);
  }
  return {
    airlock,
    pools: new Pools(),
    tokens: Object.fromEntries(secrets) as Record<Role, string>,
    errors: () => errorsOf(airlock),
    async check() {
      const errors = errorsOf(airlock);
      equal(errors.length, 0, `errors are in the log:\n${errors.join("\n")}`);
      equal(await airlock.kernelPid(), pid, "the kernel ended, and was started again");
    },
    [Symbol.asyncDispose]: () => airlock[Symbol.asyncDispose](),
  };
}

/** Lines of errors, and whatever is no line of the log: a runtime that dies says so in its own words. */
function errorsOf({ output }: Airlock): string[] {
  return output.stderr.split("\n")
    .filter((line) => line !== "" && (!line.startsWith("{") || /"level":"(?:ERROR|FATAL)"/.test(line)))
    .slice(0, errorsShownMax);
}

export interface Extent {
  readonly cases: number;
  readonly seed: number;
  readonly isLongRun: boolean;
}

/** Of `part` of the cases: the first word after `--`, else few; the second is a seed, to run the same again. */
export function extentAsked(part: number): Extent {
  const [cases = "3000", seed] = Deno.args;
  const isLongRun = Deno.args.length > 0;
  const extent = {
    cases: Math.ceil(Number(cases) * part),
    // Every run of the tests is the same one: a fault that is found is found again.
    seed: Number(seed ?? (isLongRun ? crypto.getRandomValues(new Int32Array(1))[0] : 1)),
    isLongRun,
  };
  ok(extent.cases > 0 && Number.isInteger(extent.seed), `Cannot run "${Deno.args.join(" ")}": not numbers`);
  return extent;
}

export function tell(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}
