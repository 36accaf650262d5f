/**
 * The world around the attackers: secrets, files, listeners and processes that must stay as they are, and
 * what is seen of them from outside.
 *
 * Whether an attack was an escape is told here, by comparing two views, and never by the plugin.
 *
 * @module
 */
import { createSocket } from "node:dgram";
import { join } from "node:path";
import type { Isolation } from "../../schemas/capabilities.ts";
import { Airlock, serveCommand } from "../support/airlock.ts";
import { isAlive } from "../support/processes.ts";
import { attackPackages, grantsIn, libc, neighbourId, realProgram } from "./attackers.ts";
import type { Aim } from "./guest/attacker.ts";
import { type Breach, expectedIn, isPackageRow, type Row } from "./row.ts";

/** What exists before Airlock starts, and outlives it. */
export interface Outside extends AsyncDisposable {
  readonly path: string;
  readonly outside: string;
  readonly canary: string;
  readonly shared: string;
  readonly plants: readonly string[];
  readonly outsideSocket: string;
  readonly fifo: string;
  readonly secretPort: number;
  readonly openPort: number;
  /** What no answer may contain. */
  readonly secrets: Readonly<Record<"canary" | "environment" | "listener" | "neighbour", string>>;
  /** Connections, datagrams and bytes that came to what was not granted. */
  connections(): number;
}

const random = () => crypto.randomUUID().replaceAll("-", "");

export async function makeOutside(): Promise<Outside> {
  await using stack = new AsyncDisposableStack();
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "escape-" }));
  stack.defer(() => Deno.remove(path, { recursive: true }));
  const [outside, shared] = [join(path, "outside"), join(path, "shared")];
  const secrets = { canary: random(), environment: random(), listener: random(), neighbour: random() };
  const name = `escape-${random()}`;
  const plants = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/etc", "/usr/bin", "/"]
    .map((folder) => join(folder, name));
  stack.defer(async () => {
    for (const plant of plants.filter(exists)) await Deno.remove(plant, { recursive: true });
  });
  await Deno.mkdir(outside);
  await Deno.mkdir(join(shared, "deep"), { recursive: true });
  await Deno.writeTextFile(join(outside, "canary"), secrets.canary);
  await Deno.writeTextFile(join(outside, "code.js"), `export const secret = "${secrets.canary}";`);
  await Deno.writeTextFile(join(shared, "note"), "shared");
  const fifo = join(path, "fifo");
  await new Deno.Command("mkfifo", { args: [fifo] }).output();

  const secret = stack.use(await listenAll(secrets.listener));
  const outsideSocket = join(outside, "socket");
  const unix = listen(secrets.listener, outsideSocket);
  const pipe = stack.use(await drain(fifo));
  const open = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, ({ url }) => {
    const to = new URL(url).searchParams.get("to");
    return to === null
      ? new Response("open")
      : new Response(null, { status: 302, headers: { location: to } });
  });
  stack.use(unix);
  stack.use(open);
  const owned = stack.move();
  return {
    ...{ path, outside, shared, outsideSocket, secrets, fifo },
    canary: join(outside, "canary"),
    plants,
    secretPort: secret.port,
    openPort: open.addr.port,
    connections: () => secret.count() + unix.count() + pipe.count(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Listener extends AsyncDisposable {
  readonly port: number;
  count(): number;
}

/** Tells everybody who connects the secret, in HTTP. */
function listen(secret: string, path?: string): Listener {
  const listener = path === undefined
    ? Deno.listen({ hostname: "127.0.0.1", port: 0 })
    : Deno.listen({ transport: "unix", path });
  let connections = 0;
  const body = new TextEncoder().encode(
    `HTTP/1.1 200 OK\r\ncontent-type: text/javascript\r\ncontent-length: ${secret.length}\r\nconnection: close\r\n\r\n${secret}`,
  );
  const accepting = (async () => {
    for await (const connection of listener) {
      connections++;
      await connection.write(body).catch(() => {});
      connection.close();
    }
  })();
  return {
    port: listener.addr.transport === "tcp" ? listener.addr.port : 0,
    count: () => connections,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
    },
  };
}

const sharedPortAttemptsMax = 10;

/** {@linkcode listen}, and counts datagrams too, which come to a port of the same number. */
async function listenAll(secret: string): Promise<Listener> {
  for (let attempt = 1;; attempt++) {
    const stream = listen(secret);
    const datagrams = createSocket("udp4");
    const bound = Promise.withResolvers<void>();
    datagrams.once("error", bound.reject).bind(stream.port, "127.0.0.1", bound.resolve);
    try {
      await bound.promise;
    } catch (error) {
      await stream[Symbol.asyncDispose]();
      if (attempt === sharedPortAttemptsMax) throw error;
      continue;
    }
    let count = 0;
    datagrams.on("message", () => count++);
    return {
      port: stream.port,
      count: () => stream.count() + count,
      async [Symbol.asyncDispose]() {
        const closed = Promise.withResolvers<void>();
        datagrams.close(() => closed.resolve());
        await closed.promise;
        await stream[Symbol.asyncDispose]();
      },
    };
  }
}

/** Reads what is written to a pipe. Opened for both, it neither waits for a writer nor ends with one. */
async function drain(path: string): Promise<{ count(): number } & AsyncDisposable> {
  const file = await Deno.open(path, { read: true, write: true });
  let bytes = 0;
  const end = new TextEncoder().encode("\0");
  const reading = (async () => {
    const buffer = new Uint8Array(1_024);
    for (;;) {
      const count = await file.read(buffer) ?? 0;
      if (buffer.subarray(0, count).includes(0)) return;
      bytes += count;
    }
  })();
  return {
    count: () => bytes,
    async [Symbol.asyncDispose]() {
      // By another descriptor: operations on one wait for each other.
      await Deno.writeFile(path, end, { append: true });
      await reading;
      file.close();
    },
  };
}

/** Numbers of the descriptors that are left open, as a careless service manager might. */
const inherited = { pipe: 8, file: 9 } as const;

/** The command that starts Airlock, with the descriptors. */
function carelessCommand({ fifo, canary }: Outside): string[] {
  const script =
    `fifo=$1 canary=$2; shift 2; exec "$@" ${inherited.pipe}<>"$fifo" ${inherited.file}<"$canary"`;
  return ["sh", "-c", script, "sh", fifo, canary, ...serveCommand];
}

export interface World extends AsyncDisposable {
  readonly tier: Isolation;
  readonly airlock: Airlock;
  readonly outside: Outside;
  readonly aim: Aim;
  /** Package row → the id under which it is installed. */
  readonly packageIds: ReadonlyMap<Row, string>;
}

/** Starts an Airlock in which the attackers of `rows` can be. */
export async function makeWorld(
  tier: Isolation,
  rows: readonly Row[],
  startTimeoutMs: number,
): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const outside = stack.use(await makeOutside());
  const packages = join(outside.path, "packages");
  const packageIds = await writePackages(packages, tier, rows, outside);
  const airlock = stack.use(
    await Airlock.start({
      args: ["--tier", tier, "--plugins", packages],
      command: carelessCommand(outside),
      env: { ESCAPE_SECRET: outside.secrets.environment, ESCAPE_GRANTED: "granted" },
      plugins: attackPackages(tier, rows),
      config: {
        grants: grantsIn(tier, outside),
        cells: {
          stopTimeoutMs: 300,
          startTimeoutMs,
          // A row fails because of its attack and not because others failed before.
          breakerFailures: 1_000_000,
          restartBackoffMs: 1,
          restartBackoffMaxMs: 10,
        },
      },
    }),
  );
  await airlock.call(neighbourId, "fine");
  const neighbourData = `${airlock.dataDir}/plugins/${neighbourId}`;
  await Deno.writeTextFile(`${neighbourData}/secret`, outside.secrets.neighbour);
  const { canary, shared, plants, outsideSocket, secretPort, openPort } = outside;
  const aim: Aim = {
    ...{ canary, shared, plants, outsideSocket, secretPort, openPort, neighbourData },
    outside: outside.outside,
    dataDir: airlock.dataDir,
    token: `${airlock.dataDir}/admin.token`,
    runFolder: airlock.runFolder,
    socket: `${airlock.runFolder}/s`,
    kernelPid: await airlock.kernelPid(),
    wardenPid: airlock.pid,
    neighbourPid: (await airlock.plugin(neighbourId)).pid ?? 0,
    kernelPort: Number(new URL(airlock.url).port),
    inheritedPipe: inherited.pipe,
    inheritedFile: inherited.file,
    deno: Deno.realPathSync(Deno.execPath()),
    libc,
    shell: realProgram("sh"),
    controlSocket: 0,
    mark: `mark-${random()}`,
  };
  const owned = stack.move();
  return { tier, airlock, outside, aim, packageIds, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function writePackages(
  folder: string,
  tier: Isolation,
  rows: readonly Row[],
  outside: Outside,
): Promise<Map<Row, string>> {
  const ids = new Map<Row, string>();
  await Deno.mkdir(folder);
  for (const row of rows) {
    if (!isPackageRow(row) || expectedIn(row, tier) === undefined) continue;
    const id = `package${ids.size}`;
    ids.set(row, id);
    for (const [name, text] of Object.entries(row.files(id, outside))) {
      await Deno.mkdir(join(folder, id, name, ".."), { recursive: true });
      await Deno.writeTextFile(join(folder, id, name), text);
    }
    await row.tamper?.(join(folder, id), outside);
  }
  return ids;
}

/** Of a fresh cell: of the sockets that it holds once, the last that it opened. The runtime's own come before. */
export async function controlSocketOf({ airlock }: World, plugin: string): Promise<number> {
  await airlock.call(plugin, "fine");
  const folder = `/proc/${(await airlock.plugin(plugin)).pid}/fd`;
  const sockets = [...Deno.readDirSync(folder)]
    .map(({ name }) => ({ name, to: Deno.readLinkSync(`${folder}/${name}`) }))
    .filter(({ to }) => to.startsWith("socket:"));
  const single = sockets.filter(({ to }) => sockets.filter((other) => other.to === to).length === 1);
  const numbers = single.map(({ name }) => Number(name)).sort((one, other) => other - one);
  if (numbers[0] === undefined) throw new Error(`"${plugin}" has no control socket`);
  return numbers[0];
}

/** What is seen from outside at one moment. */
export interface View {
  readonly files: ReadonlyMap<string, string>;
  readonly processes: string;
  readonly connections: number;
}

/** Settings of the whole machine that a program of user 0 could change. */
const machineFiles = ["core_pattern", "hostname", "domainname", "modprobe"].map((name) =>
  `/proc/sys/kernel/${name}`
);

export async function viewOf(world: World): Promise<View> {
  const { airlock, aim, outside } = world;
  const files = new Map<string, string>();
  for (const root of [aim.outside, aim.neighbourData, `${aim.dataDir}/packages`, aim.token, aim.runFolder]) {
    look(root, files, aim.runFolder, world.tier === "process" && root === aim.runFolder);
  }
  for (const path of machineFiles) files.set(path, await Deno.readTextFile(path).catch(() => "none"));
  for (const path of aim.plants) if (exists(path)) files.set(path, "planted");
  return { files, processes: await processesOf(airlock), connections: outside.connections() };
}

async function processesOf(airlock: Airlock): Promise<string> {
  const kernel = await airlock.kernelPid();
  const fine = await airlock.call<string>(neighbourId, "fine");
  const { pid, restarts } = await airlock.plugin(neighbourId);
  return JSON.stringify({ warden: isAlive(airlock.pid), kernel, fine, neighbour: pid, restarts });
}

/** Cells of the process tier have folders of their own in the run folder, which come and go: that is `isLoose`. */
function look(path: string, files: Map<string, string>, runFolder: string, isLoose = false): void {
  const { mode, size, mtime, ctime, uid, isFile, isDirectory, isSymlink } = Deno.lstatSync(path);
  const times = isLoose ? [] : [mtime?.getTime(), ctime?.getTime()];
  files.set(
    path,
    JSON.stringify([mode, isLoose ? 0 : size, uid, isFile, isDirectory, isSymlink, ...times]),
  );
  if (!isDirectory) return;
  for (const { name } of Deno.readDirSync(path)) {
    if (path === runFolder && name === "audit") lookAtPipes(`${path}/${name}`, files);
    else if (!isLoose || name === "s") look(`${path}/${name}`, files, runFolder);
  }
}

/** Pipes of the audit: there may be more of them than before, and their times change with every use. */
function lookAtPipes(path: string, files: Map<string, string>): void {
  const { mode, uid } = Deno.lstatSync(path);
  files.set(path, JSON.stringify([mode, uid]));
  for (const { name } of Deno.readDirSync(path)) {
    const pipe = Deno.lstatSync(`${path}/${name}`);
    const isAsMade = pipe.isFifo && ((pipe.mode ?? 0) & 0o777) === 0o600 && pipe.uid === uid;
    if (!isAsMade) files.set(`${path}/${name}`, JSON.stringify([pipe.mode, pipe.uid, pipe.isFile]));
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** What happened outside between two views, and what was told in `answers`; each breach with its detail. */
export function breachesOf(
  world: World,
  before: View,
  after: View,
  answers: { attacker: string; neighbour: string },
): Map<Breach, string> {
  const breaches = new Map<Breach, string>();
  const secrets = { ...world.outside.secrets, token: world.airlock.token };
  for (const [name, secret] of Object.entries(secrets)) {
    if (answers.attacker.includes(secret)) breaches.set("told", `the ${name} secret`);
  }
  for (const path of new Set([...before.files.keys(), ...after.files.keys()])) {
    const [was, is] = [before.files.get(path), after.files.get(path)];
    if (was === is) continue;
    breaches.set(world.aim.plants.includes(path) ? "planted" : "touched", `${path}: ${was} → ${is}`);
  }
  if (before.connections !== after.connections) breaches.set("reached", `${after.connections} connections`);
  if (before.processes !== after.processes) {
    breaches.set("killed", `${before.processes} → ${after.processes}`);
  }
  if (answers.neighbour.includes(world.aim.mark)) breaches.set("channel", answers.neighbour);
  return breaches;
}
