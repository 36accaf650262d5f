/**
 * Removes a folder that may be gone already.
 *
 * @module
 */

/** With all that is in it. */
export async function removeFolder(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
