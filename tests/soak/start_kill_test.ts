/**
 * Rounds of starting and killing cells, in both tiers, after which nothing of them is left over.
 *
 *     deno task soak         500 rounds
 *     deno task test         a few
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { Airlock, isSealedAvailable, manifest, temporaryFolder, until } from "../support/airlock.ts";
import { isAlive } from "../support/processes.ts";
import {
  anonymousMb,
  checkNothingLeft,
  isLongRun,
  riseMb,
  roundsAsked,
  serveCommandTight,
  tell,
  tightMemory,
  type Traces,
  tracesOf,
} from "./traces.ts";

const rounds = roundsAsked(20);

/** What the memory of a process that is warm may rise by, the noise of its garbage: 600 cells that are kept are more. */
const riseMbMax = { kernelMb: 16, wardenMb: 4 } as const;
/** A process takes memory from the machine until its garbage is first collected: that much work comes before. */
const warmUpCalls = 15_000;
const callers = 4;

const source = `
const forever = () => new Promise(() => {});
export const actions = {
  run: (input) => input,
  async hold(_input, { dataDir }) {
    await Deno.writeTextFile(dataDir + "/held", "");
    return await forever();
  },
  fail() { setTimeout(() => { throw new Error("on purpose"); }, 0); return forever(); },
  abort: () => Deno.kill(Deno.pid, "SIGABRT"),
  spin() { for (;;); },
  async fill() {
    for (const kept = [];;) {
      kept.push(new Uint8Array(4_194_304).fill(1));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  },
};
`;

interface Memory {
  readonly round: number;
  readonly kernelMb: number;
  readonly wardenMb: number;
}

/** A way for a cell to end, and the code that the call under way gets. */
const ends = [
  { way: "fail", code: "PLUGIN_CRASHED" },
  { way: "abort", code: "PLUGIN_CRASHED" },
  { way: "spin", code: "LIMIT_WALL" },
  { way: "fill", code: "LIMIT_MEMORY" },
  { way: "SIGKILL", code: "PLUGIN_CRASHED" },
  { way: "stop", code: "PLUGIN_STOPPED" },
] as const;

function plugin(id: string) {
  const action = {};
  return {
    "plugin.jsonc": manifest(id, {
      actions: {
        run: action,
        hold: action,
        fail: action,
        abort: action,
        spin: { timeoutMs: 50 },
        fill: action,
      },
      limits: { memoryMb: 32 },
      restart: { max: 1_000 },
    }),
    "mod.ts": source,
  };
}

Deno.test(`${rounds} rounds of starting and killing cells leave nothing over`, async () => {
  await using temporary = await temporaryFolder();
  const plugins = await isSealedAvailable() ? ["low", "high"] : ["low"];
  await using airlock = await Airlock.start({
    plugins: Object.fromEntries(plugins.map((id) => [id, plugin(id)])),
    config: {
      cells: { lower: ["low"], restartBackoffMs: 1, restartBackoffMaxMs: 1, breakerFailures: 1_000_000 },
    },
    env: { TMPDIR: temporary.path, ...tightMemory },
    command: serveCommandTight,
  });
  if (isLongRun) await warmUp(airlock);
  let expected: Traces | undefined;
  const memory: Memory[] = [];
  const startedMs = performance.now();
  for (let round = 0; round < rounds + ends.length; round++) {
    const end = ends[round % ends.length]!;
    await Promise.all(plugins.map((id) => endOnce(airlock, id, end)));
    if (end.way !== "stop") continue;
    // The first round through all ways is to warm up.
    if (expected === undefined) expected = await tracesOf(airlock);
    else await checkNothingLeft(airlock, expected, temporary.path);
    const [kernelMb, wardenMb] = [anonymousMb(await airlock.kernelPid()), anonymousMb(airlock.pid)];
    memory.push({ round, kernelMb, wardenMb });
    tell(
      `round ${round}, ${Math.round(performance.now() - startedMs)} ms: kernel ${kernelMb.toFixed(1)} MB, ` +
        `warden ${wardenMb.toFixed(1)} MB, ${expected.kernel.length}, ${expected.warden.length} descriptors`,
    );
    for (const id of plugins) await airlock.request("POST", `/v1/plugins/${id}/start`);
  }
  for (const id of plugins) await airlock.request("POST", `/v1/plugins/${id}/stop`);
  await checkNothingLeft(airlock, expected!, temporary.path);
  checkMemory(memory);
});

/** Wakes the plugin by a call, ends its cell in one way, and sees that the process is gone. */
async function endOnce(airlock: Airlock, id: string, { way, code }: (typeof ends)[number]): Promise<void> {
  deepEqual(await airlock.call(id, "run", { fine: true }), { fine: true });
  const { pid } = await airlock.plugin(id);
  ok(pid !== null && isAlive(pid));
  if (way === "stop") {
    equal((await airlock.request("POST", `/v1/plugins/${id}/stop`)).status, 200);
    equal((await airlock.fail(id, "run")).code, code);
  } else if (way === "SIGKILL") {
    const held = airlock.fail(id, "hold");
    const mark = `${airlock.dataDir}/plugins/${id}/held`;
    await until("the call under way", () => removed(mark));
    Deno.kill(pid, "SIGKILL");
    equal((await held).code, code);
  } else {
    const problem = await airlock.fail(id, way);
    equal(problem.code, code, `${way}: ${problem.detail}`);
  }
  await until(`the process of "${id}" gone after ${way}`, () => !isAlive(pid));
}

/** Removes a file; false when there is none yet. */
async function removed(path: string): Promise<boolean> {
  try {
    await Deno.remove(path);
    return true;
  } catch {
    return false;
  }
}

async function warmUp(airlock: Airlock): Promise<void> {
  await Promise.all(Array.from({ length: callers }, async () => {
    for (let call = 0; call < warmUpCalls / callers; call++) {
      await airlock.call("low", "run");
    }
  }));
}

/** A short run says nothing. */
function checkMemory(memory: readonly Memory[]): void {
  for (const process of ["kernelMb", "wardenMb"] as const) {
    const rise = riseMb(memory.map((at) => at[process]));
    tell(`${process} rose by ${rise.toFixed(1)}`);
    if (isLongRun) ok(rise <= riseMbMax[process], `${process} rose by ${rise}`);
  }
}
