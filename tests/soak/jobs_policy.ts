/**
 * The policy of a job, as it is promised, held against its history.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import { type History, type Life, livesOf, type Told } from "./jobs_history.ts";
import { isIdempotent } from "./jobs_plugin.ts";
import type { JobSpec } from "./jobs_requests.ts";

export interface PolicyOptions {
  readonly interruptionsMax: number;
  /** Somebody asked to cancel it, or the pipeline that it is a part of. */
  readonly mayBeCancelled: boolean;
  /** A job with this id ended at least once without completing. */
  hasFailed(id: string): boolean;
  /** When it completed, in milliseconds; NaN if it did not. */
  completedAtMs(id: string): number;
}

const interruptions = ["PLUGIN_CRASHED", "JOB_INTERRUPTED"];

/** What every job has to keep to. Returns its lives. */
export function checkAccount({ view, events, entries, effects }: History): Life[] {
  const { id } = view;
  const lives = livesOf(id, events);
  equal(entries.enqueued, 1, `${id}: job.enqueued`);
  deepEqual(
    entries.ends,
    lives.map(({ end }) => end),
    `${id}: the ends in the ledger are those of the events`,
  );
  const end = lives.at(-1)?.end;
  equal(view.state, end?.state, id);
  equal(view.attempt, end?.attempt, id);
  if (view.state === "failed") equal(view.error?.code, end?.code, id);
  const completed = entries.ends.filter(({ state }) => state === "completed").length;
  equal(completed, Number(view.state === "completed"), `${id} completed ${completed} times`);
  const { accepted } = entries;
  ok(
    accepted.every((lease, at) => lease > (accepted[at - 1] ?? 0)),
    `${id}: leases ${accepted} were accepted`,
  );
  const worked = new Set(effects.map(({ attempt }) => attempt));
  ok(
    worked.size <= accepted.length,
    `${id}: attempts ${[...worked]} worked, and leases ${accepted} were accepted`,
  );
  return lives;
}

/** Fails where what became of the job is not what its policy says. */
export function checkPolicy(spec: JobSpec, history: History, lives: readonly Life[], options: PolicyOptions) {
  const { view, effects } = history;
  const { id, attempt: last } = view;
  const isRepeatable = isIdempotent(spec.action);
  const workedIn = (attempt: number, what: "begun" | "done") =>
    effects.filter((effect) => effect.attempt === attempt && effect.what === what).length;
  for (let attempt = 1; attempt <= last; attempt++) {
    const begun = workedIn(attempt, "begun");
    ok(begun <= 1, `${id}: attempt ${attempt} of "${spec.action}" began ${begun} times`);
  }
  for (const life of lives) checkLife(spec, id, life, options);
  checkFirstBegin(spec, view, lives[0], options);
  for (const life of lives) for (const told of life.attempts) checkTokens(spec, id, told);
  if (view.state !== "completed") return;
  deepEqual(
    view.output,
    { tag: spec.input.tag, value: spec.input.value },
    `${id}: ${JSON.stringify(view.output)}`,
  );
  const done = effects.filter(({ what }) => what === "done").length;
  const doneLast = workedIn(last, "done");
  ok(doneLast >= 1, `${id} completed, and its work was not done`);
  // An attempt that was cut off after its work was done fails for good, and is tried again on demand alone.
  if (!isRepeatable && lives.length === 1 && spec.codes === undefined) equal(done, 1, `${id}: effects`);
  const told = lives.at(-1)?.attempts.at(-1);
  equal(told?.tokens.length, spec.input.tokens, `${id}: tokens of the attempt that completed`);
}

/** Whether another attempt follows one that failed with `code`. */
function isMadeAgain(
  spec: JobSpec,
  code: string,
  counts: { failures: number; interruptions: number },
  max: number,
) {
  if (code === "") return true;
  const isCut = interruptions.includes(code);
  if (isCut && isIdempotent(spec.action) && counts.interruptions < max) {
    counts.interruptions++;
    return true;
  }
  const isSafe = code === "ACTION_FAILED" || (isCut && isIdempotent(spec.action));
  const isNamed = spec.codes?.includes(code) ?? isSafe;
  counts.failures++;
  return isNamed && counts.failures < spec.attempts;
}

function checkLife(spec: JobSpec, id: string, life: Life, options: PolicyOptions): void {
  const { attempts, end } = life;
  const counts = { failures: 0, interruptions: 0 };
  const beforeLast = end?.state === "failed" && attempts.at(-1)?.code === end.code ? -1 : attempts.length;
  for (const [at, { code }] of attempts.slice(0, beforeLast).entries()) {
    if (code === null) equal(at, attempts.length - 1, `${id}: an attempt without an end`);
    else ok(isMadeAgain(spec, code, counts, options.interruptionsMax), `${id} was made again after ${code}`);
  }
  switch (end?.state) {
    case "completed":
      return ok(
        ["ok", "first", "crashFirst"].includes(spec.input.how),
        `${id} completed, "${spec.input.how}"`,
      );
    case "cancelled":
      return ok(options.mayBeCancelled, `${id} was cancelled by nobody`);
    default:
      return checkFailure(spec, id, life, counts, options);
  }
}

function checkFailure(
  spec: JobSpec,
  id: string,
  { attempts, end }: Life,
  counts: { failures: number; interruptions: number },
  { interruptionsMax, hasFailed }: PolicyOptions,
): void {
  const code = end?.code ?? "";
  const { how } = spec.input;
  if (code === "JOB_EXPIRED") return ok(spec.ttlMs !== null && spec.ttlMs < 60_000, `${id} expired`);
  if (code === "DEPENDENCY_FAILED") return ok(spec.dependsOn.some(hasFailed), `${id}: none of those failed`);
  equal(attempts.at(-1)?.code, code, `${id}: the code of its last attempt`);
  ok(code === "ACTION_FAILED" || interruptions.includes(code), `${id} failed with ${code}`);
  if (code === "ACTION_FAILED") ok(["always", "first"].includes(how), `${id}: "${how}" failed by itself`);
  ok(!isMadeAgain(spec, code, counts, interruptionsMax), `${id} was not made again after ${code}`);
}

/** Not before its time, nor before those that it depends on have completed. A redrive does not wait for its time. */
function checkFirstBegin(
  spec: JobSpec,
  { id, createdAt }: JobView,
  life: Life | undefined,
  options: PolicyOptions,
) {
  const [first] = life?.attempts ?? [];
  const runAtMs = life?.runAtMs ?? 0;
  // The instant was reckoned from just before the job was made.
  ok(runAtMs > Date.parse(createdAt) + spec.delayMs - 5_000 || spec.delayMs === 0, `${id}: its delay`);
  if (first === undefined) return;
  const earliestMs = Math.max(runAtMs, ...spec.dependsOn.map(options.completedAtMs));
  ok(first.startedAtMs >= earliestMs, `${id} began at ${first.startedAtMs}, its turn was at ${earliestMs}`);
}

/** Those that came are the first ones, each once and in order, and of this attempt. */
function checkTokens(spec: JobSpec, id: string, { attempt, tokens }: Told): void {
  ok(tokens.length <= spec.input.tokens, `${id}: ${tokens.length} tokens of attempt ${attempt}`);
  for (const [i, token] of tokens.entries()) deepEqual(token, { attempt, i }, `${id}: token ${i}`);
}
