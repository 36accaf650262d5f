/**
 * Tests of the plugin `git-log`, called directly, without a cell, on real repositories.
 *
 * @module
 */
import assert from "node:assert/strict";
import { actions, type LogInput } from "./git-log/mod.ts";
import { createTestContext } from "./test_context.ts";

const hasGit = await Deno.stat("/usr/bin/git").then(() => true, () => false);

function log(input: LogInput, signal = new AbortController().signal) {
  return actions.log(input, createTestContext({ signal }));
}

async function git(repository: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("/usr/bin/git", {
    args: ["-C", repository, ...args],
    clearEnv: true,
    env: {
      PATH: "/usr/bin:/bin",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_AUTHOR_NAME: "Ada Łovelace",
      GIT_AUTHOR_EMAIL: "ada@example.com",
      GIT_AUTHOR_DATE: "2026-01-02T03:04:05+06:00",
      GIT_COMMITTER_NAME: "Committer",
      GIT_COMMITTER_EMAIL: "committer@example.com",
      GIT_COMMITTER_DATE: "2026-01-02T03:04:05+06:00",
    },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

async function withRepository(run: (repository: string) => Promise<void>): Promise<void> {
  const repository = await Deno.makeTempDir({ prefix: "git-log-" });
  try {
    await git(repository, "init", "--quiet", "--initial-branch=main");
    await run(repository);
  } finally {
    await Deno.remove(repository, { recursive: true });
  }
}

async function commit(repository: string, subject: string, file = "file.txt"): Promise<string> {
  await Deno.writeTextFile(`${repository}/${file}`, subject);
  await git(repository, "add", "--all");
  await git(repository, "commit", "--quiet", "--message", subject);
  return await git(repository, "rev-parse", "HEAD");
}

const subjects = async (input: LogInput) => (await log(input)).commits.map(({ subject }) => subject);

function test(name: string, run: (repository: string) => Promise<void>): void {
  Deno.test({ name, ignore: !hasGit, fn: () => withRepository(run) });
}

test("log() gives hash, author, email, date and subject, the newest first", async (repository) => {
  const first = await commit(repository, "first | ünïcode 東京");
  const second = await commit(repository, 'second "quoted" %H\n\nBody, not shown.');
  const rest = { author: "Ada Łovelace", email: "ada@example.com", date: "2026-01-02T03:04:05+06:00" };
  assert.deepEqual(await log({ repository }), {
    commits: [
      { hash: second, ...rest, subject: 'second "quoted" %H' },
      { hash: first, ...rest, subject: "first | ünïcode 東京" },
    ],
  });
});

test("log() keeps to limit, ref and path", async (repository) => {
  await commit(repository, "one", "a.txt");
  await commit(repository, "two", "b.txt");
  await git(repository, "tag", "v1");
  await commit(repository, "three", "a.txt");
  assert.deepEqual(await subjects({ repository, limit: 1 }), ["three"]);
  assert.deepEqual(await subjects({ repository, ref: "v1" }), ["two", "one"]);
  assert.deepEqual(await subjects({ repository, ref: "v1..main" }), ["three"]);
  assert.deepEqual(await subjects({ repository, path: "a.txt" }), ["three", "one"]);
  assert.deepEqual(await subjects({ repository, path: "*.txt" }), []);
  assert.deepEqual(await subjects({ repository, path: "--all" }), []);
  assert.deepEqual(await subjects({ repository, path: ":(exclude)a.txt" }), []);
});

test("log() reads a bare repository and an empty subject", async (repository) => {
  await git(repository, "commit", "--quiet", "--allow-empty", "--allow-empty-message", "--message", "");
  assert.deepEqual(await subjects({ repository: `${repository}/.git` }), [""]);
});

test("log() lets no ref become an option", async (repository) => {
  await commit(repository, "one");
  const target = `${repository}/written`;
  for (const ref of [`--output=${target}`, "--all", "-n1", "--no-index", "--exec=x", "--", "-p"]) {
    await assert.rejects(log({ repository, ref }), { message: /^Cannot log "/ }, ref);
  }
  await assert.rejects(Deno.stat(target), Deno.errors.NotFound);
});

test("log() runs no program that the repository names", async (repository) => {
  const marker = `${repository}/ran`;
  const program = `${repository}/program.sh`;
  await Deno.writeTextFile(program, `#!/bin/sh\ntouch ${marker}\n`, { mode: 0o755 });
  await commit(repository, "one");
  const settings = [
    "core.fsmonitor",
    "core.pager",
    "pager.log",
    "diff.external",
    "diff.x.textconv",
    "gpg.program",
  ]
    .concat("core.sshCommand", "diff.x.command", "alias.log", "core.editor", "gpg.ssh.program");
  for (const setting of settings) await git(repository, "config", setting, program);
  await git(repository, "config", "log.showSignature", "true");
  await git(repository, "config", "core.hooksPath", repository);
  await git(repository, "config", "protocol.ext.allow", "always");
  await git(repository, "config", "log.diffMerges", "separate");
  await Deno.writeTextFile(`${repository}/.git/info/attributes`, "* diff=x\n");
  assert.deepEqual(await subjects({ repository, path: "file.txt" }), ["one"]);
  await assert.rejects(Deno.stat(marker), Deno.errors.NotFound);
});

test("log() does not look for a repository above the folder named", async (repository) => {
  await commit(repository, "one");
  await Deno.mkdir(`${repository}/inner`);
  await assert.rejects(log({ repository: `${repository}/inner` }), { message: /not a git repository/ });
});

test("log() says what is wrong with a repository, a ref or a folder", async (repository) => {
  await assert.rejects(log({ repository }), { message: `Cannot log "${repository}": bad revision 'HEAD'` });
  await commit(repository, "one");
  await assert.rejects(log({ repository, ref: "nowhere" }), {
    message: `Cannot log "${repository}": bad revision 'nowhere'`,
  });
  await assert.rejects(log({ repository: `${repository}/nowhere` }), { message: /there is no such folder$/ });
  await assert.rejects(log({ repository: `${repository}/file.txt` }), { message: /it is not a folder$/ });
});

test("log() bounds each field, and all of them", async (repository) => {
  await Deno.writeTextFile(`${repository}/message`, "x".repeat(100_000));
  for (let n = 0; n < 50; n++) {
    await git(repository, "commit", "--quiet", "--allow-empty", "--file", "message");
  }
  assert.equal((await subjects({ repository, limit: 1 }))[0]?.length, 1_024);
  await assert.rejects(log({ repository, limit: 50 }), { message: /its log is above 4194304 bytes/ });
});

test("log() stops when its caller has gone", async (repository) => {
  await commit(repository, "one");
  const controller = new AbortController();
  const running = log({ repository }, controller.signal);
  controller.abort(new Error("gone"));
  await assert.rejects(running, { message: "gone" });
});

Deno.test({
  name: "log() of a repository that is not granted says what to grant",
  permissions: { read: false, run: ["/usr/bin/git"] },
  ignore: !hasGit,
  async fn() {
    await assert.rejects(
      log({ repository: "/srv" }),
      /Cannot log "\/srv": NotCapable, .* "read" in the grants of "git-log"/,
    );
  },
});

Deno.test({
  name: "log() without git granted says what to grant",
  permissions: { read: ["/"], run: false },
  async fn() {
    await assert.rejects(
      log({ repository: "/" }),
      /Cannot log "\/": NotCapable, .* "run" in the grants of "git-log"/,
    );
  },
});
