/**
 * Settings: the configuration in force, out of flags, environment, file and defaults.
 *
 * A companion process of the warden, because the warden parses no text that people write. It reads one
 * request from stdin, may read one file, and answers on stdout.
 *
 * @module
 */
import { z } from "zod";
import { type Config, configSchema } from "../schemas/config.ts";
import { parseDocument } from "../schemas/parse_document.ts";
import type { Fault } from "../schemas/problem.ts";

/** What the warden asks. */
const requestSchema = z.strictObject({
  flags: z.record(z.string(), z.union([z.string(), z.array(z.string()), z.boolean()])),
  env: z.record(z.string(), z.string()),
  configFile: z.string(),
  /** False for the default file: it may be absent. */
  isRequired: z.boolean(),
});

/** Where each flag and variable stands in the configuration. Flags win over variables. */
const settable = {
  host: { path: ["host"], parse: (text: string) => text },
  port: { path: ["port"], parse: parsePort },
  data: { path: ["data"], parse: (text: string) => text },
  tier: { path: ["cells", "tier"], parse: (text: string) => text },
} as const;

/** NaN for what is not a port. */
function parsePort(text: string): number {
  return /^[0-9]{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : Number.NaN;
}

/** Prints `{ ok: true, config }` or `{ ok: false, message }`. Returns the exit code. */
export async function printSettings(): Promise<number> {
  const request = requestSchema.parse(JSON.parse(await new Response(Deno.stdin.readable).text()));
  console.log(JSON.stringify(await resolve(request)));
  return 0;
}

type Answer = { ok: true; config: Config } | { ok: false; message: string };

async function resolve(request: z.infer<typeof requestSchema>): Promise<Answer> {
  const file = await readConfigFile(request);
  if (!file.ok) return file;
  const config = z.record(z.string(), z.json()).parse(file.config);
  const faults = override(config, request);
  if (faults.length > 0) return { ok: false, message: faults.join("\n") };
  const parsed = configSchema.safeParse(config);
  if (parsed.success) return { ok: true, config: parsed.data };
  return { ok: false, message: `Cannot use the settings: ${z.prettifyError(parsed.error)}` };
}

async function readConfigFile({ configFile, isRequired }: z.infer<typeof requestSchema>): Promise<Answer> {
  let text: string;
  try {
    text = await Deno.readTextFile(configFile);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound && !isRequired) {
      return { ok: true, config: configSchema.parse({}) };
    }
    return { ok: false, message: `Cannot read configuration "${configFile}": ${String(error)}` };
  }
  const document = parseDocument(configSchema, text, { what: `configuration "${configFile}"` });
  if (document.ok) return { ok: true, config: document.value };
  return { ok: false, message: [document.message, ...document.faults.map(faultLine)].join("\n") };
}

function faultLine({ path, line, message }: Fault): string {
  return `  ${line === undefined ? "" : `line ${line}: `}${path === "" ? "" : `${path} `}${message}`;
}

/** Writes flags and variables over the file's values. Returns what cannot be. */
function override(
  config: Record<string, z.core.util.JSONType>,
  { flags, env }: z.infer<typeof requestSchema>,
): string[] {
  const faults: string[] = [];
  for (const [name, { path, parse }] of Object.entries(settable)) {
    const variable = `AIRLOCK_${name.toUpperCase()}`;
    const text = flags[name] ?? env[variable];
    if (text === undefined) continue;
    const value = typeof text === "string" ? parse(text) : Number.NaN;
    if (text === "" || Number.isNaN(value)) {
      faults.push(
        `Cannot use ${flags[name] === undefined ? variable : `--${name}`} "${String(text)}": it ${
          name === "port" ? "must be a port from 0 to 65535" : "is not a value"
        }`,
      );
      continue;
    }
    const [section = "", key] = path as readonly string[];
    if (key === undefined) config[section] = value;
    else config[section] = { ...z.record(z.string(), z.json()).parse(config[section] ?? {}), [key]: value };
  }
  if (flags["dev"] === true || env["AIRLOCK_DEV"] === "1") config["dev"] = true;
  const fromEnv = (env["AIRLOCK_PLUGINS"] ?? "").split(":").filter((folder) => folder !== "");
  const folders = flags["plugins"] ?? (fromEnv.length > 0 ? fromEnv : undefined);
  if (Array.isArray(folders)) config["plugins"] = folders;
  return faults;
}
