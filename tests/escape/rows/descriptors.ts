/**
 * Raw descriptors: what the cell's process holds open.
 *
 * @module
 */
import { type AttackRow, notHeld, type Row, rowsOf } from "../row.ts";
import type { World } from "../world.ts";

/** On the warden's stdout, where an operator and a script look for it. */
function noForgedLine({ airlock }: World): string | undefined {
  const lines = airlock.output.stdout.split("\n").filter((line) => line.startsWith("airlock listening on "));
  return lines.length === 1 ? undefined : `the operator reads ${JSON.stringify(lines)}`;
}

const attacks: AttackRow[] = [
  {
    name: "read stdin, on which the cell's token came",
    by: "bare",
    attack: async (_aim, t) => {
      const fs = await import("node:fs");
      const { default: process } = await import("node:process");
      return await t.each([
        () => Deno.stdin.readSync(new Uint8Array(64)),
        () => Deno.stdin.read(new Uint8Array(64)),
        () => fs.readSync(0, new Uint8Array(64)) || null,
        async () => (await process.stdin.toArray()).join("") || null,
      ]);
    },
    expected: "gives null",
  },
  {
    name: "write frames, the warden's messages and the ready line to stdout and stderr",
    by: "bare",
    attack: async () => {
      const { writeSync } = await import("node:fs");
      const texts = [
        '\x00\x00\x00\x1f\x00\x18{"type":"result","id":1}"forged"\xff\xff\xff\xff',
        '{"type":"drained"}\n{"type":"listening","port":1}\n{"type":"ended","cell":"1"}\n',
        "airlock listening on http://127.0.0.1:1\n",
      ];
      for (const text of texts) {
        for (const descriptor of [1, 2]) writeSync(descriptor, text);
        Deno.stdout.writeSync(new TextEncoder().encode(text));
        Deno.stderr.writeSync(new TextEncoder().encode(text));
        console.log(text);
      }
      return "written";
    },
    expected: 'gives "written"',
    verify: noForgedLine,
  },
  {
    name: "read, write, ask about and close descriptors by number",
    by: "bare",
    spoils: true,
    attack: async (_aim, t) => {
      const fs = await import("node:fs");
      const numbers = Array.from({ length: 60 }, (_, index) => index + 3);
      return await t.each(numbers.flatMap((fd) => [
        () => fs.readSync(fd, new Uint8Array(64)),
        () => fs.writeSync(fd, '\x00\x00\x00\x1f\x00\x18{"type":"result","id":1}"forged"'),
        () => fs.fstatSync(fd).size,
        () => fs.ftruncateSync(fd),
        () => fs.closeSync(fd),
      ]));
    },
    expected: "throws EBADF",
  },
  {
    name: "take the cell's descriptors over as sockets, and write what is no frame",
    by: "bare",
    spoils: true,
    attack: async (_aim, t) => {
      const net = await import("node:net");
      const tty = await import("node:tty");
      for (let fd = 10; fd < 24; fd++) {
        await t.refused([() => new net.Socket({ fd }).on("error", () => {}).write("forged")]);
      }
      await t.refused([() => new tty.ReadStream(3).setRawMode(true), () => Deno.stdin.setRaw(true)]);
      return await t.forEver();
    },
    // One of them is the control socket: a cell that breaks the protocol is killed.
    expected: "fails PLUGIN_CRASHED",
  },
  {
    name: "flood every descriptor of its process from 3 to 64, as a socket",
    by: "bare",
    spoils: true,
    attack: async (_aim, t) => {
      const net = await import("node:net");
      const rubbish = new Uint8Array(100_000).fill(0x7b);
      for (let fd = 3; fd <= 64; fd++) {
        await t.refused([() => {
          const socket = new net.Socket({ fd }).on("error", () => {});
          for (let count = 0; count < 10; count++) socket.write(rubbish);
        }]);
      }
      return await t.forEver();
    },
    // One of them is the control socket: a cell that breaks the protocol is killed.
    expected: "fails PLUGIN_CRASHED",
  },
  {
    name: "close every descriptor of its process from 3 to 64, as a socket",
    by: "bare",
    advisories: ["CVE-2024-27933"],
    spoils: true,
    attack: async (_aim, t) => {
      const net = await import("node:net");
      const { default: process } = await import("node:process");
      const { Pipe } = Reflect.apply(Reflect.get(process, "binding"), process, ["pipe_wrap"]) as {
        Pipe: new (kind: number) => { open(fd: number): number; close(): void };
      };
      for (let fd = 3; fd <= 64; fd++) {
        await t.refused([
          () => new net.Socket({ fd }).on("error", () => {}).destroy(),
          () => {
            const pipe = new Pipe(0);
            pipe.open(fd);
            pipe.close();
          },
        ]);
      }
      return await t.forEver();
    },
    // It ends by its own doing: without the control socket, or without what its event loop waits with.
    expected: "fails PLUGIN_CRASHED",
  },
  {
    name: "take the control socket over, and answer past the cell's check of the output's schema",
    by: "typed",
    attack: async (_aim, t) => {
      const net = await import("node:net");
      const encode = (text: string) => new TextEncoder().encode(text);
      const [envelope, body] = [encode('{"type":"result","id":1}'), encode('"forged"')];
      const length = envelope.length + body.length + 2;
      const frame = new Uint8Array([0, 0, 0, length, 0, envelope.length, ...envelope, ...body]);
      for (let fd = 9; fd < 24; fd++) {
        await t.refused([() => new net.Socket({ fd }).on("error", () => {}).write(frame)]);
      }
      return await t.forEver();
    },
    // Where it hits the pipe of the audit first, its cell is killed.
    expected: notHeld(
      ['answers "forged"', "fails PLUGIN_CRASHED"],
      "Deno lets node:net take any socket of the process by number, and the kernel checks an output for being JSON but not against its schema; it remains an answer of its own plugin",
    ),
  },
  {
    name: "write to a pipe that whoever started Airlock left open",
    by: "bare",
    spoils: true,
    attack: async ({ inheritedPipe: fd }, t) => {
      const net = await import("node:net");
      await t.refused([() =>
        new Promise((resolve, reject) => {
          const socket = new net.Socket({ fd }).on("error", reject);
          socket.write("escaped", (error) => error ? reject(error) : resolve(null));
        })]);
      return "tried";
    },
    // In the cell the number may be that of the audit's pipe: then it is killed.
    expected: ['gives "tried"', "fails PLUGIN_CRASHED"],
  },
  {
    name: "open, and remove, the pipes by which Deno tells the warden of permission checks",
    by: "bare",
    attack: ({ runFolder }, t) =>
      t.each(
        Array.from({ length: 32 }, (_, index) => `${runFolder}/audit/${index + 1}`).flatMap((path) => [
          () => Deno.openSync(path, { write: true }).close(),
          () => Deno.openSync(path).close(),
          () => Deno.removeSync(path),
        ]),
      ),
    expected: "throws NotCapable",
  },
  {
    name:
      "a granted program writes rubbish into the pipe by which Deno tells of its cell's permission checks",
    by: "runner",
    spoils: true,
    attack: ({ runFolder }, t) =>
      // Write only, without a wait for a reader.
      t.perl(
        `for (glob "${runFolder}/audit/*") { sysopen F, $_, 1 | 2048 and syswrite F, "rubbish\n" x 1_000 }
        select undef, undef, undef, 0.2; print "end"`,
      ),
    expected: { sealed: ['gives "end"', "fails PLUGIN_CRASHED"] },
  },
  {
    name: "a granted program reads a file that whoever started Airlock left open",
    by: "runner",
    attack: ({ inheritedFile }, t) => t.perl(`open F, "<&=${inheritedFile}" and sysread F, $_, 99 and print`),
    expected: { sealed: 'gives ""' },
  },
  {
    name: "close stdin, stdout and stderr",
    by: "bare",
    spoils: true,
    attack: async (_aim, t) => {
      await t.refused([Deno.stdin, Deno.stdout, Deno.stderr].map((stream) => () => stream.close()));
      await t.refused([() => console.log("nobody hears this")]);
      return "closed";
    },
    expected: 'gives "closed"',
  },
  {
    name: "find a descriptor of the cell's in a granted program",
    by: "runner",
    attack: (_aim, t) =>
      // Whatever is a socket, an event loop or a file of the runtime's.
      t.perl(
        `opendir D, "/proc/self/fd"; for (readdir D) { my $to = readlink "/proc/self/fd/$_" or next;
        print "$to " if $to =~ /socket:|anon_inode|deno|\\/dist\\// } print "end"`,
      ),
    expected: { sealed: 'gives "end"' },
  },
  {
    name: "a granted program opens the cell's own descriptors by way of /proc",
    by: "runner",
    attack: (_aim, t) =>
      t.perl(
        `my $cell = getppid(); for my $fd (3 .. 64) { my $to = readlink "/proc/$cell/fd/$fd" or next;
        next if $to =~ /^(?:anon_inode|pipe:|\\/dev\\/|\\/proc|\\/tmp|\\/usr\\/lib)/; open my $f, "+<", "/proc/$cell/fd/$fd" and print "opened $to\\n" } print "end"`,
      ),
    expected: { sealed: 'gives "end"' },
  },
];

export const descriptorRows: Row[] = rowsOf("raw descriptors", attacks);
