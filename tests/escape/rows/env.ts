/**
 * Environment: variables of the host, and those that steer a process.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const denied = "throws NotCapable";

const attacks: AttackRow[] = [
  {
    name: "read and list variables without a grant",
    by: "bare",
    attack: (_aim, t) =>
      t.each([
        ...["ESCAPE_SECRET", "ESCAPE_GRANTED", "PATH", "HOME", "TMPDIR", "DENO_DIR", "AIRLOCK_DATA"].map(
          (name) => () => Deno.env.get(name),
        ),
        () => Deno.env.has("ESCAPE_SECRET"),
        () => Deno.env.toObject(),
      ]),
    expected: denied,
  },
  {
    name: "read variables beside the one that is granted",
    advisories: ["CVE-2025-48934"],
    by: "granted",
    attack: (_aim, t) =>
      t.each([
        ...["ESCAPE_SECRET", "ESCAPE_GRANTE", "ESCAPE_GRANTED2", "escape_granted", "PATH"].map((name) => () =>
          Deno.env.get(name)
        ),
        () => Deno.env.toObject(),
        async () => Object.entries((await import("node:process")).env).length,
      ]),
    expected: denied,
  },
  {
    name: "read the variable that is granted",
    by: "granted",
    attack: () => Deno.env.get("ESCAPE_GRANTED"),
    expected: 'gives "granted"',
  },
  {
    name: "set and delete variables that steer the process",
    by: "granted",
    attack: (_aim, t) =>
      t.each([
        ...["LD_PRELOAD", "DENO_DIR", "NODE_OPTIONS", "PATH", "HTTP_PROXY"].map((name) => () =>
          Deno.env.set(name, "/tmp/x")
        ),
        () => Deno.env.delete("PATH"),
      ]),
    expected: denied,
  },
  {
    name: "find a variable of the host in a nested Worker",
    by: "granted",
    attack: (_aim, t) =>
      t.nested(
        'try { postMessage(Deno.env.get("ESCAPE_SECRET")) } catch (error) { postMessage(error.name) }',
      ),
    expected: 'gives "NotCapable"',
  },
  {
    name: "a grant of variables that steer the loader, the runtime or Airlock, of two in one, of a pattern",
    by: "grantee",
    grants: () => ({
      env: [
        "LD_PRELOAD",
        "DENO_DIR",
        "AIRLOCK_TOKEN",
        "A,ESCAPE_SECRET",
        "A=B",
        "ESCAPE_*",
        "*",
        "--allow-all",
      ],
    }),
    attack: () => "never",
    expected: "fails GRANT_REFUSED",
    says: new RegExp([0, 1, 2, 3, 4, 5, 6, 7].map((index) => `/env/${index}`).join(".*")),
  },
  {
    name: "a granted program finds variables of the host",
    by: "runner",
    attack: async (_aim, t) => {
      const { stdout } = await t.run("/usr/bin/env");
      return stdout.trim().split("\n").map((line) => line.split("=")[0] ?? "")
        .filter((name) => !name.startsWith("DENO_") && name !== "_").sort().join(); // `_`: bash's, its program
    },
    expected: { sealed: 'gives "HOME,NO_COLOR,PATH,PWD,TMPDIR"' },
  },
  {
    name: "start a granted program with variables that steer its loader",
    by: "runner",
    attack: (_aim, t) =>
      t.each(
        ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"].map((name) => () =>
          new Deno.Command("/usr/bin/env", { env: { [name]: "/tmp/x.so" } }).outputSync().code
        ),
      ),
    expected: { sealed: denied },
  },
];

export const envRows: Row[] = rowsOf("env", attacks);
