/**
 * A cell is the process that holds one plugin's Worker.
 *
 * It stands between the kernel and code that nobody trusts: it parses what its Worker says, checks data
 * against the plugin's schemas, and speaks the frame protocol. What it sends is still only the plugin's
 * word to the kernel. It trusts the warden (its stdin) and the kernel (its socket), and nothing else.
 *
 * Order matters: stdin is read to its end before the Worker exists, because a Worker can read the stdin
 * of its process; and the Worker's guest host is evaluated before any code of the plugin is.
 *
 * Runs bundled, as `sandbox/dist/cell.js`: see `sandbox/build_cell.ts`. It is small, because Deno parses it
 * anew at each start: it loads neither zod (`cell_messages.ts`) nor, before it must, the validator.
 *
 * @module
 */
import type { CellSetup, FromCell, FromGuest, ToCell, ToGuest } from "../schemas/cell_protocol.ts";
import { cellProtocolVersion } from "../schemas/cell_protocol_version.ts";
import { Allowance } from "./allowance.ts";
import { isMessage, parseMessage } from "./cell_messages.ts";
import { clip } from "./clip.ts";
import type { DataCheck } from "./data_check.ts";
import { type Frame, FrameReader } from "./frame.ts";
import { FrameWriter } from "./frame_writer.ts";

const bootBytesMax = 1_048_576;
const frameBytesMax = 0x7fff_ffff;
const queueBytesMax = 1_048_576;
/** Of log, and of progress. */
const entriesPerSecond = 1_000;

/** The kernel gives a start up before these are over. */
const connectAttemptsMax = 10_000;
const connectPauseMs = 5;

const exitCodes = { ended: 0, refused: 64, pluginFailed: 70 } as const;

interface Action {
  readonly input: DataCheck | undefined;
  readonly output: DataCheck | undefined;
}

/** Runs until the kernel or the plugin ends it; never returns. */
export async function runCell(): Promise<never> {
  const [token = "", bootJson = ""] = readStdin().split("\n", 2);
  const boot = parseMessage("boot", JSON.parse(bootJson));
  const connection = await connect(boot.socket);
  const writer = new FrameWriter(connection, {
    frameBytesMax,
    queueBytesMax,
    onError: () => Deno.exit(exitCodes.ended),
  });
  const hello: FromCell = { type: "hello", protocol: cellProtocolVersion, token };
  writer.send(hello);
  await writer.flush();
  // Blocks this thread for about as long as a bare Deno takes to start; the kernel answers the greeting meanwhile.
  const worker = new Worker(new URL("./guest.js", import.meta.url), {
    type: "module",
    deno: { permissions: { ...boot.permissions } },
  });
  return await new Cell(worker, connection, writer).run();
}

/** A crowd before the socket is refused, not queued: whoever is not a stranger comes again until it is let in. */
async function connect(path: string): Promise<Deno.UnixConn> {
  for (let attempt = 1;; attempt++) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock) || attempt === connectAttemptsMax) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * connectPauseMs));
    }
  }
}

function readStdin(): string {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const chunk = new Uint8Array(65_536);
  let text = "";
  let bytes = 0;
  for (;;) {
    const read = Deno.stdin.readSync(chunk);
    if (read === null) return text + decoder.decode();
    bytes += read;
    if (bytes > bootBytesMax) {
      throw new Error(`Cannot start a cell: its stdin is above ${bootBytesMax} bytes`);
    }
    text += decoder.decode(chunk.subarray(0, read), { stream: true });
  }
}

/** One plugin's cell: its Worker on one side, the kernel on the other. */
class Cell {
  readonly #calls = new Map<number, string>();
  /** Ids of questions for the plugin's health. */
  readonly #healthChecks = new Set<number>();
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #setup: CellSetup | undefined;
  #actions: ReadonlyMap<string, Action> = new Map();
  readonly #actionsMade = Promise.withResolvers<void>();
  #refusedMessages = 0;
  readonly #logAllowed = new Allowance(entriesPerSecond);
  readonly #progressAllowed = new Allowance(entriesPerSecond);
  #toGuest: ToGuest[] = [];

  constructor(
    private readonly worker: Worker,
    private readonly connection: Deno.Conn,
    private readonly writer: FrameWriter,
  ) {
    worker.onmessage = (event: MessageEvent<unknown>) => this.#fromGuest(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      void this.#end(exitCodes.pluginFailed, `Uncaught ${event.message}`);
    };
    worker.onmessageerror = () => this.#refuseMessage("it cannot be read");
  }

  /** Runs until the kernel or the plugin ends it; never returns. */
  async run(): Promise<never> {
    const frames = new FrameReader(frameBytesMax);
    const chunk = new Uint8Array(65_536);
    for (;;) {
      const read = await this.connection.read(chunk).catch(() => null);
      if (read === null) Deno.exit(exitCodes.ended);
      for (const frame of frames.push(chunk.subarray(0, read))) this.#fromKernel(frame);
      this.#flushToGuest();
    }
  }

  #send(message: FromCell, body?: Uint8Array): void {
    this.writer.send(message, body);
  }

  async #end(exitCode: number, message?: string): Promise<never> {
    if (message !== undefined) this.#send({ type: "failed", message: clip(message) });
    await this.writer.flush();
    Deno.exit(exitCode);
  }

  #fromKernel(frame: Frame): void {
    const message = parseMessage("toCell", frame.envelope);
    switch (message.type) {
      case "setup":
        return void this.#load(this.#decoder.decode(frame.body));
      case "refused":
        console.error(message.message);
        return Deno.exit(exitCodes.refused);
      case "call":
        return this.#call(message, this.#decoder.decode(frame.body));
      case "ping":
        return this.#send({ type: "pong", nonce: message.nonce });
      case "health":
        this.#healthChecks.add(message.id);
        this.#toGuest.push(message);
        return;
      case "cancel":
      case "credit":
      case "stop":
        this.#toGuest.push(message);
    }
  }

  /** Calls that came in one chunk go to the Worker in one message. */
  #flushToGuest(): void {
    if (this.#toGuest.length === 0) return;
    this.worker.postMessage(this.#toGuest);
    this.#toGuest = [];
  }

  /** Hands the plugin to the Worker, and makes the checks of its data while that loads it. */
  async #load(setupJson: string): Promise<void> {
    const setup = parseMessage("setup", JSON.parse(setupJson));
    this.#setup = setup;
    this.#toGuest.push({ type: "setup", setup });
    try {
      this.#actions = await actionsOf(setup);
      this.#actionsMade.resolve();
    } catch (error) {
      await this.#end(exitCodes.pluginFailed, `Its schemas cannot be used: ${String(error)}`);
    }
  }

  #call(call: Extract<ToCell, { type: "call" }>, input: string): void {
    const { type, id, action, request, stream, job } = call;
    const schemas = this.#actions.get(action);
    if (schemas === undefined) {
      return this.#fail(id, "ACTION_NOT_FOUND", `Cannot call "${action}": the plugin has no such action`);
    }
    if (schemas.input !== undefined) {
      const errors = schemas.input(JSON.parse(input), input.length);
      if (errors !== undefined) {
        return this.#fail(
          id,
          "INPUT_INVALID",
          `Cannot call "${action}": its input does not fit the schema`,
          errors,
        );
      }
    }
    this.#calls.set(id, action);
    this.#toGuest.push({ type, id, action, request, stream, input, ...(job === undefined ? {} : { job }) });
  }

  #fail(
    id: number,
    code: Extract<FromCell, { type: "error" }>["code"],
    message: string,
    errors?: { path: string; message: string }[],
  ): void {
    this.#calls.delete(id);
    this.#send({ type: "error", id, code, message: clip(message), ...(errors ? { errors } : {}) });
  }

  #fromGuest(batch: unknown): void {
    if (!Array.isArray(batch)) return this.#refuseMessage("it is not a list");
    for (const item of batch) {
      if (isMessage("fromGuest", item)) this.#guestMessage(item);
      else this.#refuseMessage("it is outside the protocol");
    }
  }

  #guestMessage(message: FromGuest): void {
    switch (message.type) {
      case "ready":
        return void this.#actionsMade.promise.then(() => this.#send({ type: "ready" }));
      case "failed":
        return void this.#end(exitCodes.pluginFailed, message.message);
      case "stopped":
        this.#send({ type: "stopped" });
        return void this.#end(exitCodes.ended);
      case "log":
        return this.#log(message);
    }
    if (message.type === "result" || message.type === "error") {
      if (this.#healthChecks.delete(message.id)) return this.#health(message);
    }
    if (!this.#calls.has(message.id)) return this.#refuseMessage("it answers a call that is not under way");
    switch (message.type) {
      case "result":
        return this.#result(message.id, message.json);
      case "error":
        return this.#fail(message.id, message.code, message.message);
      case "token":
        return this.#send({ type: "token", id: message.id }, this.#encoder.encode(message.json));
      case "progress":
        if (!this.#progressAllowed.admits(performance.now())) return;
        return this.#send({
          type: "progress",
          id: message.id,
          fraction: Math.min(1, Math.max(0, message.fraction)) || 0,
          note: message.note.slice(0, 1_024).toWellFormed(),
        });
    }
  }

  #health(answer: Extract<FromGuest, { type: "result" | "error" }>): void {
    const { id } = answer;
    if (answer.type === "error") return this.#fail(id, "ACTION_FAILED", answer.message);
    this.#send({ type: "result", id });
  }

  /** The kernel reads each entry for itself: a plugin that floods it with entries is held up here. */
  #log({ level, message, fields, id }: Extract<FromGuest, { type: "log" }>): void {
    if (!this.#logAllowed.admits(performance.now())) return;
    const refused = this.#logAllowed.takeRefused();
    if (refused > 0) {
      const dropped = `Dropped ${refused} entries: a plugin may log ${entriesPerSecond} in a second`;
      this.#send({ type: "log", level: "warn", message: dropped });
    }
    this.#send({
      type: "log",
      level,
      message: clip(message),
      ...(fields === undefined ? {} : { fields: clip(fields) }),
      ...(id === undefined || !this.#calls.has(id) ? {} : { id }),
    });
  }

  #result(id: number, json: string): void {
    const action = this.#calls.get(id) ?? "";
    const bytesMax = this.#setup?.outputBytesMax ?? 0;
    const output = json.length > bytesMax ? undefined : this.#encoder.encode(json);
    if (output === undefined || output.length > bytesMax) {
      return this.#fail(
        id,
        "LIMIT_OUTPUT",
        `Cannot answer "${action}": its output is above ${bytesMax} bytes`,
      );
    }
    const schema = this.#actions.get(action)?.output;
    if (schema !== undefined) {
      const value = parseJson(json);
      const errors = value === undefined
        ? [{ path: "", message: "must be JSON" }]
        : schema(value.json, json.length);
      if (errors !== undefined) {
        return this.#fail(
          id,
          "OUTPUT_INVALID",
          `Cannot answer "${action}": its output does not fit the schema`,
          errors,
        );
      }
    }
    this.#calls.delete(id);
    this.#send({ type: "result", id }, output);
  }

  /** Told to the operator at 1, 2, 4, 8 … so that a flood of bad messages is not a flood of log. */
  #refuseMessage(reason: string): void {
    this.#refusedMessages++;
    if ((this.#refusedMessages & (this.#refusedMessages - 1)) !== 0) return;
    this.#send({
      type: "log",
      level: "warn",
      message:
        `Cannot take a message of the plugin's Worker: ${reason} (${this.#refusedMessages} refused so far)`,
    });
  }
}

/** The validator is loaded only where a plugin has schemas. Throws where they cannot be used. */
async function actionsOf({ actions }: CellSetup): Promise<Map<string, Action>> {
  const entries = Object.entries(actions);
  if (entries.every(([, { input, output }]) => input === undefined && output === undefined)) {
    return new Map(entries.map(([name]) => [name, { input: undefined, output: undefined }]));
  }
  // A name that the bundler does not follow: it is another bundle.
  const bundle = new URL("./data_check.js", import.meta.url).href;
  const { createDataCheck }: typeof import("./data_check.ts") = await import(bundle);
  const checkOf = (schema: CellSetup["actions"][string]["input"]) =>
    schema === undefined ? undefined : createDataCheck(schema);
  return new Map(
    entries.map(([name, { input, output }]) => [name, { input: checkOf(input), output: checkOf(output) }]),
  );
}

/** Wrapped, because JSON's own `null` is a value. */
function parseJson(text: string): { json: unknown } | undefined {
  try {
    return { json: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

if (import.meta.main) await runCell();
