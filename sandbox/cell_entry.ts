/**
 * The entry of a cell's process: takes its orders from stdin, and starts the Worker, the connection and the
 * cell's own program at the same time.
 *
 * Order matters: stdin is read to its end before the Worker exists, because a Worker can read the stdin of its
 * process. Small, so that the Worker's thread starts up while `cell.ts` and its libraries are loaded.
 *
 * Runs bundled, as `sandbox/dist/entry.js`: see `sandbox/build_cell.ts`.
 *
 * @module
 */
import type { CellBoot } from "../schemas/cell_protocol.ts";

const bootBytesMax = 1_048_576;

/** Runs until the kernel or the plugin ends it; never returns. */
export async function runCell(): Promise<never> {
  const [token = "", bootJson = ""] = readStdin().split("\n", 2);
  // The warden's word, like the program itself.
  const boot: CellBoot = JSON.parse(bootJson);
  const worker = new Worker(new URL("./guest.js", import.meta.url), {
    type: "module",
    deno: { permissions: { ...boot.permissions } },
  });
  const program: Promise<typeof import("./cell.ts")> = import(new URL("./cell.js", import.meta.url).href);
  const connection = await Deno.connect({ transport: "unix", path: boot.socket });
  const { Cell } = await program;
  return await new Cell(worker, connection).run(token);
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

if (import.meta.main) await runCell();
