/**
 * The end of a child process of the warden's: who spawned it knows whether it was waited for, and its pid given
 * away.
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
