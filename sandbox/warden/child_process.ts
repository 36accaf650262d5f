/**
 * A child process of the warden's, which knows whether it was waited for, and its pid given away.
 *
 * @module
 */

/** Kills it at once, if it is there. */
export function endChild(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/** Gives it all of its stdin. */
export async function writeAndClose(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch {
    // The process ended before it read its stdin: its end is reported.
  }
}
