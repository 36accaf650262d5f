/**
 * The error of a ledger that says something else than it once did.
 *
 * It is fatal, and no start repairs it: an operator decides what to do with a log that was changed.
 *
 * @module
 */

export class LedgerCorruptError extends Error {
  override name = "LedgerCorruptError";

  /** `index`: of the first entry that is wrong, where one can be named. */
  constructor(message: string, readonly file: string, readonly index?: number, cause?: unknown) {
    super(message, { cause });
  }
}
