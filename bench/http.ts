/**
 * HTTP: requests a second through a real Airlock, ledger entries and all, beside Hono alone and workerd.
 *
 * All three take the same load in turn, in the same run: POST of a small JSON body over 32 connections that
 * stay open, by `wrk`.
 *
 * @module
 */
import { startServer } from "./local_server.ts";
import type { Outcome } from "./outcome.ts";
import { median, rounded } from "./statistics.ts";

const rounds = 3;
const roundSeconds = 4;
const warmUpSeconds = 2;
const connections = 32;
const readyTimeoutMs = 30_000;
/** Its binary comes inside the npm package. */
const workerdPackage = "workerd@1.20261117.1";
const body = '{"name":"world"}';
const root = new URL("..", import.meta.url).pathname;

/** Echo with room for the whole load at once; `hello` has the default concurrency of 4. */
const echoPlugin = {
  "plugin.jsonc": JSON.stringify({
    id: "echo",
    version: "1.0.0",
    airlock: ">=0.1.0 <1.0.0",
    entrypoint: "mod.ts",
    actions: { run: { concurrency: 64 } },
  }),
  "mod.ts": "export const actions = { run(input: unknown) { return input; } };\n",
};

interface Subject {
  readonly name: "hono" | "workerd" | "echo" | "hello";
  readonly url: string;
  readonly token: string;
}

interface Round {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export async function benchHttp(): Promise<Outcome> {
  await using resources = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "bench-" });
  resources.defer(() => Deno.remove(folder, { recursive: true }));
  const notes: string[] = [];
  const subjects = await startSubjects(folder, resources, notes);
  const found = new Map<string, Round[]>(subjects.map(({ name }) => [name, []]));
  for (const subject of subjects) await load(folder, subject, warmUpSeconds);
  for (let round = 0; round < rounds; round++) {
    for (const subject of subjects) found.get(subject.name)?.push(await load(folder, subject, roundSeconds));
  }
  return outcomeOf(found, notes);
}

async function startSubjects(
  folder: string,
  resources: AsyncDisposableStack,
  notes: string[],
): Promise<Subject[]> {
  for (const [file, text] of Object.entries(echoPlugin)) {
    await Deno.mkdir(`${folder}/plugins/echo`, { recursive: true });
    await Deno.writeTextFile(`${folder}/plugins/echo/${file}`, text);
  }
  const data = `${folder}/data`;
  const serve = ["main.ts", "serve", "--port", "0", "--data", data, "--plugins", `${folder}/plugins`];
  const airlock = await startServer(resources, serve);
  const token = (await Deno.readTextFile(`${data}/admin.token`)).trim();
  const hono = await startServer(resources, ["bench/floor/hono.ts"]);
  const subjects: Subject[] = [
    { name: "hono", url: hono, token: "" },
    { name: "echo", url: `${airlock}/v1/plugins/echo/actions/run`, token },
    { name: "hello", url: `${airlock}/v1/plugins/hello/actions/greet`, token },
  ];
  try {
    subjects.push({ name: "workerd", url: await startWorkerd(folder, resources), token: "" });
  } catch (error) {
    notes.push(`workerd was not measured: ${error instanceof Error ? error.message : String(error)}.`);
  }
  return subjects;
}

async function startWorkerd(folder: string, resources: AsyncDisposableStack): Promise<string> {
  const npm = new Deno.Command("npm", {
    args: ["install", "--silent", "--no-save", "--prefix", folder, workerdPackage],
    stdout: "null",
    stderr: "null",
  });
  const { success } = await npm.output();
  if (!success) throw new Error(`npm could not install ${workerdPackage}`);
  await Deno.copyFile(`${root}bench/floor/workerd.js`, `${folder}/workerd.js`);
  const port = freePort();
  await Deno.writeTextFile(
    `${folder}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [(name = "main", esModule = embed "workerd.js")], compatibilityDate = "2026-01-01"))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`,
  );
  const child = new Deno.Command(`${folder}/node_modules/.bin/workerd`, {
    args: ["serve", `${folder}/config.capnp`],
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  resources.defer(async () => {
    child.kill("SIGTERM");
    await child.status;
  });
  const url = `http://127.0.0.1:${port}/`;
  for (const deadlineMs = performance.now() + readyTimeoutMs; performance.now() < deadlineMs;) {
    try {
      await (await fetch(url, { method: "POST", body })).text();
      return url;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error("it did not answer");
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function load(folder: string, { name, url, token }: Subject, seconds: number): Promise<Round> {
  const script = `${folder}/${name}.lua`;
  await Deno.writeTextFile(
    script,
    `wrk.method = "POST"
wrk.body = '${body}'
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer ${token}"
done = function(summary, latency)
  local failed = summary.errors.status + summary.errors.read + summary.errors.timeout
  io.write(string.format("RESULT %f %f %f %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed))
end
`,
  );
  const { stdout } = await new Deno.Command("wrk", {
    args: ["-t1", `-c${connections}`, `-d${seconds}s`, "-s", script, url],
    stderr: "inherit",
  }).output();
  const match = /^RESULT (\S+) (\S+) (\S+) (\d+)$/m.exec(new TextDecoder().decode(stdout));
  if (match === null || match[4] !== "0") {
    throw new Error(`Cannot measure "${name}": ${match?.[4] ?? "all"} failed`);
  }
  return { requestsPerSecond: Number(match[1]), p50Ms: Number(match[2]), p99Ms: Number(match[3]) };
}

function outcomeOf(found: Map<string, Round[]>, notes: string[]): Outcome {
  const figures: Record<string, number | null> = {};
  const table = [["http", "requests/s", "p50 ms", "p99 ms", "/ hono"]];
  const of = (name: string, key: keyof Round) => median((found.get(name) ?? []).map((round) => round[key]));
  for (const name of found.keys()) {
    const requestsPerSecond = of(name, "requestsPerSecond");
    const ratio = requestsPerSecond / of("hono", "requestsPerSecond");
    figures[`${name}RequestsPerSecond`] = Math.round(requestsPerSecond);
    figures[`${name}P50Ms`] = rounded(of(name, "p50Ms"));
    figures[`${name}P99Ms`] = rounded(of(name, "p99Ms"));
    figures[`${name}ToHono`] = rounded(ratio, 3);
    table.push([
      name,
      requestsPerSecond.toFixed(0),
      of(name, "p50Ms").toFixed(2),
      of(name, "p99Ms").toFixed(2),
      ratio.toFixed(3),
    ]);
  }
  const toWorkerd = of("echo", "requestsPerSecond") / of("workerd", "requestsPerSecond");
  figures["echoToWorkerd"] = Number.isNaN(toWorkerd) ? null : rounded(toWorkerd, 3);
  return {
    iterations: { rounds, roundSeconds, connections },
    figures,
    table,
    notes: [
      "Aim: echo at least 0.15 x hono, and above workerd.",
      "echo takes 64 calls at once; hello the default of 4, so its calls wait in line.",
      ...notes,
    ],
  };
}
