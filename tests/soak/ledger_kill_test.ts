/**
 * Rounds in which the kernel, and now and then the warden with it, is killed while many callers write to the
 * ledger. After each, nothing that was acknowledged is lost, the log is whole, and it begins with the log of the
 * round before: by what it serves, and by what lies in its folder.
 *
 *     deno task soak         500 rounds, several Airlocks at once: the warden pauses between two lives
 *     deno task test         a few
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import { Airlock, leftovers, manifest, temporaryFolder, until } from "../support/airlock.ts";
import { checkConsistent, openSigned } from "../support/ledger.ts";
import { runToEnd } from "../support/processes.ts";
import { LedgerFollower } from "./ledger_follower.ts";
import { isLongRun, roundsAsked, tell } from "./traces.ts";

const rounds = roundsAsked(6);
/** The rounds are shared out among so many. */
const airlocks = isLongRun ? 4 : 1;
const callers = 24;
const tokenMakers = 2;
/** The moment of the kill, from the first answer under load. */
const latestMs = 600;
/** Every so many rounds the warden is killed, and Airlock started again. */
const wardenEvery = 5;
const backTimeoutMs = 20_000;
const main = new URL("../../main.ts", import.meta.url).pathname;

const plugins = {
  echo: {
    "plugin.jsonc": manifest("echo", { actions: { run: { concurrency: callers } } }),
    "mod.ts": `export const actions = { run: (input) => input };`,
  },
};

Deno.test(`${rounds} kills under load lose no acknowledged entry`, async () => {
  const each = Math.ceil(rounds / airlocks);
  const lines = await Promise.all(Array.from({ length: airlocks }, (_, index) => soak(index, each)));
  for (const line of lines) tell(line);
});

async function soak(index: number, rounds: number): Promise<string> {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  await using lives = new AsyncDisposableStack();
  const start = async () => lives.use(await Airlock.start({ dataDir, plugins }));
  let airlock = await start();
  const ledger = new LedgerFollower();
  await ledger.check(airlock);
  for (let round = 1; round <= rounds; round++) {
    const isWarden = round % wardenEvery === 0;
    const pid = isWarden ? airlock.pid : await airlock.kernelPid();
    await killUnderLoad(airlock, pid, ledger);
    if (isWarden) {
      await airlock.ended();
      await until("every process gone", () => leftovers(dataDir).length === 0, backTimeoutMs);
      airlock = await start();
    } else {
      await until("the kernel back", () => isReady(airlock), backTimeoutMs);
    }
    await checkWhole(airlock, ledger);
    if (round % 10 === 0) tell(`Airlock ${index}, round ${round}: ${ledger.checkedCount} answers checked`);
  }
  ok(ledger.checkedCount > rounds, `${ledger.checkedCount} answers in ${rounds} rounds`);
  const entries = [...ledger.counts.values()].reduce((sum, count) => sum + count);
  return `Airlock ${index}: ${rounds} kills, ${entries} entries, ${ledger.checkedCount} acknowledged and found, ` +
    `${ledger.counts.get("ledger.recovered") ?? 0} times the end of the log was cut`;
}

/** Has many write, and kills `pid` at a random moment of it. */
async function killUnderLoad(airlock: Airlock, pid: number, ledger: LedgerFollower): Promise<void> {
  let isKilled = false;
  const answered = Promise.withResolvers<void>();
  const writers = [
    ...Array.from({ length: callers }, (_, caller) => async () => {
      const answer = await airlock.invoke("echo", "run", { caller });
      equal(answer.status, 200, JSON.stringify(answer.body));
      ledger.acknowledge(answer);
    }),
    ...Array.from({ length: tokenMakers }, () => async () => {
      const created = await airlock.request<{ id: string }>("POST", "/v1/tokens", {
        name: "x",
        role: "viewer",
      });
      equal(created.status, 201, JSON.stringify(created.body));
      ledger.acknowledgeToken("token.created", created);
      const revoked = await airlock.request("DELETE", `/v1/tokens/${created.body.id}`);
      equal(revoked.status, 200, JSON.stringify(revoked.body));
      ledger.acknowledgeToken("token.revoked", revoked);
    }),
  ];
  const work = Promise.all(writers.map(async (write) => {
    try {
      while (!isKilled) {
        await write();
        answered.resolve();
      }
    } catch (error) {
      // Only the kill excuses an answer that did not come.
      if (!isKilled || !(error instanceof TypeError)) throw error;
    }
  }));
  await Promise.race([answered.promise, work]);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * latestMs));
  isKilled = true;
  Deno.kill(pid, "SIGKILL");
  await work;
}

/** Holds what is served and what lies in the folder to every answer, and to the newest checkpoint of them. */
async function checkWhole(airlock: Airlock, ledger: LedgerFollower): Promise<void> {
  const { anchor } = ledger;
  const newer = await ledger.check(airlock);
  const anchorArgs: string[] = [];
  if (anchor !== undefined) {
    const older = openSigned(anchor, ledger.key);
    const { status, body } = await airlock.request<{ hashes: string[] }>(
      "GET",
      `/v1/ledger/proofs/consistency?from=${older.size}&to=${newer.size}`,
    );
    equal(status, 200, JSON.stringify(body));
    checkConsistent(older, newer, body.hashes);
    const path = `${airlock.dataDir}/../anchor`;
    await Deno.writeTextFile(path, anchor);
    anchorArgs.push("--anchor", path);
  }
  const { code, stdout, stderr } = await runToEnd([
    ...[Deno.execPath(), "run", "--quiet", "-A", "--cached-only", main],
    ...["ledger", "verify", airlock.dataDir, "--key", ledger.key, ...anchorArgs],
  ]);
  equal(code, 0, stdout + stderr);
}

async function isReady(airlock: Airlock): Promise<boolean> {
  try {
    return (await airlock.request("GET", "/readyz")).status === 200;
  } catch {
    return false; // nobody listens between two lives
  }
}
