/**
 * The guest host: the first code inside a plugin's Worker, and the only code there that is ours.
 *
 * It loads the plugin, hands calls to its actions, and sends back what they return as JSON text. It keeps
 * its own copies of what it uses, so that a plugin that patches the globals confuses itself and not the
 * protocol; still, everything that leaves a Worker is the plugin's word, and the cell parses it as such.
 *
 * Runs bundled, as `sandbox/dist/guest.js`.
 *
 * @module
 */
import type { Context } from "../../sdk/mod.ts";
import type { CellSetup, FromGuest, ToGuest } from "../../schemas/cell_protocol.ts";

const worker = globalThis as unknown as { postMessage(messages: FromGuest[]): void };
const post = worker.postMessage.bind(globalThis);
const enqueue = queueMicrotask.bind(globalThis);
const { stringify, parse } = JSON;
const { hasOwn, keys } = Object;
const escapeSegment = encodeURIComponent;
const toText = String;
const Abort = AbortController;

/** A plugin's module, as far as the host knows it. Nothing in it is trusted to have its declared shape. */
interface PluginModule {
  readonly actions?: Record<string, unknown>;
  readonly start?: unknown;
  readonly stop?: unknown;
  readonly health?: unknown;
}

type CallToGuest = Extract<ToGuest, { type: "call" }>;

interface Call {
  readonly id: number;
  readonly abort: AbortController;
  readonly stream: boolean;
  /** Characters of tokens that the reader has not taken yet. */
  windowChars: number;
  /** Wakes a generator that waits for its reader. */
  wake: (() => void) | undefined;
}

type AnyGenerator = AsyncGenerator<unknown, unknown> | Generator<unknown, unknown>;

class Guest {
  readonly #calls = new Map<number, Call>();
  readonly #outbox: FromGuest[] = [];
  #setup: CellSetup | undefined;
  #plugin: PluginModule = {};

  receive(message: ToGuest): void {
    switch (message.type) {
      case "setup":
        return void this.#load(message.setup);
      case "call":
        return void this.#run(message);
      case "cancel": {
        const call = this.#calls.get(message.id);
        call?.abort.abort();
        return call?.wake?.();
      }
      case "credit": {
        const call = this.#calls.get(message.id);
        if (call === undefined) return;
        call.windowChars -= message.chars;
        return call.wake?.();
      }
      case "health":
        return void this.#health(message.id);
      case "stop":
        return void this.#stop();
    }
  }

  /** What is sent in one turn of the event loop leaves in one message. */
  #send(message: FromGuest): void {
    if (this.#outbox.push(message) === 1) enqueue(() => post(this.#outbox.splice(0)));
  }

  async #load(setup: CellSetup): Promise<void> {
    this.#setup = setup;
    try {
      const path = `${setup.packageDir}/${setup.entrypoint}`;
      this.#plugin = await import(`file://${path.split("/").map(escapeSegment).join("/")}`);
      if (this.#plugin.actions === undefined) {
        const names = keys(this.#plugin).map((name) => `"${name}"`).join(", ");
        throw new TypeError(`its module exports ${names === "" ? "nothing" : names} and no "actions"`);
      }
      const missing = keys(setup.actions).filter((name) => this.#action(name) === undefined);
      if (missing.length > 0) {
        throw new TypeError(`its "actions" export has no function "${missing.join('", "')}"`);
      }
      await this.#hook("start");
      this.#send({ type: "ready" });
    } catch (error) {
      this.#send({ type: "failed", message: describe(error) });
    }
  }

  async #stop(): Promise<void> {
    for (const call of this.#calls.values()) call.abort.abort();
    try {
      await this.#hook("stop");
    } catch (error) {
      this.#send({ type: "log", level: "error", message: `Cannot stop cleanly: ${describe(error)}` });
    }
    this.#send({ type: "stopped" });
  }

  /** Well is what neither throws nor says `false`, and what has nothing to say. */
  async #health(id: number): Promise<void> {
    try {
      if (await this.#hook("health") !== false) return this.#send({ type: "result", id, json: "null" });
      this.#send({ type: "error", id, code: "ACTION_FAILED", message: "its health() returned false" });
    } catch (error) {
      this.#send({ type: "error", id, code: "ACTION_FAILED", message: describe(error) });
    }
  }

  async #hook(name: "start" | "stop" | "health"): Promise<unknown> {
    const hook = this.#plugin[name];
    if (typeof hook !== "function") return undefined;
    return await hook(this.#context(new Abort().signal, { id: 0, request: "", action: name }));
  }

  #action(name: string): ((input: unknown, ctx: Context) => unknown) | undefined {
    const { actions } = this.#plugin;
    if (typeof actions !== "object" || actions === null || !hasOwn(actions, name)) return undefined;
    const action = actions[name];
    return typeof action === "function" ? (input, ctx) => action.call(actions, input, ctx) : undefined;
  }

  async #run(message: CallToGuest): Promise<void> {
    const { id, action, stream, input } = message;
    const call: Call = { id, abort: new Abort(), stream, windowChars: 0, wake: undefined };
    this.#calls.set(id, call);
    try {
      const run = this.#action(action);
      if (run === undefined) {
        return this.#send({
          type: "error",
          id,
          code: "ACTION_NOT_FOUND",
          message: `Cannot call "${action}"`,
        });
      }
      const returned = run(parse(input), this.#context(call.abort.signal, message));
      if (isGenerator(returned)) return await this.#drain(call, returned);
      this.#send({ type: "result", id, json: stringify(await returned) ?? "null" });
    } catch (error) {
      this.#send({ type: "error", id, code: "ACTION_FAILED", message: describe(error) });
    } finally {
      this.#calls.delete(id);
    }
  }

  /**
   * Sends each yielded value as a token. The output is what was returned, or else the list of tokens.
   *
   * A call that was cancelled is asked for nothing more: its generator ends at the `yield` where it stands.
   */
  async #drain(call: Call, generator: AnyGenerator): Promise<void> {
    const { outputBytesMax = 0, streamWindowChars = 0, tokenOverheadChars = 0 } = this.#setup ?? {};
    const { id } = call;
    const tokens: string[] = [];
    let chars = 0;
    for (;;) {
      const { done, value } = await generator.next();
      if (done) {
        const json = value === undefined ? `[${tokens.join(",")}]` : stringify(value) ?? "null";
        return this.#send({ type: "result", id, json });
      }
      const json = stringify(value) ?? "null";
      tokens.push(json);
      chars += json.length;
      if (chars > outputBytesMax) {
        await generator.return?.(undefined);
        const message = `Cannot stream more: the tokens are above ${outputBytesMax} bytes`;
        return this.#send({ type: "error", id, code: "LIMIT_OUTPUT", message });
      }
      // A reader is promised that no more than the window is on its way.
      if (call.stream && json.length > streamWindowChars) {
        await generator.return?.(undefined);
        const message =
          `Cannot stream a token of ${json.length} characters: it is above ${streamWindowChars}`;
        return this.#send({ type: "error", id, code: "LIMIT_OUTPUT", message });
      }
      if (call.stream && !call.abort.signal.aborted) {
        this.#send({ type: "token", id, json });
        call.windowChars += json.length + tokenOverheadChars;
      }
      while (call.windowChars > streamWindowChars && !call.abort.signal.aborted) {
        await new Promise<void>((resolve) => call.wake = resolve);
      }
      if (call.abort.signal.aborted) {
        await generator.return?.(undefined);
        return this.#send({ type: "error", id, code: "ACTION_FAILED", message: "The call was cancelled" });
      }
    }
  }

  /** `id` is 0 in a hook. */
  #context(
    signal: AbortSignal,
    { id, request, action, job }: Pick<CallToGuest, "id" | "request" | "action" | "job">,
  ): Context {
    const setup = this.#setup;
    const log = (level: "debug" | "info" | "warn" | "error") => (message: string, fields?: unknown) => {
      const json = fields === undefined ? undefined : stringify(fields);
      this.#send({
        type: "log",
        level,
        message: toText(message),
        ...(json === undefined ? {} : { fields: json }),
        ...(id === 0 ? {} : { id }),
      });
    };
    return {
      log: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
      progress: (fraction, note = "") => {
        if (id > 0) this.#send({ type: "progress", id, fraction, note });
      },
      signal,
      dataDir: setup?.dataDir ?? "",
      packageDir: setup?.packageDir ?? "",
      config: setup?.config ?? {},
      plugin: setup?.plugin ?? { id: "", version: "" },
      call: { id: request, action },
      ...(job === undefined ? {} : { job }),
    };
  }
}

function isGenerator(value: unknown): value is AnyGenerator {
  return typeof value === "object" && value !== null && "next" in value && typeof value.next === "function";
}

/** A thrown value in words. A plugin can throw anything, also what throws when it is looked at. */
function describe(error: unknown): string {
  try {
    if (error instanceof Error) {
      const name = toText(error.name);
      const advice = name === "NotCapable"
        ? '; request it in "capabilities" and let the operator grant it'
        : "";
      return `${name}: ${toText(error.message)}${advice}`;
    }
    return toText(error);
  } catch {
    return "a value that cannot be shown was thrown";
  }
}

/**
 * A Worker that ends itself leaves a process in which nobody answers. Here it says so on its way out, so that its
 * calls fail at once and not at their deadlines. A courtesy: who gets around it meets those.
 */
function tellOfEnd(): void {
  const { exit } = Deno;
  const close = globalThis.close.bind(globalThis);
  const tell = (message: string) => post([{ type: "failed", message }]);
  Deno.exit = (code) => {
    tell(`it called Deno.exit(${code === undefined ? "" : toText(code)})`);
    return exit(code);
  };
  globalThis.close = () => {
    tell("it closed its Worker");
    close();
  };
}

tellOfEnd();
const guest = new Guest();
globalThis.addEventListener("message", (event) => {
  // Only the cell can post to this Worker, and it posts lists of messages. The first listener comes first.
  event.stopImmediatePropagation();
  for (const message of (event as MessageEvent<ToGuest[]>).data) guest.receive(message);
});
