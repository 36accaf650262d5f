/**
 * The router takes one call through the kernel: which plugin, which action, may it, then its cell and back.
 *
 * Order is the contract: a call is in the ledger before its plugin sees the input, and its outcome is there
 * before the caller sees the answer. A call that was accepted has two entries, `call.accepted` and then
 * `call.completed` or `call.failed`; between them stands `call.retried` when an idempotent one was made again after its
 * cell had ended. A call that is refused has one, `call.refused`; of a caller who is refused again and again, most
 * are only counted, see `refusal_budget.ts`; of a job's call, whose job tells of it, none.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { checkCallable } from "../lifecycle/installed.ts";
import type { Plugins } from "../lifecycle/plugins.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { clipTarget, type RefusalBudget } from "../trust/refusal_budget.ts";
import { type Call, type CallableCell, type CallResult, type CallTerms, watched } from "./call.ts";
import { sha256Hex, SlowLane } from "../../sandbox/slow_lane.ts";
import { Lines } from "./lines.ts";
import { breakerOpen, describeRoute, findRoute, type Route, termsOf } from "./route.ts";
import type { Turnstile } from "./turnstile.ts";

export interface RouterDeps {
  readonly plugins: Pick<Plugins<CallableCell>, "find" | "nameOf">;
  readonly ledger: Pick<Ledger, "append">;
  readonly metrics: Pick<Metrics, "refused" | "callEnded">;
  readonly refusals: Pick<RefusalBudget, "take">;
  /** Calls that may wait, for each action. */
  readonly callsPendingMax: number;
  /** Inputs of all calls under way and waiting. */
  readonly inputBytesPendingMax: number;
  /** A call waits for its cell as long as it may then take, and at least this long. */
  readonly cellWaitMs: number;
  /** The kernel's; one of its own where it is left out. */
  readonly lane?: SlowLane;
}

/** A call, and what would take it. */
interface Routed extends Omit<Route, "action"> {
  readonly call: Call;
  readonly digest: string;
  readonly isIdempotent: boolean;
  /** Of the action's and the plugin's own time; `wallMs` is what the caller leaves of it. */
  readonly hardMs: number;
  readonly startedMs: number;
  /** Its caller is about to be answered while its action goes on until `ended`. */
  onLeft?(ended: Promise<void>): void;
}

/** A call past all checks. */
interface Accepted extends Routed {
  readonly plugin: string;
  readonly index: number;
}

/** How many cells a call is offered to. */
const wakesMax = 4;
/** How often an idempotent call is made: one that ends two cells is most likely why they end. */
const attemptsMax = 2;
const emptyInput = new TextEncoder().encode("{}");

export class Router {
  readonly #lines: Lines;
  readonly #lane: SlowLane;
  #inputBytes = 0;
  readonly #underWay = new Set<Promise<unknown>>();
  #isDraining = false;

  constructor(private readonly deps: RouterDeps) {
    this.#lines = new Lines(deps.callsPendingMax);
    this.#lane = deps.lane ?? new SlowLane();
  }

  /** Rejects with ProblemError. */
  invoke(call: Call): Promise<CallResult> {
    return this.#track(this.#invoke(call), call);
  }

  #track<T>(work: Promise<T>, { input }: Call): Promise<T> {
    this.#underWay.add(work);
    this.#inputBytes += input.length;
    const forget = () => {
      this.#underWay.delete(work);
      this.#inputBytes -= input.length;
    };
    work.then(forget, forget); // what it rejects with is its caller's, or where there is none the plugin's next call's
    return work;
  }

  /**
   * What a call would meet now. Throws the ProblemError that {@linkcode Router.invoke} would reject with at once, and
   * PLUGIN_STOPPED for a suspended plugin, whose calls would wait. Records nothing and wakes nobody.
   */
  check(plugin: string, action: string): CallTerms {
    const route = this.#find(plugin, action);
    if (route.installed.plugin.state === "suspended") {
      throw new ProblemError("PLUGIN_STOPPED", `Cannot call plugin "${plugin}": it is suspended`);
    }
    return termsOf(route);
  }

  /**
   * `id@version` of a plugin that has the action, whether or not it may be called now. Throws PLUGIN_NOT_FOUND,
   * PLUGIN_REJECTED or ACTION_NOT_FOUND.
   */
  describe(plugin: string, action: string): { plugin: string } {
    return describeRoute(this.deps.plugins.find(plugin), action);
  }

  /** Takes no more calls, and waits for those under way, also where their callers no longer do. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  async #invoke(call: Call): Promise<CallResult> {
    const first = await this.#route(call, this.deps.inputBytesPendingMax);
    const { manifest, digest } = first;
    const turnstile = this.#lines.of(call, manifest, digest);
    const hasWaited = !turnstile.tryEnter();
    if (hasWaited) await this.#wait(turnstile, first);
    const left: { ended?: Promise<void> } = {};
    try {
      // The plugin may be another by now, or have been stopped: a call in line must not wake it.
      const routed = hasWaited ? { ...await this.#route(call), startedMs: first.startedMs } : first;
      return await this.#pass({ ...routed, onLeft: (ended) => left.ended = ended });
    } finally {
      // Its place stays taken, or a caller of little patience could have any number of actions run on.
      if (left.ended !== undefined) {
        void this.#track(left.ended.then(() => this.#leave(first, turnstile)), call);
      } else await this.#leave(first, turnstile);
    }
  }

  async #leave({ installed: { plugin }, manifest }: Routed, turnstile: Turnstile): Promise<void> {
    plugin.touch();
    try {
      if (manifest.reuse === "per-call") await plugin.inOrder(() => plugin.sleep("per-call"));
    } finally {
      turnstile.leave();
    }
  }

  /** Through the breaker, which learns how the call went. */
  async #pass(routed: Routed): Promise<CallResult> {
    const { call, installed } = routed;
    const permit = installed.breaker.enter();
    if (permit === undefined) throw await this.#refused(call, breakerOpen(installed));
    try {
      const result = await this.#accept(routed);
      permit.done("success");
      return result;
    } catch (error) {
      if (error instanceof ProblemError) permit.failed(error);
      else permit.done("neutral");
      throw error;
    }
  }

  async #accept(routed: Routed): Promise<CallResult> {
    const { call } = routed;
    const plugin = routed.installed.plugin.name;
    const appended = this.deps.ledger.append({
      type: "call.accepted",
      actor: call.actor,
      plugin,
      data: { action: call.action, request: call.request },
      commit: { input: call.input },
    });
    // The cell wakes while the entry goes to disk; it is given nothing before that is done.
    const [{ index }, woken] = await settled(appended, this.#awake(routed));
    const accepted: Accepted = { ...routed, plugin, index };
    const cell = await this.#takingCalls(woken, routed);
    if (cell instanceof ProblemError) return await this.#failed(accepted, cell);
    try {
      call.onAccepted?.(index);
    } catch (error) {
      return await this.#failed(accepted, asProblem(error));
    }
    return await this.#run(accepted, cell);
  }

  #awake(
    { call, installed, startedMs, wallMs }: Routed,
    untilMs = startedMs + wallMs,
  ): CallableCell | Promise<CallableCell> {
    const waitMs = Math.max(this.deps.cellWaitMs, Math.ceil(untilMs - performance.now()));
    return installed.plugin.awake({ signal: call.signal, waitMs });
  }

  /**
   * While the entry went to disk the cell may have been stopped: by other grants, or because it was idle. Then
   * the next one takes the call, unless an operator stopped the plugin.
   */
  async #takingCalls(
    woken: CallableCell | ProblemError,
    routed: Routed,
  ): Promise<CallableCell | ProblemError> {
    let cell = woken;
    try {
      for (let wakes = 1; wakes < wakesMax; wakes++) {
        if (cell instanceof ProblemError || cell.cell.takesCalls) return cell;
        checkCallable(routed.installed);
        cell = await this.#awake(routed);
      }
      return cell;
    } catch (error) {
      return asProblem(error);
    }
  }

  /** Makes the call; once more in a new cell when its cell ended under it and the action is idempotent. */
  async #run(accepted: Accepted, first: CallableCell): Promise<CallResult> {
    const { call, isIdempotent, wallMs, hardMs, onLeft } = accepted;
    const { action, request, signal, job, cancelGraceMs } = call;
    const { sink, hasBegun } = watched(call.sink);
    const attempted = {
      ...{ action, request, signal, input: call.input.length === 0 ? emptyInput : call.input },
      ...(sink === undefined ? {} : { sink }),
      ...(job === undefined ? {} : { job }),
      ...(cancelGraceMs === undefined ? {} : { cancelGraceMs }),
    };
    let cell = first;
    let usedMs = 0;
    const sinceMs = performance.now();
    const untilMs = sinceMs + wallMs;
    const leftOf = (ofMs: number) => Math.max(1, Math.ceil(ofMs - usedMs));
    for (let attempt = 1;; attempt++) {
      let output: Uint8Array<ArrayBuffer>;
      try {
        const soft = wallMs < hardMs && onLeft !== undefined
          ? { soft: { wallMs: leftOf(wallMs), onLeft } }
          : {};
        output = await cell.cell.call({ ...attempted, wallMs: leftOf(hardMs), ...soft });
      } catch (error) {
        const problem = asProblem(error);
        // A job has attempts of its own.
        const isRetried = call.job === undefined && problem.code === "PLUGIN_CRASHED" && isIdempotent &&
          attempt < attemptsMax &&
          !hasBegun() && !signal.aborted;
        const next = isRetried ? await this.#next(accepted, problem, untilMs) : undefined;
        if (next === undefined) return await this.#failed(accepted, problem);
        cell = next;
        usedMs = performance.now() - sinceMs;
        continue;
      }
      return await this.#completed(accepted, output);
    }
  }

  /** Another cell for a call whose cell ended, if there is one in time; that the call is made again is in the ledger. */
  async #next(
    accepted: Accepted,
    { code }: ProblemError,
    untilMs: number,
  ): Promise<CallableCell | undefined> {
    const { call: { action, request, actor }, plugin, index, installed } = accepted;
    let cell: CallableCell;
    try {
      // Another package may have come meanwhile, that says otherwise of its action.
      const manifest = checkCallable(installed);
      if (!Object.hasOwn(manifest.actions, action) || !manifest.actions[action]?.idempotent) return undefined;
      cell = await this.#awake(accepted, untilMs);
    } catch (error) {
      if (error instanceof ProblemError) return undefined;
      throw error;
    }
    const data = { action, request, accepted: index, code };
    await this.deps.ledger.append({ type: "call.retried", actor, plugin, data });
    return cell;
  }

  async #completed(
    { call, plugin, index, startedMs }: Accepted,
    output: Uint8Array<ArrayBuffer>,
  ): Promise<CallResult> {
    const { action, request, actor, input } = call;
    const durationMs = performance.now() - startedMs;
    const appended = this.deps.ledger.append({
      type: "call.completed",
      actor,
      plugin,
      data: { action, request, accepted: index, durationUs: Math.round(durationMs * 1_000) },
      commit: { output },
    });
    const [inputSha256, outputSha256, ended] = await Promise.all([
      sha256Hex(input, this.#lane),
      sha256Hex(output, this.#lane),
      appended,
    ]);
    this.deps.metrics.callEnded({ plugin: call.plugin, action, code: "OK", durationMs });
    return {
      output,
      durationMs: Math.round(durationMs * 1_000) / 1_000,
      inputSha256,
      outputSha256,
      ledger: { index: ended.index, size: ended.size },
      checkpoint: ended.checkpoint,
    };
  }

  async #failed({ call, plugin, index, startedMs }: Accepted, problem: ProblemError): Promise<never> {
    const { action, request, actor } = call;
    const durationMs = performance.now() - startedMs;
    await this.deps.ledger.append({
      type: "call.failed",
      actor,
      plugin,
      data: {
        action,
        request,
        accepted: index,
        durationUs: Math.round(durationMs * 1_000),
        code: problem.code,
      },
      commit: { detail: problem.message },
    });
    this.deps.metrics.callEnded({ plugin: call.plugin, action, code: problem.code, durationMs });
    throw problem;
  }

  /** Finds what would take the call, or records why nothing does. */
  async #route(call: Call, inputBytesMax = Infinity): Promise<Routed> {
    const startedMs = performance.now();
    try {
      const { action: { idempotent: isIdempotent }, ...route } = this.#find(call.plugin, call.action);
      if (this.#inputBytes > inputBytesMax) {
        const state = `inputs of ${this.#inputBytes} bytes are under way`;
        throw new ProblemError("QUEUE_FULL", `Cannot take a call: ${state}`, { retryAfterMs: 1_000 });
      }
      const hardMs = route.wallMs;
      const wallMs = Math.min(hardMs, call.wallMsMax ?? Infinity);
      const digest = route.installed.plugin.release?.digest ?? "";
      return { ...route, call, digest, isIdempotent, wallMs, hardMs, startedMs };
    } catch (error) {
      throw await this.#refused(call, error);
    }
  }

  /** Throws why nothing takes a call now. */
  #find(plugin: string, action: string): Route {
    if (this.#isDraining) throw new ProblemError("NOT_READY", "Cannot take a call: Airlock is stopping");
    return findRoute(this.deps.plugins.find(plugin), action);
  }

  async #refused(call: Call, error: unknown): Promise<unknown> {
    if (!(error instanceof ProblemError) || error.code === "NOT_READY") return error;
    this.deps.metrics.refused(error.code);
    const isJob = call.job !== undefined;
    if (isJob || !this.deps.refusals.take(call.actor)) return error;
    await this.deps.ledger.append({
      type: "call.refused",
      actor: call.actor,
      plugin: this.deps.plugins.nameOf(call.plugin),
      data: { request: call.request, code: error.code },
      commit: { target: clipTarget(`${call.plugin}/${call.action}`) },
    });
    return error;
  }

  async #wait(turnstile: Turnstile, { call, wallMs }: Routed): Promise<void> {
    if (await turnstile.enter(call.signal, wallMs)) return;
    const [code, state] = call.signal.aborted
      ? ["CANCELLED", "its caller went away while it waited"] as const
      : [
        "QUEUE_FULL",
        `${turnstile.insideCount} calls are under way and ${turnstile.waitingCount} wait`,
      ] as const;
    const error = new ProblemError(
      code,
      `Cannot call "${call.action}" of plugin "${call.plugin}": ${state}`,
      { retryAfterMs: 1_000 },
    );
    throw await this.#refused(call, error);
  }
}

/** Waits for both. What the second failed of is returned, because the first has happened all the same. */
async function settled<A, B>(first: Promise<A>, second: B | Promise<B>): Promise<[A, B | ProblemError]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === "rejected") throw a.reason;
  return [a.value, b.status === "fulfilled" ? b.value : asProblem(b.reason)];
}

/** An accepted call has an outcome in the ledger, whatever went wrong. */
function asProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  return new ProblemError("INTERNAL", "Cannot carry out the call: Airlock failed", { cause: error });
}
