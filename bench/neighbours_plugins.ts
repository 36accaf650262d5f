/**
 * The neighbours of `bench/neighbours.ts`: a healthy plugin, and ten hostile ones beside it, one of each kind.
 *
 * Each hostile plugin has the default limits, and tier and grants as an operator gives them unasked; `sockets` alone
 * is granted one port. Most take turns between two ways: one that stays as close below its limits as it can, and goes
 * on for as long as it may, and one that goes over them at once.
 *
 * @module
 */
import { manifest } from "../tests/support/airlock.ts";

export interface HostilePlugin {
  readonly id: string;
  /** Calls of it at once. */
  readonly clients: number;
  /** Inputs of its calls, in turns. */
  readonly inputs: readonly unknown[];
  /** Read as fast as it comes. */
  readonly isStream?: boolean;
  /** A stream, of which so many bytes are read in a second; left out: an answer that is read at once. */
  readonly readBytesPerSecond?: number;
}

type Files = Record<string, string>;

interface Source extends HostilePlugin {
  readonly more?: Record<string, unknown>;
  readonly code: string;
}

/** A small JSON action, and room for all clients of the bench at once. */
export const healthyId = "healthy";
const healthyFiles: Files = {
  "plugin.jsonc": manifest(healthyId, { actions: { greet: { concurrency: 64 } }, idleMs: 3_600_000 }),
  "mod.ts": `export const actions = {
  greet({ name }: { name: string }) { return { message: "Hello, " + name }; },
};
`,
};

/** `any`, in texts of plugins: each has its own input, and nobody checks their types. */
const run = (body: string, head = "") =>
  `${head}
export const actions = { async run(input: any, ctx: any) {${body}} };
`;
const nested = `const start = (script: string) =>
  new Worker("data:text/javascript," + encodeURIComponent(script), { type: "module" });`;
const pause = `const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));`;

const one = { clients: 1, inputs: [{}] };

function sourcesOf(port: number): Source[] {
  return [...greedySources(), ...outwardSources(port), ...answeringSources()];
}

/** They take the CPU, memory, and the time of whoever reads what they send. */
function greedySources(): Source[] {
  return [
    { ...one, id: "loop", code: run("for (;;);") },
    {
      ...one,
      id: "allocate",
      inputs: [{ mb: 4_096 }, { mb: 60 }],
      code: run(
        `
  for (let mb = 0; mb < input.mb; mb++) kept.push(new Uint8Array(1_048_576).fill(1));
  for (;;) { kept[0] = Array.from({ length: 100_000 }, (_, index) => ({ index })); await pause(0); }
`,
        `const kept: unknown[] = [];\n${pause}`,
      ),
    },
    {
      ...one,
      id: "log-flood",
      code: run(
        `
  const line = "x".repeat(1_000);
  start("for (;;) console.log('" + line + "')");
  for (;;) { for (let count = 0; count < 100; count++) ctx.log.info(line, { count }); await pause(0); }
`,
        `${nested}\n${pause}`,
      ),
    },
    {
      ...one,
      id: "message-flood",
      clients: 2,
      isStream: true,
      inputs: [{ chars: 0 }, { chars: 30_000 }],
      more: { actions: { run: { stream: true } } },
      code: `export const actions = {
  // As many messages as its reader takes, and as many as its cell lets through.
  async *run(input: any, ctx: any) {
    const text = "x".repeat(input.chars);
    for (let count = 0;; count++) { ctx.progress((count % 100) / 100, "on"); yield text; }
  },
};
`,
    },
    {
      ...one,
      id: "workers",
      inputs: [{ count: 6 }, { count: 10_000 }],
      code: run(
        `
  for (let count = 0; count < input.count; count++) { kept.push(start("for (;;);")); await pause(0); }
  await new Promise(() => {});
`,
        `const kept: unknown[] = [];\n${nested}\n${pause}`,
      ),
    },
  ];
}

/** They use what a plugin shares with others outside of its cell. */
function outwardSources(port: number): Source[] {
  return [
    {
      ...one,
      id: "disk",
      inputs: [{ rounds: 1e9 }, { rounds: 20 }],
      code: run(`
  const bytes = new Uint8Array(15 * 1_048_576).fill(1);
  for (let round = 0; round < input.rounds; round++) {
    for (let at = 0; at < 3; at++) {
      using file = await Deno.open(ctx.dataDir + "/large-" + at, { create: true, write: true, truncate: true });
      await file.write(bytes);
      await file.sync();
    }
    for (let at = 0; at < 200; at++) await Deno.writeTextFile(ctx.dataDir + "/small-" + at, String(round));
    for await (const { name } of Deno.readDir(ctx.dataDir)) await Deno.remove(ctx.dataDir + "/" + name);
  }
`),
    },
    {
      ...one,
      id: "sockets",
      inputs: [{ held: 6 }, { held: 1_000 }],
      more: { capabilities: { net: [`127.0.0.1:${port}`] } },
      code: run(`
  for (;;) {
    const held: Deno.Conn[] = [];
    for (let count = 0; count < input.held; count++) {
      held.push(await Deno.connect({ hostname: "127.0.0.1", port: ${port} }));
    }
    for (const connection of held) connection.close();
  }
`),
    },
    {
      ...one,
      id: "crash-loop",
      code: run("setTimeout(() => { throw new Error('crash'); }); await new Promise(() => {});"),
    },
  ];
}

/** They burden whoever hands on what they answer. */
function answeringSources(): Source[] {
  return [
    {
      id: "slow-reader",
      clients: 16,
      inputs: [{}],
      readBytesPerSecond: 100_000,
      more: { actions: { run: { stream: true, concurrency: 16 } }, limits: { outputMb: 64 } },
      code: `export const actions = {
  // Ends before its time is up: a plugin whose calls fail is kept away from callers by its breaker.
  async *run() {
    for (const endMs = performance.now() + 15_000; performance.now() < endMs;) yield "x".repeat(200_000);
  },
};
`,
    },
    {
      id: "huge-output",
      clients: 2,
      more: { limits: { memoryMb: 512 } },
      inputs: [{ kind: "objects" }, { kind: "text" }],
      code: run(`
  // 16 MB as text: five million objects, or one string.
  return input.kind === "text" ? "x".repeat(16_700_000) : new Array(5_500_000).fill({});
`),
    },
  ];
}

/** `port`: of the loopback, which `sockets` is granted. */
export function neighboursOn(port: number): {
  readonly plugins: Record<string, Files>;
  readonly grants: Record<string, unknown>;
  readonly hostile: readonly HostilePlugin[];
} {
  const sources = sourcesOf(port);
  const filesOf = ({ id, code, more }: Source): Files => ({
    "plugin.jsonc": manifest(id, more),
    "mod.ts": code,
  });
  return {
    plugins: {
      [healthyId]: healthyFiles,
      ...Object.fromEntries(sources.map((one) => [one.id, filesOf(one)])),
    },
    grants: { sockets: { net: [`127.0.0.1:${port}`] } },
    hostile: sources.map(({ id, clients, inputs, isStream = false, readBytesPerSecond }) => ({
      ...{ id, clients, inputs, isStream },
      ...(readBytesPerSecond === undefined ? {} : { readBytesPerSecond }),
    })),
  };
}
