/**
 * Public security advisories of Deno, and what this corpus makes of each: rows name the ones that they try,
 * and what no row tries stands here with the reason.
 *
 * The list only grows. Summaries are ours, from the advisories as they were published.
 *
 * @module
 */

export interface Advisory {
  /** What was wrong in the versions of Deno that had it. */
  readonly was: string;
  /** Why no row tries it. */
  readonly untried?: string;
  /** What the rows that try it cannot. */
  readonly left?: string;
}

const aName =
  "a public name whose server gives a private address: it would take a name server that a cell asks";

export const advisories = {
  "CVE-2021-32619": { was: "static imports of dynamically imported modules were not checked" },
  "CVE-2021-41641": { was: "Deno.symlink with write access to one folder gave access to any" },
  "CVE-2022-24783": { was: "operations of the foreign function interface were not checked" },
  "CVE-2023-33966": { was: "node:http and node:https connected without a net permission" },
  "CVE-2024-27931": { was: "Deno.makeTemp* took a prefix or suffix with .. and left the granted folder" },
  "CVE-2024-27932": {
    was: "DENO_AUTH_TOKENS were sent to hosts whose names only end like the right one",
    untried: "a cell inherits no environment and imports nothing over a network: there is no token to send",
  },
  "CVE-2024-27933": { was: "node:child_process closed descriptors of the process by number" },
  "CVE-2024-27934": {
    was: "pointers behind streams could be used after they were freed, to run native code",
    untried: "a flaw of memory has no stable form that could be tried in a version without it; what bounds " +
      "one in a newer version are the namespaces of the sealed tier, which rows with native code try",
  },
  "CVE-2024-27935": {
    was: "node streams shared one buffer, so that a reader saw another connection's bytes",
  },
  "CVE-2024-27936": {
    was: "a path with a broken escape sequence was shown as another in a prompt",
    left: "there is no terminal, so only that the request is denied",
  },
  "CVE-2024-34346": { was: "read and write of /proc, /dev and /etc gave all that other permissions protect" },
  "CVE-2025-48888": {
    was: "--deny-* beside --allow-* of everything was not heeded",
    left: "no cell is ever allowed everything, which is what the rows ask for",
  },
  "CVE-2025-48934": { was: "Deno.env.toObject() told variables that were denied" },
  "CVE-2025-48935": { was: "ATTACH DATABASE in node:sqlite made files without a write permission" },
  "CVE-2025-61785": { was: "FsFile.utime changed the times of a file that was open for reading" },
  "CVE-2025-61786": {
    was: "FsFile.stat told of a file that was open for writing, without a read permission",
  },
  "CVE-2026-49401": {
    was: "on macOS, paths in another Unicode form or case passed by a denied one",
    left: "on Linux they are other files",
  },
  "CVE-2026-49406": { was: "main of a package.json in node_modules led out of it, past the read permission" },
  "CVE-2026-49411": {
    was: "its text was not to be had where this corpus was written",
    untried: "what it is about is not known here, and a guess would be worth nothing",
  },
  "CVE-2026-49859": {
    was: "fetch() did not check the addresses that a name resolved to against denied ones",
    left: aName,
  },
  "CVE-2026-49860": {
    was: "WebSocket did not check the addresses that a name resolved to against denied ones",
    left: aName,
  },
  "CVE-2026-49983": { was: "process.loadEnvFile() set variables without an env permission" },
} as const satisfies Record<string, Advisory>;

export type AdvisoryId = keyof typeof advisories;
