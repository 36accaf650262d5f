/**
 * A process that appends to the ledger in the folder named by its argument, several records at a time, and
 * prints the index and the request of each one that was acknowledged. It ends when it is killed.
 *
 * @module
 */
import { openLedger } from "../ledger.ts";
import { accepted, createDeps, options } from "./ledger_support.ts";

const ledger = await openLedger(
  { ...options, folder: Deno.args[0], checkpointIntervalMs: 20 },
  createDeps().deps,
);

async function appendForEver(writer: number): Promise<void> {
  for (let count = 0;; count++) {
    const request = `${Deno.pid}-${writer}-${count}`;
    const { index } = await ledger.append(accepted(request));
    await Deno.stdout.write(new TextEncoder().encode(`${index} ${request}\n`));
  }
}

await Promise.all(Array.from({ length: 8 }, (_, writer) => appendForEver(writer)));
