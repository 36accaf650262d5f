/**
 * The error of a verifier that has found something wrong: the ledger, or the part of it, is not what was signed.
 *
 * @module
 */

export class LedgerInvalidError extends Error {
  override name = "LedgerInvalidError";

  /** `index`: of the first entry that is wrong, where one can be named. */
  constructor(message: string, readonly index?: number, cause?: unknown) {
    super(message, { cause });
  }
}
