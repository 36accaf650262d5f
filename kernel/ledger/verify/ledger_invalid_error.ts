/**
 * The error of a verifier that has found something wrong: the ledger, or the part of it, is not what was signed.
 *
 * @module
 */

export interface InvalidEntry {
  /** Of the first entry that is wrong, where one can be named. */
  readonly index?: number | undefined;
  /** It is that one, and not one after it. */
  readonly isExact?: boolean;
  /** The entries are wrong, and not what stands beside them: looking may find which. */
  readonly isOfEntries?: boolean;
  readonly cause?: unknown;
}

export class LedgerInvalidError extends Error {
  override name = "LedgerInvalidError";
  readonly index: number | undefined;
  readonly isExact: boolean;
  readonly isOfEntries: boolean;

  constructor(
    message: string,
    { index, isExact = true, isOfEntries = false, cause }: InvalidEntry = {},
  ) {
    super(message, { cause });
    this.index = index;
    this.isExact = isExact;
    this.isOfEntries = isOfEntries;
  }

  /** `first` or one after it is wrong, and nothing says which. */
  static from(first: number, state: string, cause?: unknown): LedgerInvalidError {
    const message = `${state}: entry ${first} or one after it was changed`;
    return new LedgerInvalidError(message, { index: first, isExact: false, cause });
  }
}
