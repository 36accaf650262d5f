/**
 * Call: from the kernel's end of an awake cell into its Worker and back, one call at a time, without the
 * ledger.
 *
 * The floor is a bare echo over the same kind of socket into a Worker: frames with a length, bytes that
 * nobody looks at, a process without permissions or checks.
 *
 * @module
 */
import { LocalCells } from "./local_cells.ts";
import type { Outcome } from "./outcome.ts";
import { median, quantile, rounded } from "./statistics.ts";

const blocks = 40;
const callsPerBlock = 200;
const warmUpBlocks = 5;

const input = new TextEncoder().encode('{"name":"world"}');

export async function benchCall(): Promise<Outcome> {
  await using cells = new LocalCells();
  const { tiers, reason } = await cells.tiers();
  const tier = tiers.at(-1) ?? "process";
  const started = await cells.start(tier);
  await using floor = await EchoFloor.start();
  const timesMs: Record<"floor" | "cell", number[]> = { floor: [], cell: [] };
  const { signal } = new AbortController();
  const callCell = async () => {
    await started.cell.call({ action: "greet", request: "bench", input, wallMs: 10_000, signal });
  };
  for (let block = -warmUpBlocks; block < blocks; block++) {
    for (const subject of ["floor", "cell"] as const) {
      for (let call = 0; call < callsPerBlock; call++) {
        const askedAtMs = performance.now();
        await (subject === "floor" ? floor.echo(input) : callCell());
        if (block >= 0) timesMs[subject].push(performance.now() - askedAtMs);
      }
    }
  }
  await started.stop();
  return outcomeOf(timesMs, tier, reason);
}

function outcomeOf(timesMs: Record<"floor" | "cell", number[]>, tier: string, reason: string): Outcome {
  const figures: Record<string, number | null> = {};
  const table = [["call", "p50 ms", "p95 ms", "p99 ms", "p50 / floor"]];
  for (const subject of ["floor", "cell"] as const) {
    const [p50 = NaN, p95 = NaN, p99 = NaN] = [0.5, 0.95, 0.99].map((q) =>
      rounded(quantile(timesMs[subject], q))
    );
    const ratio = rounded(p50 / median(timesMs.floor), 3);
    Object.assign(figures, { [`${subject}P50Ms`]: p50, [`${subject}P95Ms`]: p95, [`${subject}P99Ms`]: p99 });
    table.push([subject, ...[p50, p95, p99].map((ms) => ms.toFixed(3)), ratio.toFixed(2)]);
  }
  figures["cellToFloor"] = rounded(median(timesMs.cell) / median(timesMs.floor), 3);
  return {
    iterations: { blocks, callsPerBlock, warmUpBlocks },
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
