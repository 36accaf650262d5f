/**
 * Reading a small text file that somebody named on a command line.
 *
 * @module
 */
import { UnreadableError } from "./unreadable_error.ts";

/**
 * The text of the file at `path`. `what` it is and what to `instead` do stand in the message. Throws
 * {@linkcode UnreadableError}.
 */
export async function readTextFile(
  path: string,
  bytesMax: number,
  what: string,
  instead: string,
): Promise<string> {
  const fail = (state: string, cause?: unknown) =>
    new UnreadableError(`Cannot read ${what} "${path}": ${state}; ${instead}`, { cause });
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let bytes = 0;
  try {
    using file = await Deno.open(path);
    const buffer = new Uint8Array(4_096);
    for (;;) {
      const count = await file.read(buffer);
      if (count === null) return text + decoder.decode();
      bytes += count;
      if (bytes > bytesMax) break;
      text += decoder.decode(buffer.subarray(0, count), { stream: true });
    }
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) throw fail("it is not there", cause);
    throw fail(cause instanceof Error ? cause.message : String(cause), cause);
  }
  throw fail(`it is larger than ${bytesMax} bytes`);
}
