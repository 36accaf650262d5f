/**
 * Runs the rows of the escape corpus in one tier: in lanes, each against an Airlock of its own in a world of
 * its own, and there one after the other. So what changed outside during a row is that row's doing.
 *
 * @module
 */
import { equal, match } from "node:assert/strict";
import type { Isolation } from "../../schemas/capabilities.ts";
import { until } from "../support/airlock.ts";
import { neighbourId, neighbourPart } from "./attackers.ts";
import {
  type AttackRow,
  expectedIn,
  isNotHeld,
  isPackageRow,
  outcomesOf,
  type Row,
  type RowClass,
  type Seen,
} from "./row.ts";
import { breachesOf, controlSocketOf, makeWorld, type View, viewOf, type World } from "./world.ts";

/** An error is told in less. */
const lastEventCharsMax = 10_000;
/** From the first byte of the request; any attack ends before, one way or the other. */
const answerTimeoutMs = 20_000;

/** Classes whose rows mostly wait for cells to end and to start again. */
const slowClasses: readonly RowClass[] = ["nested Workers", "exhaustion", "node compatibility"];

interface Lane {
  has(row: Row): boolean;
  /** Packages that never start are waited for; what else starts may take long on a machine that is busy. */
  readonly startTimeoutMs: number;
}

const lanes: readonly Lane[] = [
  { has: isPackageRow, startTimeoutMs: 4_000 },
  { has: (row) => !isPackageRow(row) && slowClasses.includes(row.class), startTimeoutMs: 10_000 },
  { has: (row) => !isPackageRow(row) && !slowClasses.includes(row.class), startTimeoutMs: 10_000 },
];

/** What came of one row. */
export interface RowRun {
  readonly row: Row;
  /** Undefined where the row failed. */
  readonly seen?: Seen;
  /** Why it is not what the row says; undefined if it is. */
  readonly failure?: Error;
}

/** Every row that says something of `tier`, in the order of `rows`. */
export async function runRows(tier: Isolation, rows: readonly Row[]): Promise<RowRun[]> {
  const stated = rows.filter((row) => expectedIn(row, tier) !== undefined);
  const runs = (await Promise.all(
    lanes.map((lane) => runLane(tier, stated.filter(lane.has), lane.startTimeoutMs)),
  )).flat();
  return runs.sort((one, other) => stated.indexOf(one.row) - stated.indexOf(other.row));
}

async function runLane(tier: Isolation, rows: readonly Row[], startTimeoutMs: number): Promise<RowRun[]> {
  await using world = await makeWorld(tier, rows, startTimeoutMs);
  const runs: RowRun[] = [];
  // What was seen after a row is what the next one finds.
  let view: View | undefined;
  for (const row of rows) {
    try {
      const checked = await checkRow(world, row, view);
      view = checked.view;
      runs.push({ row, seen: checked.seen });
    } catch (failure) {
      view = undefined;
      runs.push({ row, failure: failure instanceof Error ? failure : new Error(String(failure)) });
      // The next row of this attacker would fail too, and say so; those of the others would not.
      await recover(world, row).catch(() => {});
    }
  }
  return runs;
}

/** One step for each row. */
export async function testRows(tier: Isolation, rows: readonly Row[], test: Deno.TestContext): Promise<void> {
  for (const { row, failure } of await runRows(tier, rows)) {
    await test.step(`${row.class}: ${row.name}`, () => {
      if (failure !== undefined) throw failure;
    });
  }
}

interface Answered {
  readonly outcome: string;
  readonly text: string;
}

interface Checked {
  readonly seen: Seen;
  /** What the next row finds; undefined where it has to look for itself. */
  readonly view: View | undefined;
}

async function checkRow(world: World, row: Row, last: View | undefined): Promise<Checked> {
  const expected = expectedIn(row, world.tier);
  if (expected === undefined) throw new TypeError(`"${row.name}" says nothing of ${world.tier}`);
  await using stack = new AsyncDisposableStack();
  const prepare = isPackageRow(row) ? undefined : row.prepare;
  if (prepare !== undefined) stack.defer(await prepare(world));
  const before = prepare === undefined && last !== undefined ? last : await viewOf(world);
  if (!isPackageRow(row) && row.worksWithin) {
    const { neighbour } = await attackBeside(world, row, row.by);
    if (!neighbour.includes(world.aim.mark)) {
      throw new Error(`within one plugin it is not found: ${neighbour}`);
    }
  }
  const { attacked, neighbour } = isPackageRow(row)
    ? { attacked: await callPackage(world, row), neighbour: "" }
    : await attackBeside(world, row, neighbourId);
  const answers = { attacker: attacked.text, neighbour };
  const after = await viewOf(world);
  const breaches = breachesOf(world, before, after, answers);

  const allowed = isNotHeld(expected) ? [...expected.breaches].sort() : [];
  equal([...breaches.keys()].sort().join(), allowed.join(), [...breaches.values()].join("\n") || "no breach");
  const outcome = withoutSecrets(world, attacked.outcome);
  if (!outcomesOf(expected).includes(outcome)) {
    equal(outcome, outcomesOf(expected).join(" or "), attacked.text);
  }
  if (row.says !== undefined) match(attacked.text, row.says);
  equal(await row.verify?.(world), undefined);
  if (!isPackageRow(row) && row.spoils) await restart(world, row.by);
  if (attacked.outcome.startsWith("fails ")) await recover(world, row);
  // What was prepared is undone now, and an attack that succeeded changed what is there.
  const view = prepare === undefined && breaches.size === 0 ? after : undefined;
  return { seen: { outcome, breaches: [...breaches.keys()].sort() }, view };
}

/** The attack, and meanwhile the neighbour's part, if it has one, in `plugin`: until it is told that the attack is over. */
async function attackBeside(
  world: World,
  row: AttackRow,
  plugin: string,
): Promise<{ attacked: Answered; neighbour: string }> {
  if (row.neighbour === undefined) return { attacked: await attack(world, row), neighbour: "" };
  const input = { name: neighbourPart(row.name), aim: { ...world.aim, mark: "" } };
  const neighbour = invoke(world, plugin, "attack", input);
  const attacked = await attack(world, row);
  await invoke(world, plugin, "over", {});
  return { attacked, neighbour: (await neighbour).text };
}

async function attack(world: World, row: AttackRow): Promise<Answered> {
  const { airlock } = world;
  if (row.needsControlSocket) await restart(world, row.by);
  const aim = row.needsControlSocket
    ? { ...world.aim, controlSocket: await controlSocketOf(world, row.by) }
    : world.aim;
  if (row.grants === undefined) {
    const action = row.action ?? (row.endless ? "endless" : "attack");
    return await invoke(world, row.by, action, { name: row.name, aim });
  }
  const path = `/v1/plugins/${row.by}/grants`;
  const { status, body } = await airlock.request("PUT", path, row.grants(aim));
  if (status !== 200) return answered(status, JSON.stringify(body));
  try {
    await row.afterGrants?.(world);
    return await invoke(world, row.by, "attack", { name: row.name, aim });
  } finally {
    equal((await airlock.request("PUT", path, {})).status, 200);
  }
}

async function callPackage(world: World, row: Row): Promise<Answered> {
  return await invoke(world, world.packageIds.get(row) ?? "", "run", {});
}

async function invoke(world: World, plugin: string, action: string, input: unknown): Promise<Answered> {
  const { url, token } = world.airlock;
  // A stream is asked for as one, so that its tokens come through the kernel.
  const accept = action === "stream" ? "text/event-stream" : "application/json";
  const response = await fetch(`${url}/v1/plugins/${plugin}/actions/${action}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", accept },
    body: JSON.stringify(input),
    signal: AbortSignal.timeout(answerTimeoutMs),
  });
  const text = await response.text();
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  return isStream ? streamed(text) : answered(response.status, text);
}

/** What its last event tells. */
function streamed(text: string): Answered {
  const [, event, data = ""] =
    /\nevent: ([A-Z]+)\ndata: ([^\n]*)\n\n$/.exec(text.slice(-lastEventCharsMax)) ?? [];
  if (event !== "ERROR") return { outcome: `answers ${event}`, text };
  return { outcome: `fails ${JSON.parse(data).code}`, text };
}

/** In words. What is not the attacker's own report of an attempt, a forged output, is shown as it is. */
function answered(status: number, text: string): Answered {
  const body = JSON.parse(text);
  if (status !== 200) return { outcome: `fails ${body.code}`, text };
  const { output } = body;
  if (typeof output === "object" && output !== null) {
    if ("thrown" in output) return { outcome: `throws ${output.thrown}`, text };
    if ("value" in output) return { outcome: `gives ${JSON.stringify(output.value)}`, text };
  }
  return { outcome: `answers ${JSON.stringify(output)}`, text };
}

/** An outcome that the table can name: what is random is `<canary>` and the like. */
function withoutSecrets({ outside }: World, outcome: string): string {
  return Object.entries(outside.secrets).reduce(
    (text, [name, secret]) => text.replaceAll(secret, `<${name}>`),
    outcome,
  );
}

async function restart(world: World, plugin: string): Promise<void> {
  for (const verb of ["stop", "start"]) {
    const { status, body } = await world.airlock.request("POST", `/v1/plugins/${plugin}/${verb}`);
    equal(status, 200, JSON.stringify(body));
  }
}

/** Until the attacker is there again: its cell may have ended with the attack. */
async function recover(world: World, row: Row): Promise<void> {
  if (isPackageRow(row)) return;
  await until(
    `"${row.by}" works again after "${row.name}"`,
    async () => (await invoke(world, row.by, "fine", {})).outcome === 'answers "fine"',
    20_000,
  );
}
