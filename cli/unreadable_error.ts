/**
 * The error of a command that could not read what it was to work on: no such file, no kernel, no right to it.
 * Exit code 3.
 *
 * @module
 */

export class UnreadableError extends Error {
  override name = "UnreadableError";
}
