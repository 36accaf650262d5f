/**
 * Git log lists the commits of a repository: the plugin to read for running a program.
 *
 * What callers send becomes arguments of git, never a command line, and nothing that they send can become an
 * option of it.
 *
 * @module
 */
import type { Actions, Context } from "airlock/sdk";
import { runGit } from "./git.ts";

/** Fits the input schema of the manifest. */
export interface LogInput {
  repository: string;
  limit?: number;
  ref?: string;
  path?: string;
}

export interface Commit {
  hash: string;
  author: string;
  email: string;
  /** When it was authored, ISO 8601 with its offset. */
  date: string;
  subject: string;
}

const limitInitial = 50;

/** A subject is the first paragraph of a message, and can be a book. */
const fieldLengthMax = 1_024;

/** One commit's fields, each ended by a NUL: the one character that none of them can hold. */
const fields = ["%H", "%an", "%ae", "%aI", "%s"];

export const actions = {
  async log(input: LogInput, ctx: Context): Promise<{ commits: Commit[] }> {
    const { repository, limit = limitInitial, ref = "HEAD", path } = input;
    // git is told where its options end, but not every git there is heeds that for "--".
    if (ref.startsWith("-")) throw new Error(`Cannot log "${repository}": "${ref}" is no ref but an option`);
    await checkReadable(repository);
    const output = await runGit(repository, [
      "--no-pager",
      "--literal-pathspecs",
      "log",
      "-z",
      `--format=tformat:${fields.join("%x00")}`,
      `--max-count=${limit}`,
      "--encoding=UTF-8",
      "--no-color",
      "--no-decorate",
      "--no-notes",
      "--no-mailmap",
      "--no-patch",
      "--no-ext-diff",
      "--no-textconv",
      "--end-of-options",
      ref,
      "--",
      ...(path === undefined ? [] : [path]),
    ], ctx.signal);
    return { commits: parseCommits(new TextDecoder().decode(output)) };
  },
} satisfies Actions;

/**
 * Asks before git is started, since git itself is bound by the walls of the cell only. Also so that a folder
 * that is not granted has a message of its own.
 */
async function checkReadable(repository: string): Promise<void> {
  try {
    const { isDirectory } = await Deno.stat(repository);
    if (!isDirectory) throw new Error(`Cannot log "${repository}": it is not a folder`);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      throw new Error(
        `Cannot log "${repository}": NotCapable, the operator has not granted it; ` +
          `add it, or a folder above it, to "read" in the grants of "git-log"`,
        { cause: error },
      );
    }
    if (error instanceof Deno.errors.NotFound) {
      throw new Error(`Cannot log "${repository}": there is no such folder`, { cause: error });
    }
    throw error;
  }
}

/** With `-z` a NUL ends a commit, too, so the output is nothing but fields. */
function parseCommits(output: string): Commit[] {
  const values = output.split("\0");
  const commits: Commit[] = [];
  for (let at = 0; at + fields.length < values.length; at += fields.length) {
    const [hash = "", author = "", email = "", date = "", subject = ""] = values
      .slice(at, at + fields.length)
      .map((value) => value.slice(0, fieldLengthMax).toWellFormed());
    commits.push({ hash, author, email, date, subject });
  }
  return commits;
}
