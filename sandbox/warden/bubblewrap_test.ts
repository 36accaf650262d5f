import { deepEqual, equal, ok } from "node:assert/strict";
import type { Grants } from "../../schemas/capabilities.ts";
import { bubblewrapArguments } from "./bubblewrap.ts";
import { dataDir, describeCell, host, packageDir } from "./testing_cell.ts";

const socket = "/tmp/airlock-1/s";
const auditPipe = "/tmp/airlock-1/audit/1";
const argumentsFor = (more: Partial<Grants> = {}) =>
  bubblewrapArguments(describeCell("sealed", more), host.sealed, {
    readable: ["/opt/airlock/dist"],
    socket,
    auditPipe,
    hasFilter: true,
  });

/** What an option was given, each time. `count` is how many arguments it has. */
function valuesOf(args: readonly string[], option: string, count = 2): string[][] {
  return args.flatMap((arg, index) => arg === option ? [args.slice(index + 1, index + 1 + count)] : []);
}

/** Sources that are bound in; every one must be bound to its own path. */
function bound(args: readonly string[], option: "--bind" | "--ro-bind"): string[] {
  return valuesOf(args, option).filter(([source]) => source !== "/dev/null").map(([source = "", target]) => {
    equal(target, source);
    return source;
  });
}

Deno.test("bubblewrapArguments() leaves every namespace and every capability behind", () => {
  const args = argumentsFor();
  for (const option of ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]) {
    ok(args.includes(option), option);
  }
  ok(args.includes("--new-session"));
  deepEqual(valuesOf(args, "--cap-drop", 1), [["ALL"]]);
  equal(args.includes("--cap-add"), false);
});

Deno.test("bubblewrapArguments() binds in the runtime, the cell's files and the grants, and nothing else", () => {
  const args = argumentsFor();
  deepEqual(bound(args, "--ro-bind"), [
    ...["/opt/deno", "/usr/lib/libc.so.6", "/opt/airlock/dist", packageDir, socket, auditPipe],
  ]);
  deepEqual(bound(args, "--bind"), [dataDir]);
  for (const option of ["--dev-bind", "--bind-try", "--ro-bind-try", "--overlay"]) {
    equal(args.includes(option), false, option);
  }
});

Deno.test("bubblewrapArguments() leaves nothing writable but temporary memory of a set size and the grants", () => {
  const args = argumentsFor({ write: [dataDir, "/srv/a"], read: [packageDir, dataDir, "/srv/a", "/srv/b"] });
  deepEqual(bound(args, "--bind"), [dataDir, "/srv/a"]);
  ok(bound(args, "--ro-bind").includes("/srv/b"));
  ok(!bound(args, "--ro-bind").includes("/srv/a"));
  deepEqual(valuesOf(args, "--remount-ro", 1), [["/dev"], ["/proc"], ["/"]]);
  const sizes = valuesOf(args, "--size", 3);
  deepEqual(sizes, [[String(64 * 1_048_576), "--tmpfs", "/tmp"]]);
  equal(valuesOf(args, "--tmpfs", 1).length, sizes.length);
  // A mount that is made after it is read-only would be writable.
  const root = args.lastIndexOf("--remount-ro");
  ok(args.slice(root).every((arg) => !["--bind", "--tmpfs", "--dir", "--proc", "--dev"].includes(arg)));
});

Deno.test("bubblewrapArguments() shares the network with a plugin that has a net grant, and no other", () => {
  equal(argumentsFor().includes("--share-net"), false);
  equal(argumentsFor({ run: ["/usr/bin/env"] }).includes("--share-net"), false);
  const args = argumentsFor({ net: ["a.example.com:443"] });
  ok(args.includes("--share-net"));
  ok(bound(args, "--ro-bind").includes("/etc/resolv.conf"));
});

Deno.test("bubblewrapArguments() shows programs and libraries to a plugin with a run or ffi grant only", () => {
  for (const more of [{ run: ["/usr/bin/env"] }, { ffi: ["/usr/lib/libm.so.6"] }]) {
    const paths = bound(argumentsFor(more), "--ro-bind");
    ok(paths.includes("/usr") && paths.includes("/etc/alternatives"));
    // What lies below is there with it.
    equal(paths.some((path) => path.startsWith("/usr/")), false);
  }
  ok(bound(argumentsFor({ run: ["/srv/tool"] }), "--ro-bind").includes("/srv/tool"));
  equal(bound(argumentsFor(), "--ro-bind").includes("/usr"), false);
});

Deno.test("bubblewrapArguments() hides what the machine's kernel tells from programs", () => {
  const hidden = (args: readonly string[]) =>
    valuesOf(args, "--ro-bind").filter(([source]) => source === "/dev/null").map(([, target]) => target);
  deepEqual(hidden(argumentsFor()), []);
  const args = argumentsFor({ run: ["/usr/bin/env"] });
  deepEqual(hidden(args), ["/proc/keys"]);
  ok(args.indexOf("/proc/keys") > args.indexOf("--proc"));
});
