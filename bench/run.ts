/**
 * Runs one bench: a table for people, then one line with one JSON object of named figures.
 *
 *     deno task bench start|call|http|wake|runaway|ledger|jobs|stream|plugins|neighbours
 *
 * Each bench measures its floor in the same run, interleaved with what it measures: only the ratio of the
 * two says something on a machine that is not idle.
 *
 * @module
 */
import { describeCommit, describeMachine } from "./machine.ts";
import type { Bench, Outcome } from "./outcome.ts";

const benches: Record<string, () => Promise<Bench>> = {
  start: async () => (await import("./start.ts")).benchStart,
  call: async () => (await import("./call.ts")).benchCall,
  http: async () => (await import("./http.ts")).benchHttp,
  runaway: async () => (await import("./runaway.ts")).benchRunaway,
  ledger: async () => (await import("./ledger.ts")).benchLedger,
  jobs: async () => (await import("./jobs.ts")).benchJobs,
  stream: async () => (await import("./stream.ts")).benchStream,
  wake: async () => (await import("./wake.ts")).benchWake,
  plugins: async () => (await import("./plugins.ts")).benchPlugins,
  neighbours: async () => (await import("./neighbours.ts")).benchNeighbours,
};

/** Hardly any bench needs as long; one that hangs must not hold up whoever waits for it. */
const deadlineMs = 600_000;
/** Of those that do: this one has ten minutes of hostility in it. */
const longerMs: Readonly<Record<string, number>> = { neighbours: 1_200_000 };

async function main([name = "", ...rest]: string[]): Promise<number> {
  const load = Object.hasOwn(benches, name) ? benches[name] : undefined;
  if (load === undefined || rest.length > 0) {
    console.error(
      `Cannot run bench "${[name, ...rest].join(" ")}": there are ${Object.keys(benches).join(", ")}`,
    );
    return 2;
  }
  const timeoutMs = longerMs[name] ?? deadlineMs;
  const overdue = setTimeout(() => {
    console.error(`Cannot finish bench "${name}": it took more than ${timeoutMs} ms`);
    Deno.exit(1);
  }, timeoutMs);
  const date = new Date().toISOString();
  const bench = await load();
  const before = describeMachine();
  const outcome = await bench();
  clearTimeout(overdue);
  console.log(`${formatTable(outcome.table)}\n${outcome.notes.map((note) => `\n${note}`).join("")}\n`);
  console.log(JSON.stringify({
    bench: name,
    date,
    commit: await describeCommit(),
    command: `deno task bench ${name}`,
    machine: { ...before, loadAfter: Deno.loadavg() },
    iterations: outcome.iterations,
    figures: outcome.figures,
    notes: outcome.notes,
  }));
  return 0;
}

function formatTable(table: Outcome["table"]): string {
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0))
  );
  return table.map((row) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))
      .join("  ")
  ).join("\n");
}

if (import.meta.main) Deno.exit(await main(Deno.args));
