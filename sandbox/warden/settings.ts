/**
 * The warden's end of the settings companion: starts it, and believes only what fits the config schema.
 *
 * @module
 */
import { z } from "zod";
import { type Config, configSchema } from "../../schemas/config.ts";

const answerSchema = z.discriminatedUnion("ok", [
  z.strictObject({ ok: z.literal(true), config: configSchema }),
  z.strictObject({ ok: z.literal(false), message: z.string() }),
]);

const timeoutMs = 10_000;
const defaultFile = "airlock.jsonc";
const variables = ["HOST", "PORT", "DATA", "PLUGINS", "TIER", "DEV", "CONFIG"].map((name) =>
  `AIRLOCK_${name}`
);

export interface SettingsRequest {
  readonly flags: Record<string, string | string[] | boolean>;
  environment(name: string): string | undefined;
  readonly files: { readonly main: string; readonly configFile: string };
}

/** Throws with words for the operator when the settings cannot be used. */
export async function readSettings({ flags, environment, files }: SettingsRequest): Promise<Config> {
  const { config: named, ...rest } = flags;
  const env: Record<string, string> = {};
  for (const name of variables) {
    const value = environment(name);
    if (value !== undefined) env[name] = value;
  }
  const asked = typeof named === "string" ? named : env["AIRLOCK_CONFIG"];
  const configFile = `${Deno.cwd()}/${defaultFile}`;
  const file = asked === undefined ? configFile : asked.startsWith("/") ? asked : `${Deno.cwd()}/${asked}`;
  const run = [
    "run",
    "--quiet",
    "--no-prompt",
    "--cached-only",
    `--config=${files.configFile}`,
    `--allow-read=${file}`,
  ];
  const child = new Deno.Command(Deno.execPath(), {
    args: Deno.build.standalone ? ["settings"] : [...run, files.main, "settings"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    signal: AbortSignal.timeout(timeoutMs),
  }).spawn();
  const writer = child.stdin.getWriter();
  const request = { flags: rest, env, configFile: file, isRequired: asked !== undefined };
  await writer.write(new TextEncoder().encode(JSON.stringify(request)));
  await writer.close();
  const { stdout, success } = await child.output();
  if (!success) throw new Error("Cannot read the settings: the companion failed, its message is above");
  const answer = answerSchema.parse(JSON.parse(new TextDecoder().decode(stdout)));
  if (!answer.ok) throw new Error(answer.message);
  return answer.config;
}
