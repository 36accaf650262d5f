/**
 * The glutton: a plugin that uses as much of one thing as it is asked to, and holds on to it until it is
 * called again or killed.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import type { Context } from "airlock/sdk";

const megabyte = 1_048_576;
/** What is kept alive by being in here. */
const kept: unknown[] = [];

interface Amount {
  readonly amount: number;
}

/** Lets the cell speak, so that a limit that is watched is seen to be crossed and not overrun. */
function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2));
}

/** A call that got all it wanted, and stays with it: what kills it is the limit. */
async function stay(isOver: boolean): Promise<string> {
  if (isOver) await new Promise(() => {});
  return "had enough";
}

/** `script` says something when it has begun. */
async function startWorker(script: string): Promise<void> {
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(script)}`, { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  worker.onmessage = () => resolve();
  worker.onerror = (event) => reject(new Error(event.message));
  kept.push(worker);
  await promise;
}

/** SQLite writes what does not fit its cache to the temporary folder. */
async function writeTemporary(mb: number): Promise<void> {
  const database = new DatabaseSync(":memory:");
  kept.push(database);
  database.exec("PRAGMA temp_store = FILE; PRAGMA cache_size = 10; CREATE TEMP TABLE t (x)");
  const insert = database.prepare("INSERT INTO t VALUES (zeroblob(1048576))");
  for (let written = 0; written < mb; written++) {
    insert.run();
    await breathe();
  }
}

function spin(ms: number): void {
  for (const untilMs = performance.now() + ms; performance.now() < untilMs;);
}

export const actions = {
  /** `amount` MB of JavaScript objects. */
  async heap({ amount }: Amount) {
    for (let mb = 0; mb < amount; mb++) {
      kept.push(Array.from({ length: megabyte / 16 }, (_, index) => index + 0.5));
      await breathe();
    }
    return await stay(amount > 64);
  },

  /** `amount` MB outside the heap. */
  async buffers({ amount }: Amount) {
    for (let mb = 0; mb < amount; mb++) {
      kept.push(new Uint8Array(megabyte).fill(1));
      await breathe();
    }
    return await stay(amount > 64);
  },

  /** `amount` nested Workers, each with a heap of 24 MB. */
  async workersWithHeaps({ amount }: Amount) {
    const script = "globalThis.kept = new Array(3145728).fill(0.5); postMessage(0); onmessage = () => {};";
    await Promise.all(Array.from({ length: amount }, () => startWorker(script)));
    return await stay(amount > 1);
  },

  /** `amount` nested Workers. */
  async workers({ amount }: Amount) {
    const script = "postMessage(0); onmessage = () => {};";
    await Promise.all(Array.from({ length: amount }, () => startWorker(script)));
    return await stay(amount > 1);
  },

  /** `amount` ms without a pause. */
  cpu({ amount }: Amount) {
    spin(amount);
    return "had enough";
  },

  /** `amount` percent of a core: for a while, or all of it for good. */
  async share({ amount }: Amount) {
    for (let round = 0; round < 15 || amount === 100; round++) {
      spin(amount);
      await new Promise((resolve) => setTimeout(resolve, 100 - amount));
    }
    return "had enough";
  },

  async wait({ amount }: Amount) {
    await new Promise((resolve) => setTimeout(resolve, amount));
    return "had enough";
  },

  /** `amount` descriptors. Where it is refused one it stays with those that it has. */
  async descriptors({ amount }: Amount, { packageDir }: Context) {
    try {
      for (let file = 0; file < amount; file++) kept.push(await Deno.open(`${packageDir}/mod.ts`));
    } catch (error) {
      if (!String(error).includes("Too many open files")) throw error;
    }
    return await stay(amount > 50);
  },

  async connections({ amount, port }: Amount & { port: number }) {
    for (let connection = 0; connection < amount; connection++) {
      kept.push(await Deno.connect({ hostname: "127.0.0.1", port }));
    }
    return await stay(amount > 2);
  },

  /** `amount` MB in files of 1 MB in the private folder. */
  async disk({ amount }: Amount, { dataDir }: Context) {
    for (let mb = 0; mb < amount; mb++) {
      await Deno.writeFile(`${dataDir}/disk-${mb}`, new Uint8Array(megabyte).fill(1));
    }
    return await stay(amount > 2);
  },

  /** `amount` MB in files that have no name any more. */
  async diskWithoutName({ amount }: Amount, { dataDir }: Context) {
    for (let mb = 0; mb < amount; mb++) {
      const file = await Deno.open(`${dataDir}/nameless`, { create: true, write: true });
      await Deno.remove(`${dataDir}/nameless`);
      await file.write(new Uint8Array(megabyte).fill(1));
      kept.push(file);
    }
    return await stay(amount > 2);
  },

  /** `amount` MB in the temporary folder. */
  async temporary({ amount }: Amount) {
    await writeTemporary(amount);
    return await stay(amount > 2);
  },

  /** `amount` MB in the temporary folder, and twice as much in buffers. */
  async temporaryAndBuffers({ amount }: Amount) {
    await writeTemporary(amount);
    kept.push(new Uint8Array(2 * amount * megabyte).fill(1));
    return await stay(amount > 10);
  },

  /** `amount` empty files in the private folder. */
  async files({ amount }: Amount, { dataDir }: Context) {
    for (let file = 0; file < amount; file++) await Deno.writeTextFile(`${dataDir}/file-${file}`, "");
    return await stay(amount > 10);
  },

  /** One file of `amount` KB. */
  async file({ amount }: Amount, { dataDir }: Context) {
    await Deno.writeFile(`${dataDir}/file`, new Uint8Array(amount * 1_024));
    return "had enough";
  },

  /** `amount` messages, in twice as many milliseconds at most. */
  async messages({ amount }: Amount, ctx: Context) {
    for (let message = 0; message < amount; message++) {
      ctx.progress(0.5);
      await Promise.resolve();
      if (message % 50 === 0) await breathe();
    }
    return await stay(amount > 20);
  },

  output: ({ amount }: Amount) => "x".repeat(amount * 1_024),

  /** `amount` tokens of 64 KB. */
  async *stream({ amount }: Amount) {
    for (let token = 0; token < amount; token++) {
      yield "x".repeat(65_536);
      await breathe();
    }
  },

  size: ({ text }: { text: string }) => text.length,

  /** `amount` lines of 100 characters. */
  log({ amount }: Amount, ctx: Context) {
    for (let line = 0; line < amount; line++) ctx.log.info("x".repeat(100));
    return "had enough";
  },
};
