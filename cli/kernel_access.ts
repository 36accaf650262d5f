/**
 * The access to a kernel that a command line gives: its address, and the token for it.
 *
 * @module
 */
import { type CommandLine, UsageError } from "./command_line.ts";
import { readTextFile } from "./read_text_file.ts";

/** Of every command that speaks to a kernel. */
export const accessFlags = { url: "value", "token-file": "value" } as const;

const defaults = { url: "http://127.0.0.1:8787", tokenFile: "./data/admin.token" } as const;
const tokenBytesMax = 4_096;

/** `token`: of `AIRLOCK_TOKEN`. Throws UsageError, UnreadableError. */
export async function readAccess(
  line: Pick<CommandLine<typeof accessFlags>, "value">,
  token: string | undefined,
): Promise<{ readonly url: URL; readonly token: string }> {
  const url = parseUrl(line.value("url") ?? defaults.url);
  return { url, token: await readToken(line.value("token-file"), token) };
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.search === "") return url;
  throw new UsageError(`Cannot use "${text}" for --url: it must be an address such as ${defaults.url}`);
}

async function readToken(path: string | undefined, token: string | undefined): Promise<string> {
  const found = path === undefined && token !== undefined && token !== "" ? token : await readTextFile(
    path ?? defaults.tokenFile,
    tokenBytesMax,
    "token file",
    "give the one of the kernel, DATA/admin.token, as --token-file, or a token in AIRLOCK_TOKEN",
  );
  if (/^[\x21-\x7e]+$/.test(found.trim())) return found.trim();
  throw new UsageError(
    `Cannot use the token${path === undefined ? "" : ` in "${path}"`}: it is not one word`,
  );
}
