/**
 * The error of a verifier that has found something wrong: the ledger, or the part of it, is not what was signed.
 *
 * @module
 */

export class LedgerInvalidError extends Error {
  override name = "LedgerInvalidError";

  /**
   * `index`: of the first entry that is wrong, where one can be named. `isExact`: it is that one, and not one after
   * it.
   */
  constructor(message: string, readonly index?: number, cause?: unknown, readonly isExact = true) {
    super(message, { cause });
  }
}
