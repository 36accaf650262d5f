/**
 * Attackers: the same code as several plugins, each under other grants, and the neighbour that they must not
 * reach.
 *
 * @module
 */
import type { Isolation, OperatorGrants } from "../../schemas/capabilities.ts";
import { isSealedAvailable, manifest } from "../support/airlock.ts";
import { hasProgram } from "../support/processes.ts";
import { type AttackRow, expectedIn, isPackageRow, type Row } from "./row.ts";
import type { Outside } from "./world.ts";

/** What asks for everything that can be asked for, in words that leave the choice to the operator. */
const everything = {
  ...{ net: ["*"], read: ["*"], write: ["*"], run: ["*"], env: ["*"], ffi: ["*"], eval: true },
  sys: ["hostname", "osRelease", "loadavg", "networkInterfaces", "systemMemoryInfo", "uid"],
};

const programs = ["cat", "chmod", "env", "ln", "mknod", "mount", "perl", "sh", "unshare"];

/** A grant names a program and not a link to it: `sh` is one. */
export function realProgram(name: string): string {
  try {
    return Deno.realPathSync(`/usr/bin/${name}`);
  } catch {
    return `/usr/bin/${name}`; // the test is skipped
  }
}
/** A path that is not a link, nor passes through one. */
export const libc = ["x86_64-linux-gnu/", "aarch64-linux-gnu/", ""]
  .flatMap((folder) => [`/usr/lib/${folder}libc.so.6`, `/usr/lib64/${folder}libc.so.6`])
  .find((path) => {
    try {
      return Deno.realPathSync(path) === path;
    } catch {
      return false;
    }
  }) ?? "/usr/lib/libc.so.6";

interface Profile {
  readonly more?: Record<string, unknown>;
  readonly tiers?: readonly Isolation[];
  grants?(outside: Outside): OperatorGrants;
}

const runner = { capabilities: everything, limits: { fileDescriptors: 1_024 } };

/** Grant profiles by name, which is the plugin's id. */
const profiles = {
  /** Requests nothing. */
  bare: {},
  /** Requests nothing, and may use little. */
  small: {
    more: {
      limits: {
        ...{ memoryMb: 48, diskMb: 8, fileMb: 2, files: 300, fileDescriptors: 96, threads: 48 },
        messagesPerSecond: 1_000,
      },
    },
  },
  /** Requests nothing, and has little time on the CPU. */
  thrifty: { more: { limits: { cpuMs: 300 } } },
  /** Requests nothing; its outputs have a schema. Its first call is numbered 1, so it has one row. */
  typed: { more: { actions: { attack: { output: { type: "object" }, timeoutMs: 2_000 }, fine: {} } } },
  /** Requests everything; each row brings its own grants. */
  grantee: { more: { capabilities: everything } },
  /** A folder, a variable and a kind of system information. */
  granted: {
    more: { capabilities: everything },
    grants: ({ shared }) => ({
      read: [shared],
      write: [shared],
      env: ["ESCAPE_GRANTED"],
      sys: ["hostname"],
    }),
  },
  /** One address. */
  online: {
    more: { capabilities: everything },
    grants: ({ openPort }) => ({ net: [`127.0.0.1:${openPort}`] }),
  },
  /** Programs, a shell and an interpreter among them, and a folder to read. */
  runner: {
    more: runner,
    tiers: ["sealed"],
    grants: ({ shared }) => ({ run: programs.map(realProgram), read: [shared] }),
  },
  /** The C library: native code in the cell's own process. */
  native: {
    more: { capabilities: everything },
    tiers: ["sealed"],
    grants: () => ({ ffi: [libc] }),
  },
} as const satisfies Record<string, Profile>;

export type Attacker = keyof typeof profiles;

const attackerNames = Object.keys(profiles) as Attacker[];

export const neighbourId = "neighbour";

/** Debian packages without which the rows of the sealed tier cannot run here. */
export async function missingPackages(): Promise<string[]> {
  return [
    ...await isSealedAvailable() ? [] : ["bubblewrap"],
    ...programs.filter((name) => !hasProgram(name)),
  ];
}

function profileOf(name: Attacker): Profile {
  return profiles[name];
}

/** Those that can exist in a tier. */
export function attackersIn(tier: Isolation): Attacker[] {
  return attackerNames.filter((name) => profileOf(name).tiers?.includes(tier) ?? true);
}

/** The operator's grants, for `airlock.jsonc`. */
export function grantsIn(tier: Isolation, outside: Outside): Record<string, OperatorGrants> {
  return Object.fromEntries(
    attackersIn(tier).map((name) => [name, profileOf(name).grants?.(outside) ?? {}]),
  );
}

/** Attackers and neighbour as packages: id → file → text. */
export function attackPackages(
  tier: Isolation,
  rows: readonly Row[],
): Record<string, Record<string, string>> {
  const attacks = rows.filter((row) => expectedIn(row, tier) !== undefined)
    .flatMap((row) => isPackageRow(row) ? [] : [row]);
  const packages = attackersIn(tier).map((name) => {
    const own = attacks.filter(({ by }) => by === name)
      .flatMap((row) => [[row.name, row.attack.toString()] as const, ...row.worksWithin ? partsOf(row) : []]);
    return [name, packageOf(name, own, profileOf(name).more)] as const;
  });
  const meanwhile = attacks.flatMap(partsOf);
  return Object.fromEntries([...packages, [neighbourId, packageOf(neighbourId, meanwhile, {})]]);
}

/** The name under which the neighbour's part of a row stands in a package. */
export function neighbourPart(row: string): string {
  return `${row} (found)`;
}

function partsOf({ name, neighbour }: AttackRow): (readonly [name: string, text: string])[] {
  return neighbour === undefined ? [] : [[neighbourPart(name), neighbour.toString()]];
}

function packageOf(
  id: string,
  attacks: readonly (readonly [name: string, text: string])[],
  more: Record<string, unknown> = {},
): Record<string, string> {
  const listed = attacks.map(([name, text]) => `  ${JSON.stringify(name)}: ${text},\n`).join("");
  return {
    "plugin.jsonc": manifest(id, {
      actions: {
        ...{ attack: { timeoutMs: 12_000 }, endless: { timeoutMs: 300 }, raw: { timeoutMs: 12_000 } },
        ...{ stream: { stream: true, timeoutMs: 3_000 }, fine: {}, over: {} },
      },
      // Attacks end cells one after the other, and each row begins with a plugin that works.
      restart: { max: 1_000 },
      ...more,
    }),
    "attacker.ts": Deno.readTextFileSync(new URL("guest/attacker.ts", import.meta.url)),
    "mod.ts":
      `import { actionsOf } from "./attacker.ts";\nexport const actions = actionsOf({\n${listed}});\n`,
  };
}
