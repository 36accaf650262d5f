import { deepEqual, equal, match } from "node:assert/strict";
import { Airlock, temporaryFolder } from "../support/airlock.ts";
import { runToEnd } from "../support/processes.ts";
import { testWith } from "../support/tiers.ts";

interface Log {
  commits: { hash: string; author: string; subject: string }[];
}

async function git(folder: string, ...args: string[]): Promise<string> {
  const identity = [
    "-c",
    "user.name=Ada Lovelace",
    "-c",
    "user.email=ada@example.com",
    "-c",
    "commit.gpgsign=false",
  ];
  const { code, stdout, stderr } = await runToEnd(["git", "-C", folder, ...identity, ...args]);
  equal(code, 0, stderr);
  return stdout.trim();
}

async function createRepository(path: string, subjects: readonly string[]): Promise<string> {
  await Deno.mkdir(path);
  await git(path, "init", "--quiet");
  for (const subject of subjects) await git(path, "commit", "--quiet", "--allow-empty", "--message", subject);
  return await git(path, "rev-parse", "HEAD");
}

testWith(
  ["bwrap", "git"],
  "git-log is refused until the operator grants git and the repository, and then works",
  async () => {
    await using folder = await temporaryFolder();
    const repository = `${folder.path}/repository`;
    const neighbour = `${folder.path}/neighbour`;
    const head = await createRepository(repository, ["first", "second; $(touch x)", "third"]);
    await createRepository(neighbour, ["a secret"]);
    await using airlock = await Airlock.start();
    const put = async (grants: Record<string, string[]>) => {
      const { status, body } = await airlock.request("PUT", "/v1/plugins/git-log/grants", grants);
      equal(status, 200, JSON.stringify(body));
    };
    const run = [await runToEnd(["sh", "-c", "command -v git"]).then(({ stdout }) => stdout.trim())];

    match((await airlock.fail("git-log", "log", { repository })).detail, /NotCapable/);
    // Without its grant the program does not even exist inside.
    await put({ read: [repository] });
    match((await airlock.fail("git-log", "log", { repository })).detail, /NotCapable|there is no git/);
    await put({ run });
    match((await airlock.fail("git-log", "log", { repository })).detail, /NotCapable/);
    await put({ read: [repository], run });
    const { commits } = await airlock.call<Log>("git-log", "log", { repository });
    deepEqual(commits.map(({ author, subject }) => [author, subject]), [
      ["Ada Lovelace", "third"],
      ["Ada Lovelace", "second; $(touch x)"],
      ["Ada Lovelace", "first"],
    ]);
    equal(commits[0]?.hash, head);
    match((await airlock.fail("git-log", "log", { repository: neighbour })).detail, /NotCapable/);
    equal(
      (await airlock.fail("git-log", "log", { repository, ref: "--output=/tmp/x" })).code,
      "INPUT_INVALID",
    );
    equal((await airlock.fail("git-log", "log", { repository, ref: "nowhere" })).code, "ACTION_FAILED");

    await put({});
    match((await airlock.fail("git-log", "log", { repository })).detail, /NotCapable/);
  },
);

testWith(["git"], "git-log exists in the sealed tier only", async () => {
  await using airlock = await Airlock.start({ args: ["--tier", "process"] });
  equal((await airlock.fail("git-log", "log", { repository: "/srv/x" })).code, "ISOLATION_REQUIRED");
});
