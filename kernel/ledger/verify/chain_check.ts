/**
 * A chain check follows entries of which each names the leaf hash of the one before it, and says at which the chain
 * breaks.
 *
 * The successor of an entry that was changed still names what it was. So one bad entry is no obstacle to the tree of
 * what was logged: if that has the signed root hash, the answer is proven. More than one, and an entry changed
 * together with the ones that name it, only show where a link is broken. Pure.
 *
 * @module
 */

export interface Link {
  readonly prev: string;
  readonly leafHash: string;
}

export class ChainCheck {
  #index: number;
  /** The entry at which the chain breaks, as soon as it is known. */
  brokenAt: number | undefined;
  /** Nothing more can be proven. */
  isLost = false;
  /** Undefined before the first entry, and after one that is no record. */
  #last: Link | undefined;
  /** The one before the last, which it does not name: the next entry says which of the two is bad. */
  #doubted: Link | undefined;

  /** `append` gets the leaf hashes of the entries from `first` on, as they were logged, in order. */
  constructor(first: number, private readonly append: (leafHash: string) => void) {
    this.#index = first;
  }

  /** Takes the next entry; undefined: it is no record in its place. */
  take(link: Link | undefined): void {
    const [doubted, last, index] = [this.#doubted, this.#last, this.#index++];
    this.#last = link;
    this.#doubted = undefined;
    if (doubted !== undefined && last !== undefined) {
      const isVouched = link?.prev === last.leafHash;
      this.brokenAt = isVouched ? index - 2 : index - 1;
      this.#add(isVouched ? last.prev : doubted.leafHash);
      this.#add(link?.prev);
    } else if (last === undefined) {
      if (this.brokenAt !== undefined) this.#add(link?.prev);
    } else if (link === undefined || link.prev === last.leafHash) this.#add(last.leafHash);
    else if (this.brokenAt === undefined) this.#doubted = last;
    else this.isLost = true;
    if (link !== undefined) return;
    if (this.brokenAt === undefined) this.brokenAt = index;
    else this.isLost = true;
  }

  /**
   * After the last entry. `isSigned` tells whether all that was appended has the signed root hash. If so, it gives
   * true: no entry below `brokenAt` is another than was signed, and that one is.
   */
  end(isSigned: () => boolean): boolean {
    const last = this.#last;
    const isDoubted = this.#doubted !== undefined;
    // It has no successor: if it is right, and names the one before it right, the root is right.
    if (isDoubted) this.#add(last?.prev);
    this.#add(last?.leafHash);
    const found = !this.isLost && isSigned();
    if (isDoubted) this.brokenAt = found ? this.#index - 2 : this.#index - 1;
    return found;
  }

  #add(leafHash: string | undefined): void {
    if (leafHash === undefined) this.isLost = true;
    if (leafHash !== undefined && !this.isLost) this.append(leafHash);
  }
}
