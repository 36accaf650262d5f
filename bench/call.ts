/**
 * Call: from the kernel's end of an awake cell into its Worker and back, one call at a time, without the
 * ledger.
 *
 * The floor is a bare echo over the same kind of socket into a Worker: frames with a length, bytes that
 * nobody looks at, a process without permissions or checks.
 *
 * Where the scheduler happens to put a process's threads moves its median by a third, for as long as it lives:
 * so several cells and floors are measured, a fresh pair each time.
 *
 * @module
 */
import type { Isolation } from "../schemas/capabilities.ts";
import { LocalCells } from "./local_cells.ts";
import type { Outcome } from "./outcome.ts";
import { median, quantile, rounded } from "./statistics.ts";

const pairs = 6;
const blocks = 20;
const callsPerBlock = 100;
const warmUpBlocks = 8;

const input = new TextEncoder().encode('{"name":"world"}');

type Times = Record<"floor" | "cell", number[]>;

export async function benchCall(): Promise<Outcome> {
  await using cells = new LocalCells();
  const { tiers, reason } = await cells.tiers();
  const tier = tiers.at(-1) ?? "process";
  const found: Times[] = [];
  for (let pair = 0; pair < pairs; pair++) found.push(await measurePair(cells, tier));
  return outcomeOf(found, tier, reason);
}

/** Times of a fresh cell and a fresh floor, in turns. */
async function measurePair(cells: LocalCells, tier: Isolation): Promise<Times> {
  await using floor = await EchoFloor.start();
  const { cell, stop } = await cells.start(tier);
  const timesMs: Times = { floor: [], cell: [] };
  const { signal } = new AbortController();
  for (let block = -warmUpBlocks; block < blocks; block++) {
    for (const subject of ["floor", "cell"] as const) {
      for (let call = 0; call < callsPerBlock; call++) {
        const askedAtMs = performance.now();
        if (subject === "floor") await floor.echo(input);
        else await cell.call({ action: "greet", request: "bench", input, wallMs: 10_000, signal });
        if (block >= 0) timesMs[subject].push(performance.now() - askedAtMs);
      }
    }
  }
  await stop();
  return timesMs;
}

function outcomeOf(found: readonly Times[], tier: string, reason: string): Outcome {
  const ratio = median(found.map(({ floor, cell }) => median(cell) / median(floor)));
  const figures: Record<string, number | null> = {};
  const table = [["call", "p50 ms", "p95 ms", "p99 ms", "p50 / floor"]];
  for (const subject of ["floor", "cell"] as const) {
    const timesMs = found.flatMap((times) => times[subject]);
    const [p50 = NaN, p95 = NaN, p99 = NaN] = [0.5, 0.95, 0.99].map((q) => rounded(quantile(timesMs, q)));
    Object.assign(figures, { [`${subject}P50Ms`]: p50, [`${subject}P95Ms`]: p95, [`${subject}P99Ms`]: p99 });
    const toFloor = subject === "floor" ? 1 : ratio;
    table.push([subject, ...[p50, p95, p99].map((ms) => ms.toFixed(3)), toFloor.toFixed(2)]);
  }
  figures["cellToFloor"] = rounded(ratio, 3);
  return {
    iterations: { pairs, blocks, callsPerBlock, warmUpBlocks },
    figures,
    table,
    notes: ["Aim: p50 at most 1.5 x floor, p99 below 1 ms.", `The cell is ${tier}: ${reason}.`],
  };
}

/** The other end of `floor/echo.js`. */
class EchoFloor implements AsyncDisposable {
  readonly #chunk = new Uint8Array(65_536);

  private constructor(
    private readonly child: Deno.ChildProcess,
    private readonly connection: Deno.Conn,
    private readonly listener: Deno.Listener,
    private readonly folder: string,
  ) {}

  static async start(): Promise<EchoFloor> {
    const folder = Deno.makeTempDirSync({ prefix: "bench-" });
    const listener = Deno.listen({ transport: "unix", path: `${folder}/s` });
    const entry = new URL("floor/echo.js", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-config", "--no-lock", "-A", entry, `${folder}/s`],
      stdin: "null",
    }).spawn();
    return new EchoFloor(child, await listener.accept(), listener, folder);
  }

  async echo(bytes: Uint8Array): Promise<void> {
    const frame = new Uint8Array(4 + bytes.length);
    new DataView(frame.buffer).setUint32(0, bytes.length);
    frame.set(bytes, 4);
    await this.connection.write(frame);
    for (let at = 0; at < frame.length;) {
      const read = await this.connection.read(this.#chunk);
      if (read === null) throw new Error("Cannot measure the floor: its process has ended");
      at += read;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.close();
    this.listener.close();
    await this.child.status;
    await Deno.remove(this.folder, { recursive: true });
  }
}
