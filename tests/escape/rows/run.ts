/**
 * Run allow-lists: programs beside the granted ones, and what a granted one may be made to do.
 *
 * @module
 */
import { type AttackRow, notHeld, type Row, rowsOf } from "../row.ts";

const denied = "throws NotCapable";

const attacks: AttackRow[] = [
  {
    name: "start a program without a grant: by path, by name, a shell, Deno itself",
    by: "bare",
    attack: ({ deno, shell }, t) =>
      t.refused(
        ["/usr/bin/env", "env", "sh", shell, "deno", deno, "/proc/self/exe", "./x"].flatMap((program) => [
          () => new Deno.Command(program).outputSync().code,
          () => new Deno.Command(program).spawn().pid,
        ]),
      ),
    expected: 'gives "refused"',
  },
  {
    name: "ask for permissions at run time",
    advisories: ["CVE-2024-27936"],
    by: "bare",
    attack: async ({ canary }) => {
      const names = ["read", "write", "net", "env", "run", "sys", "ffi", "import"] as const;
      const states = [];
      for (const name of names) states.push((await Deno.permissions.request({ name })).state);
      for (const path of [canary, `/tmp/harmless\u001b[/../..${canary}`]) {
        states.push((await Deno.permissions.request({ name: "read", path })).state);
      }
      return [...new Set(states)];
    },
    expected: 'gives ["denied"]',
  },
  {
    name: "a grant to run or to load a library in the process tier",
    by: "grantee",
    grants: ({ libc }) => ({ run: ["/usr/bin/env"], ffi: [libc] }),
    attack: (_aim, t) => t.run("/usr/bin/env"),
    expected: { process: "fails ISOLATION_REQUIRED" },
  },
  {
    name: "a grant to run a name, a relative path, two in one, a pattern, a flag",
    by: "grantee",
    grants: () => ({
      run: ["env", "../env", "/usr/bin/env,/usr/bin/sh", "*", "--allow-all", "/proc/self/exe"],
    }),
    attack: () => "never",
    expected: "fails GRANT_REFUSED",
    says: new RegExp([0, 1, 2, 3, 4, 5].map((index) => `/run/${index}`).join(".*")),
  },
  {
    name: "load a library without a grant",
    by: "grantee",
    attack: ({ libc }, t) =>
      t.each([libc, "libc.so.6", `${t.data}/x.so`].map((path) => () => Deno.dlopen(path, {}).close())),
    expected: denied,
  },
  {
    name: "start programs beside the granted ones, by other spellings of granted ones",
    by: "runner",
    attack: (_aim, t) =>
      t.each(
        ["/usr/bin/id", "id", "/usr/bin/../bin/id", "/proc/self/exe", "/usr/bin/cat2", "/usr/bin", "/bin/id"]
          .map((program) => () => new Deno.Command(program).outputSync().code),
      ),
    expected: { sealed: denied },
  },
  {
    name: "start a link of its own to a program that is not granted",
    by: "runner",
    attack: async (_aim, t) => {
      await t.run("/usr/bin/ln", "-sf", "/usr/bin/id", `${t.data}/cat`);
      return await t.each([
        () => new Deno.Command(`${t.data}/cat`).outputSync().code,
        () => new Deno.Command("cat", { env: { PATH: t.data } }).outputSync().code,
        () => new Deno.Command("./cat", { cwd: t.data }).outputSync().code,
      ]);
    },
    expected: { sealed: denied },
  },
  {
    name: "start a program that it wrote itself",
    by: "runner",
    attack: async (_aim, t) => {
      await Deno.writeTextFile(`${t.data}/own`, "#!/bin/sh\necho started\n", { mode: 0o755 });
      return new Deno.Command(`${t.data}/own`).outputSync().code;
    },
    expected: { sealed: denied },
  },
  {
    name: "start a granted program as another user, or in a folder that is not granted",
    by: "runner",
    attack: ({ outside }, t) =>
      t.refused([
        () => new Deno.Command("/usr/bin/env", { uid: 12_345 }).outputSync().success,
        () => new Deno.Command("/usr/bin/env", { cwd: outside }).outputSync().success,
      ]),
    expected: { sealed: 'gives "refused"' },
  },
  {
    name: "have a granted program read Deno's view: read a file that only programs can",
    by: "runner",
    attack: async ({ canary, token, neighbourData }, t) => {
      const { stdout } = await t.run("/usr/bin/cat", canary, token, `${neighbourData}/secret`, "/etc/shadow");
      return stdout;
    },
    expected: { sealed: 'gives ""' },
  },
  {
    name: "hide commands in the arguments of a granted program",
    by: "runner",
    attack: async (_aim, t) => (await t.run("/usr/bin/env", "-0", "A=1; id", "cat", "$(id)")).stdout,
    expected: { sealed: 'gives ""' },
  },
  {
    name: "have a granted shell start any other program",
    by: "runner",
    attack: async ({ shell }, t) => (await t.run(shell, "-c", "/usr/bin/uname -s")).stdout.trim(),
    expected: {
      sealed: notHeld(
        'gives "Linux"',
        "the list names what the plugin starts and not what that starts in turn; the namespaces bind both",
      ),
    },
  },
  {
    name: "have granted programs make a link, and read a file outside through it",
    by: "runner",
    attack: async ({ canary }, t) => {
      await t.run("/usr/bin/ln", "-s", canary, `${t.data}/made`);
      await t.run("/usr/bin/ln", canary, `${t.data}/hard`);
      return await t.each(["made", "hard"].map((name) => () => Deno.readTextFileSync(`${t.data}/${name}`)));
    },
    expected: { sealed: "throws NotFound" },
  },
  {
    name: "have granted programs leave a link for the kernel in the place of a file that it made",
    by: "runner",
    spoils: true,
    attack: async ({ canary, outside }, t) => {
      await t.run("/usr/bin/ln", "-sfn", outside, `${t.data}/folder`);
      await t.run("/usr/bin/ln", "-sf", canary, `${t.data}/x`);
      return "made";
    },
    expected: { sealed: 'gives "made"' },
  },
  {
    name: "Deno as a granted program, with every permission",
    by: "grantee",
    grants: ({ deno }) => ({ run: [deno] }),
    attack: async ({ canary, deno, kernelPid, secretPort }) => {
      const code = `const tries = [() => Deno.readTextFile(${
        JSON.stringify(canary)
      }), () => Deno.kill(${kernelPid}, 9),
        () => Deno.connect({ hostname: "127.0.0.1", port: ${secretPort} })];
        for (const attempt of tries) try { console.log(await attempt()) } catch (error) { console.log(error.name) }`;
      const { stdout } = await new Deno.Command(deno, { args: ["eval", "--quiet", code] }).output();
      return new TextDecoder().decode(stdout).trim().split("\n");
    },
    expected: {
      sealed: ['gives ["NotFound","NotFound","ConnectionRefused"]', "fails GRANT_REFUSED"],
      process: ["fails ISOLATION_REQUIRED", "fails GRANT_REFUSED"],
    },
  },
];

export const runRows: Row[] = rowsOf("run allow-lists", attacks);
