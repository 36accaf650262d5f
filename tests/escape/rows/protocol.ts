/**
 * Protocol abuse: the cells' socket, the Worker's messages, the kernel's own door.
 *
 * @module
 */
import { type AttackRow, type PackageRow, type Row, rowsOf } from "../row.ts";
import { packageFiles } from "./package_files.ts";

const attacks: AttackRow[] = [
  {
    name: "open the control socket",
    by: "bare",
    attack: async ({ socket }, t) => {
      const net = await import("node:net");
      return await t.each([
        () => Deno.connect({ transport: "unix", path: socket }),
        () => Deno.openSync(socket, { read: true, write: true }),
        () => Deno.statSync(socket).mode,
        () => Deno.removeSync(socket),
        () => Deno.listen({ transport: "unix", path: socket }),
        () =>
          new Promise((resolve, reject) => {
            net.connect(socket).once("connect", resolve).once("error", reject);
          }),
      ]);
    },
    expected: "throws NotCapable",
  },
  {
    name: "a granted program greets on the control socket with tokens that it made up",
    by: "runner",
    attack: ({ socket }, t) =>
      t.perl(
        `use IO::Socket::UNIX; my $greeting = '{"type":"hello","protocol":{"major":1,"minor":0},"cell":"1","token":"' . ("0" x 64) . '"}';
        for my $bytes (pack("Nn", 2 + length $greeting, length $greeting) . $greeting, pack("N", 0xffffffff), "GET / HTTP/1.1\\r\\n\\r\\n", "") {
          my $s = IO::Socket::UNIX->new(Peer => "${socket}") or do { print "refused "; next };
          syswrite $s, $bytes; shutdown $s, 1; my $n = sysread $s, my $answer, 100; print "answered " if $n && $answer =~ /setup|call|welcome/;
        } print "end"`,
      ),
    expected: { sealed: 'gives "end"' },
  },
  {
    name: "a granted program crowds the control socket",
    by: "runner",
    attack: ({ socket }, t) =>
      t.perl(
        `use IO::Socket::UNIX; $SIG{PIPE} = "IGNORE"; my @held; for (1 .. 100) {
        push @held, IO::Socket::UNIX->new(Peer => "${socket}") || last } $_->syswrite("no greeting") for @held; print "held"`,
      ),
    expected: { sealed: 'gives "held"' },
  },
  {
    name: "messages of every wrong shape to the cell",
    by: "bare",
    spoils: true,
    attack: (_aim, t) => {
      const shapes: unknown[] = [null, 7, "text", [], {}, new Map(), new ArrayBuffer(8), new Error("x"), 1n];
      t.post(...shapes, { type: "__proto__" }, { type: "result", id: {}, json: 1 });
      t.post({ type: "result", id: 1e300, json: "1" }, Object.fromEntries([["__proto__", 1]]));
      for (const shape of shapes) Reflect.apply(Reflect.get(globalThis, "postMessage"), globalThis, [shape]);
      return "sent";
    },
    expected: 'gives "sent"',
  },
  {
    name: "say that it is ready, has failed, has stopped",
    by: "bare",
    attack: (_aim, t) => {
      t.post({ type: "ready" }, { type: "failed", message: "forged" }, { type: "stopped" });
      return t.forEver();
    },
    expected: "fails PLUGIN_CRASHED",
  },
  {
    name: "a message with more in it than the protocol has",
    by: "bare",
    attack: (_aim, t) => {
      t.post({ type: "log", level: "fatal", message: "x" }, {
        type: "log",
        level: "info",
        message: "x",
        actor: "admin",
      });
      t.post({ type: "grant", read: ["/"] }, { type: "kill", pid: 1 }, { type: "start" });
      return "sent";
    },
    expected: 'gives "sent"',
  },
  {
    name: "listen in on the guest host: its messages, its listeners",
    by: "bare",
    spoils: true,
    attack: async () => {
      const heard: unknown[] = [];
      globalThis.addEventListener("message", (event) => heard.push((event as MessageEvent).data), true);
      Reflect.set(globalThis, "onmessage", (event: MessageEvent) => heard.push(event.data));
      globalThis.dispatchEvent(new MessageEvent("message", { data: [{ type: "stop-everything" }] }));
      await new Promise((resolve) => setTimeout(resolve, 20));
      return heard.length;
    },
    expected: "gives 0",
  },
  {
    name: "the kernel's API, at its address if that is granted, with tokens that it made up",
    by: "grantee",
    grants: ({ kernelPort }) => ({ net: [`127.0.0.1:${kernelPort}`] }),
    attack: ({ kernelPort }, t) =>
      t.each(["guessed", "", "null", "0".repeat(64)].map((token) => async () => {
        const headers = { authorization: `Bearer ${token}` };
        const response = await fetch(`http://127.0.0.1:${kernelPort}/v1/plugins`, { headers });
        await response.body?.cancel();
        return response.status;
      })),
    expected: "gives 401",
  },
  {
    name: "an action that is a property of every object",
    by: "bare",
    action: "constructor",
    attack: () => "never",
    expected: "fails ACTION_NOT_FOUND",
  },
  {
    name: "an action that the manifest does not name",
    by: "bare",
    action: "hidden",
    attack: () => "never",
    expected: "fails ACTION_NOT_FOUND",
  },
];

const packages: PackageRow[] = [
  {
    name: "actions of a package that are not functions, or are proxies that throw",
    files: (id) =>
      packageFiles(
        id,
        "export const actions = new Proxy({}, { get() { throw new Error('get'); }, has() { return true; } });",
      ),
    expected: "fails PLUGIN_START_FAILED",
  },
  {
    name: "a package with a manifest of 100 000 nested lists",
    files: (id) => ({
      ...packageFiles(id, "export const actions = { run: () => 1 };"),
      "plugin.jsonc": `{ "id": "${id}", "version": ${"[".repeat(100_000)}`,
    }),
    expected: "fails PLUGIN_REJECTED",
  },
  {
    name: "a package that is for another Airlock",
    files: (id) => packageFiles(id, "export const actions = { run: () => 1 };", { airlock: ">=99.0.0" }),
    expected: "fails PLUGIN_REJECTED",
  },
  {
    name: "a package under the id of another",
    files: () => packageFiles("neighbour", 'export const actions = { run: () => "taken" };'),
    expected: "fails PLUGIN_REJECTED",
  },
];

export const protocolRows: Row[] = rowsOf("protocol abuse", [...attacks, ...packages]);
