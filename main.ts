/**
 * Entry of every process of Airlock: reads arguments and environment, and dispatches.
 *
 * The words before which nothing is documented (`kernel`, `cell`, `settings`) start the companions of
 * `serve`; they are here so that a compiled binary can be all of them.
 *
 * @module
 */
import { parseArgs } from "node:util";

const usage = `airlock: a permissioned runtime for plugins that nobody has to trust

  main.ts serve [--host 127.0.0.1] [--port 8787] [--data DIR] [--plugins DIR]... [--config FILE]
                [--tier auto|process|sealed] [--dev]
  main.ts ledger verify|keys|show ...      (main.ts ledger --help)
  main.ts audit show|trim ID ...           (main.ts audit --help)

Flags win over AIRLOCK_* variables (AIRLOCK_HOST, AIRLOCK_PORT, ...), those over airlock.jsonc.
`;

/** Runs one command and returns the exit code. */
async function main([command = "serve", ...args]: string[]): Promise<number> {
  switch (command) {
    case "serve":
      return await serve(args);
    case "ledger": {
      const { runLedger } = await import("./cli/run_ledger.ts");
      return await runLedger(args, { token: Deno.env.get("AIRLOCK_TOKEN") });
    }
    case "audit": {
      const { runAudit } = await import("./cli/run_audit.ts");
      return await runAudit(args, { token: Deno.env.get("AIRLOCK_TOKEN") });
    }
    case "kernel": {
      const { runKernel } = await import("./kernel/api/entry.ts");
      return await runKernel();
    }
    case "cell": {
      const { runCell } = await import("./sandbox/dist/cell.js");
      await runCell();
      return 0;
    }
    case "settings": {
      const { printSettings } = await import("./kernel/settings.ts");
      return await printSettings();
    }
    case "help":
    case "--help":
      console.log(usage);
      return 0;
    default:
      console.error(`Cannot run "${command}": there is no such command\n\n${usage}`);
      return 2;
  }
}

async function serve(args: string[]): Promise<number> {
  const { runWarden } = await import("./sandbox/warden/warden.ts");
  const { readSettings } = await import("./sandbox/warden/settings.ts");
  const { swaggerUiFolder } = await import("./kernel/api/swagger_ui_folder.ts");
  try {
    const flags = parseFlags(args);
    if (flags === undefined) {
      console.log(usage);
      return 0;
    }
    const own = (path: string) => decodeURIComponent(new URL(path, import.meta.url).pathname);
    const files = {
      main: own("main.ts"),
      configFile: own("deno.json"),
      codeDir: own(".").replace(/\/$/, ""),
      bundledPlugins: own("plugins"),
      docsDir: swaggerUiFolder(),
      bundleDir: own("sandbox/dist"),
    };
    const environment = (name: string) => Deno.env.get(name);
    return await runWarden({
      config: await readSettings({ flags, environment, files }),
      files,
      environment,
      print: (text) => console.log(text),
      log: (message) => console.error(message),
    });
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

function parseFlags(args: string[]): Record<string, string | string[] | boolean> | undefined {
  const { values } = parseArgs({
    args,
    strict: true,
    allowPositionals: false,
    options: {
      host: { type: "string" },
      port: { type: "string" },
      data: { type: "string" },
      plugins: { type: "string", multiple: true },
      config: { type: "string" },
      tier: { type: "string" },
      dev: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  const { help, ...flags } = values;
  return help ? undefined : flags;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
