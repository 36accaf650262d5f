import { deepEqual, equal, match, ok } from "node:assert/strict";
import { cellProtocolVersion, toCellSchema } from "../schemas/cell_protocol.ts";
import { CellListener } from "./cell_listener.ts";
import { encodeFrame, FrameReader } from "./frame.ts";

const token = "a".repeat(64);
const hello = (more: Record<string, unknown> = {}) =>
  encodeFrame({ type: "hello", protocol: cellProtocolVersion, token, ...more });

interface Setup extends AsyncDisposable {
  readonly listener: CellListener;
  /** Reasons of the connections that were dropped. */
  readonly drops: string[];
  /** Resolves with the reason of the drop number `index`, from 0. */
  drop(index: number): Promise<string>;
  connect(): Promise<Deno.Conn>;
}

async function listen(options: { helloTimeoutMs?: number; helloPendingMax?: number } = {}): Promise<Setup> {
  const folder = await Deno.makeTempDir({ prefix: "listener-" });
  const socket = `${folder}/s`;
  const drops: string[] = [];
  let dropped = Promise.withResolvers<void>();
  const listener = new CellListener({
    ...{ socket, helloTimeoutMs: 10_000, helloPendingMax: 4, ...options },
    log(message) {
      drops.push(message);
      dropped.resolve();
      dropped = Promise.withResolvers<void>();
    },
  });
  const opened: Deno.Conn[] = [];
  return {
    listener,
    drops,
    async drop(index) {
      while (drops.length <= index) await dropped.promise;
      return drops[index] ?? "";
    },
    async connect() {
      const connection = await Deno.connect({ transport: "unix", path: socket });
      opened.push(connection);
      return connection;
    },
    async [Symbol.asyncDispose]() {
      for (const connection of opened) connection.close();
      await listener[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** Everything until the other end closes. */
async function readToEnd(connection: Deno.Conn): Promise<Uint8Array> {
  const chunks: number[] = [];
  const chunk = new Uint8Array(4_096);
  for (;;) {
    const read = await connection.read(chunk).catch(() => null);
    if (read === null) return new Uint8Array(chunks);
    chunks.push(...chunk.subarray(0, read));
  }
}

Deno.test("CellListener hands over the connection that shows an expected token, however it is cut", async () => {
  await using setup = await listen();
  const { connection } = setup.listener.expect(token);
  const far = await setup.connect();
  for (const byte of hello()) await far.write(new Uint8Array([byte]));
  using near = await connection;
  await near.write(new Uint8Array([7]));
  const received = new Uint8Array(1);
  await far.read(received);
  deepEqual([...received], [7]);
  deepEqual(setup.drops, []);
});

Deno.test("CellListener takes a token once", async () => {
  await using setup = await listen();
  const { connection } = setup.listener.expect(token);
  await (await setup.connect()).write(hello());
  using _first = await connection;
  const second = await setup.connect();
  await second.write(hello());
  match(await setup.drop(0), /its token is not expected/);
  equal((await readToEnd(second)).length, 0);
});

Deno.test("CellListener takes no token that is forgotten, wrong or nearly right", async () => {
  await using setup = await listen();
  setup.listener.expect(token).forget();
  const other = setup.listener.expect("b".repeat(64));
  for (const wrong of [token, "", "b".repeat(63), "b".repeat(65), "B".repeat(64)]) {
    const far = await setup.connect();
    await far.write(hello({ token: wrong }));
    equal((await readToEnd(far)).length, 0);
  }
  equal(setup.drops.length, 5);
  ok(setup.drops.every((reason) => reason.includes("its token is not expected")));
  await (await setup.connect()).write(hello({ token: "b".repeat(64) }));
  (await other.connection).close();
});

const greetings: [what: string, bytes: Uint8Array, reason: RegExp][] = [
  [
    "a frame that claims 4 GB",
    new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 2, 0x7b, 0x7d]),
    /4294967295 bytes: at most 4096/,
  ],
  ["a greeting above 4 KB", hello({ token: "a".repeat(5_000) }), /at most 4096/],
  ["an envelope that is not JSON", new Uint8Array([0, 0, 0, 4, 0, 2, 0x7b, 0x5d]), /not JSON/],
  ["an envelope outside the schema", hello({ admin: true }), /./],
  ["a token that is no text", hello({ token: 1 }), /./],
  ["no version", hello({ protocol: undefined }), /./],
  ["another message", encodeFrame({ type: "ready" }), /not a greeting/],
  ["a message of the other direction", encodeFrame({ type: "setup" }), /./],
  ["two frames", new Uint8Array([...hello(), ...encodeFrame({ type: "ready" })]), /not a greeting/],
  ["a greeting and the head of a frame", new Uint8Array([...hello(), 0, 0]), /not a greeting/],
];
for (const [what, bytes, reason] of greetings) {
  Deno.test(`CellListener drops a connection that begins with ${what}`, async () => {
    await using setup = await listen();
    const expected = setup.listener.expect(token);
    const far = await setup.connect();
    await far.write(bytes);
    match(await setup.drop(0), reason);
    equal((await readToEnd(far)).length, 0);
    // The token was not used up.
    await (await setup.connect()).write(hello());
    (await expected.connection).close();
  });
}

Deno.test("CellListener tells a cell of another major version what to upgrade", async () => {
  await using setup = await listen();
  setup.listener.expect(token);
  const far = await setup.connect();
  await far.write(hello({ protocol: { major: cellProtocolVersion.major + 1, minor: 0 } }));
  const [frame] = new FrameReader(4_096).push(await readToEnd(far));
  const message = toCellSchema.parse(frame?.envelope);
  ok(message.type === "refused");
  match(message.message, /it speaks protocol 2, the kernel 1\. Upgrade the older of the two/);
  match(await setup.drop(0), /it speaks protocol 2/);
});

Deno.test("CellListener takes a cell of another minor version", async () => {
  await using setup = await listen();
  const { connection } = setup.listener.expect(token);
  const protocol = { major: cellProtocolVersion.major, minor: cellProtocolVersion.minor + 7 };
  await (await setup.connect()).write(hello({ protocol }));
  (await connection).close();
});

Deno.test("CellListener drops a connection that does not greet in time, silent or slow", async () => {
  await using setup = await listen({ helloTimeoutMs: 50 });
  const silent = await setup.connect();
  const slow = await setup.connect();
  await slow.write(hello().subarray(0, 20));
  equal((await readToEnd(silent)).length, 0);
  equal((await readToEnd(slow)).length, 0);
  await setup.drop(1);
  ok(setup.drops.every((reason) => reason.includes("it did not say who it is")));
});

Deno.test("CellListener drops a connection that closes before it greets", async () => {
  await using setup = await listen();
  await (await setup.connect()).closeWrite();
  match(await setup.drop(0), /closed before it said who it is/);
});

// Whoever can reach the socket may open it again and again: a cell that greets at once still gets in.
Deno.test("CellListener drops the eldest when too many wait, and lets a cell in all the same", async () => {
  await using setup = await listen({ helloPendingMax: 3 });
  const { connection } = setup.listener.expect(token);
  const waiting: Deno.Conn[] = [];
  for (let index = 0; index < 6; index++) waiting.push(await setup.connect());
  match(await setup.drop(2), /too many others/);
  equal(setup.drops.length, 3);
  for (const eldest of waiting.slice(0, 3)) equal((await readToEnd(eldest)).length, 0);
  await (await setup.connect()).write(hello());
  (await connection).close();
  equal(setup.drops.length, 4);
});

Deno.test("CellListener closes those who wait when it is disposed", async () => {
  const setup = await listen();
  const far = await setup.connect();
  await far.write(hello().subarray(0, 5));
  const ended = readToEnd(far);
  await setup[Symbol.asyncDispose]();
  equal((await ended).length, 0);
});

Deno.test("CellListener takes the next connection after the machine refused one", async () => {
  const folder = await Deno.makeTempDir({ prefix: "listener-" });
  const scratch = Deno.listen({ transport: "unix", path: `${folder}/s` });
  const prototype: object = Object.getPrototypeOf(scratch);
  const real = Object.getOwnPropertyDescriptor(prototype, "accept");
  const { accept } = scratch;
  scratch.close();
  await Deno.remove(folder, { recursive: true });
  let refusals = 2;
  Object.defineProperty(prototype, "accept", {
    configurable: true,
    value(this: Deno.Listener) {
      if (refusals-- > 0) return Promise.reject(new Error("Too many open files (os error 24)"));
      return accept.call(this);
    },
  });
  try {
    await using setup = await listen();
    const { connection } = setup.listener.expect(token);
    const far = await setup.connect();
    await far.write(hello());
    (await connection).close();
    deepEqual(setup.drops, [
      "Cannot accept a connection on the cells' socket: Error: Too many open files (os error 24)",
    ]);
  } finally {
    if (real === undefined) Reflect.deleteProperty(prototype, "accept");
    else Object.defineProperty(prototype, "accept", real);
  }
});
