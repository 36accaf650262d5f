/**
 * A cell is the process that holds one plugin's Worker.
 *
 * It stands between the kernel and code that nobody trusts: it parses what its Worker says, checks data
 * against the plugin's schemas, and speaks the frame protocol. What it sends is still only the plugin's
 * word to the kernel. It trusts the warden (its stdin) and the kernel (its socket), and nothing else.
 *
 * The Worker's guest host is evaluated before any code of the plugin is: it loads the plugin when this
 * module tells it to, and that is when the kernel has checked the package.
 *
 * Runs bundled, as `sandbox/dist/cell.js`: see `sandbox/build_cell.ts`. `cell_entry.ts` starts it.
 *
 * @module
 */
import { dereference, type Schema, validate } from "@cfworker/json-schema";
import {
  cellProtocolVersion,
  type CellSetup,
  cellSetupSchema,
  type FromCell,
  type FromGuest,
  fromGuestSchema,
  messageCharsMax,
  type ToCell,
  toCellSchema,
  type ToGuest,
} from "../schemas/cell_protocol.ts";
import { type Frame, FrameReader } from "./frame.ts";
import { FrameWriter } from "./frame_writer.ts";

const frameBytesMax = 0x7fff_ffff;
const queueBytesMax = 1_048_576;

/** Faults in one answer. */
const faultsMax = 32;
const faultsBytesMax = 32_768;
/** Data up to this length is told everything that is wrong with it. */
const listedCharsMax = 65_536;

const exitCodes = { ended: 0, refused: 64, pluginFailed: 70 } as const;

/** A schema of the plugin, ready to check data. */
interface Checker {
  readonly schema: Schema | boolean;
  readonly lookup: ReturnType<typeof dereference>;
}

interface Action {
  readonly input: Checker | undefined;
  readonly output: Checker | undefined;
}

/** One plugin's cell: its Worker on one side, the kernel on the other. */
export class Cell {
  readonly #calls = new Map<number, string>();
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  readonly #writer: FrameWriter;
  #setup: CellSetup | undefined;
  #actions = new Map<string, Action>();
  #refusedMessages = 0;
  #toGuest: ToGuest[] = [];

  constructor(private readonly worker: Worker, private readonly connection: Deno.Conn) {
    this.#writer = new FrameWriter(connection, {
      frameBytesMax,
      queueBytesMax,
      onError: () => Deno.exit(exitCodes.ended),
    });
    worker.onmessage = (event: MessageEvent<unknown>) => this.#fromGuest(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      void this.#end(exitCodes.pluginFailed, `Uncaught ${event.message}`);
    };
    worker.onmessageerror = () => this.#refuseMessage("it cannot be read");
  }

  /** Runs until the kernel or the plugin ends it; never returns. */
  async run(token: string): Promise<never> {
    this.#send({ type: "hello", protocol: cellProtocolVersion, token });
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
    this.#writer.send(message, body);
  }

  async #end(exitCode: number, message?: string): Promise<never> {
    if (message !== undefined) this.#send({ type: "failed", message: clip(message) });
    await this.#writer.flush();
    Deno.exit(exitCode);
  }

  #fromKernel(frame: Frame): void {
    const message: ToCell = toCellSchema.parse(frame.envelope);
    switch (message.type) {
      case "setup":
        return this.#load(this.#decoder.decode(frame.body));
      case "refused":
        console.error(message.message);
        return Deno.exit(exitCodes.refused);
      case "call":
        return this.#call(message, this.#decoder.decode(frame.body));
      case "ping":
        return this.#send({ type: "pong", nonce: message.nonce });
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

  #load(setupJson: string): void {
    const setup = cellSetupSchema.parse(JSON.parse(setupJson));
    for (const [name, { input, output }] of Object.entries(setup.actions)) {
      this.#actions.set(name, { input: checkerOf(input), output: checkerOf(output) });
    }
    this.#setup = setup;
    this.#toGuest.push({ type: "setup", setup });
  }

  #call(call: Extract<ToCell, { type: "call" }>, input: string): void {
    const { id, action, request, stream } = call;
    const schemas = this.#actions.get(action);
    if (schemas === undefined) {
      return this.#fail(id, "ACTION_NOT_FOUND", `Cannot call "${action}": the plugin has no such action`);
    }
    if (schemas.input !== undefined) {
      const errors = faultsOf(schemas.input, JSON.parse(input), input.length);
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
    this.#toGuest.push({ type: "call", id, action, request, stream, input });
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
      const parsed = fromGuestSchema.safeParse(item);
      if (!parsed.success) {
        this.#refuseMessage("it is outside the protocol");
        continue;
      }
      this.#guestMessage(parsed.data);
    }
  }

  #guestMessage(message: FromGuest): void {
    switch (message.type) {
      case "ready":
        return this.#send({ type: "ready" });
      case "failed":
        return void this.#end(exitCodes.pluginFailed, message.message);
      case "stopped":
        this.#send({ type: "stopped" });
        return void this.#end(exitCodes.ended);
      case "log":
        return this.#send({
          type: "log",
          level: message.level,
          message: clip(message.message),
          ...(message.fields === undefined ? {} : { fields: clip(message.fields) }),
        });
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
        return this.#send({
          type: "progress",
          id: message.id,
          fraction: Math.min(1, Math.max(0, message.fraction)) || 0,
          note: message.note.slice(0, 1_024).toWellFormed(),
        });
    }
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
        : faultsOf(schema, value.json, json.length);
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

/** Wrapped, because JSON's own `null` is a value. */
function parseJson(text: string): { json: unknown } | undefined {
  try {
    return { json: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

function checkerOf(schema: CellSetup["actions"][string]["input"]): Checker | undefined {
  return schema === undefined ? undefined : { schema, lookup: dereference(schema) };
}

interface DataFault {
  path: string;
  message: string;
}

/**
 * What is wrong with data, all of it where the data is short; of long data the first thing, because a list of
 * everything wrong with it can be many times its size. Data that the validator cannot check does not fit.
 */
function faultsOf({ schema, lookup }: Checker, value: unknown, chars: number): DataFault[] | undefined {
  try {
    const first = validate(value, schema, "2020-12", lookup, true);
    if (first.valid) return undefined;
    const { errors } = chars > listedCharsMax ? first : validate(value, schema, "2020-12", lookup, false);
    return fitting(leavesOf(errors));
  } catch (error) {
    if (error instanceof RangeError) return [{ path: "", message: "must not be nested so deeply" }];
    if (error instanceof URIError) return [{ path: "", message: "must not have half a character in a name" }];
    throw error;
  }
}

/** The validator reports a failing child beside each parent it made fail: the leaves say what is wrong. */
function leavesOf(errors: ReturnType<typeof validate>["errors"]) {
  const parents = new Set<string>();
  for (const { keywordLocation } of errors) {
    for (
      let end = keywordLocation.lastIndexOf("/");
      end > 0;
      end = keywordLocation.lastIndexOf("/", end - 1)
    ) {
      parents.add(keywordLocation.slice(0, end));
    }
  }
  return errors.filter(({ keywordLocation }) => !parents.has(keywordLocation));
}

/** As many as go into an envelope; the first one always does. */
function fitting(errors: ReturnType<typeof validate>["errors"]): DataFault[] {
  const faults: DataFault[] = [];
  let bytes = 0;
  for (const { instanceLocation, error } of errors.slice(0, faultsMax)) {
    const fault = { path: clip(pointerOf(instanceLocation)), message: clip(error) };
    bytes += new TextEncoder().encode(JSON.stringify(fault)).length;
    if (bytes > faultsBytesMax) break;
    faults.push(fault);
  }
  return faults;
}

/** The validator's location is a pointer as the fragment of an address: `#/a%20b` for `/a b`. */
function pointerOf(instanceLocation: string): string {
  return decodeURI(instanceLocation.slice(1));
}

function clip(text: string): string {
  const clipped = text.length <= messageCharsMax ? text : `${text.slice(0, messageCharsMax - 1)}…`;
  return clipped.toWellFormed();
}
