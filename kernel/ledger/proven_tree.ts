/**
 * The proven tree: hashes out of the tiles, each set of them checked against a signed root hash before it leaves.
 * Tiles are derived, and a damaged one must not become a proof that accuses an honest log.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { ProblemError } from "../../schemas/problem.ts";
import { LedgerCorruptError } from "./ledger_corrupt_error.ts";
import {
  checkConsistency,
  checkInclusion,
  createConsistencyProof,
  createInclusionProof,
  ProofError,
  type ReadSubtree,
} from "./proof.ts";
import { TileCache } from "./tile_cache.ts";
import type { Tiles } from "./tiles.ts";
import { coverRange, Frontier } from "./tree.ts";

/** What the newest checkpoint says. */
export interface SignedRoot {
  readonly size: number;
  /** Hex. */
  readonly rootHash: string;
}

const tilesHeldMax = 64;

/** All reject with ProblemError INTERNAL where the tiles lead to another root hash than the signed one. */
export class ProvenTree {
  readonly #cache: TileCache;

  constructor(tiles: Pick<Tiles, "read">) {
    this.#cache = new TileCache(tiles, tilesHeldMax);
  }

  inclusion(index: number, signed: SignedRoot): Promise<string[]> {
    return this.#prove(`prove entry ${index}`, signed, async (read) => {
      const leafHash = await read({ level: 0, index });
      const hashes = await createInclusionProof(index, signed.size, read);
      checkInclusion({ index, ...signed, leafHash, hashes });
      return hashes;
    });
  }

  consistency(from: number, to: number, signed: SignedRoot): Promise<string[]> {
    return this.#prove(`prove that ${to} entries begin with ${from}`, signed, async (read) => {
      const fromRootHash = await rootHashOf(from, read);
      const toRootHash = to === signed.size ? signed.rootHash : await rootHashOf(to, read);
      const hashes = await createConsistencyProof(from, to, read);
      checkConsistency({ from, to, fromRootHash, toRootHash, hashes });
      // Nobody signed the root of `to` where it is not the newest: it is checked as the signed one's beginning.
      const anchored = await createConsistencyProof(to, signed.size, read);
      const roots = { fromRootHash: toRootHash, toRootHash: signed.rootHash };
      checkConsistency({ from: to, to: signed.size, ...roots, hashes: anchored });
      return hashes;
    });
  }

  /** Roots of the complete subtrees before `from`, and from `to` on. */
  surroundings(from: number, to: number, signed: SignedRoot): Promise<{ left: string[]; right: string[] }> {
    return this.#prove(`export entries ${from} to ${to - 1}`, signed, async (read) => {
      const frontier = new Frontier();
      const left = await appendRange(frontier, from, read);
      await appendRange(frontier, to, read);
      const right = await appendRange(frontier, signed.size, read);
      if (frontier.rootHash() !== signed.rootHash) {
        throw new ProofError("the tiles have another root hash");
      }
      return { left, right };
    });
  }

  /** Why an entry's line has not the leaf hash that the tiles have: the one or the other was changed. */
  async difference(index: number, signed: SignedRoot): Promise<ProblemError> {
    this.#cache.clear();
    await this.inclusion(index, signed);
    const state = "what is on the disk is not the entry that was logged";
    const remedy = "stop Airlock and run `airlock ledger verify`";
    return new ProblemError("INTERNAL", `Cannot read entry ${index}: ${state}; ${remedy}`);
  }

  async #prove<T>(
    action: string,
    { size }: SignedRoot,
    prove: (read: ReadSubtree) => Promise<T>,
  ): Promise<T> {
    await tilesWritten();
    try {
      return await prove((place) => this.#cache.subtree(place, size));
    } catch (error) {
      this.#cache.clear();
      if (error instanceof ProofError || error instanceof LedgerCorruptError) {
        throw tilesDamaged(action, error);
      }
      throw error;
    }
  }
}

export function tilesDamaged(action: string, cause?: Error): ProblemError {
  const remedy =
    "stop Airlock, remove the folder ledger/tiles from its data folder and start it again: they " +
    "are then made anew from the log";
  return new ProblemError("INTERNAL", `Cannot ${action}: the ledger's tiles are damaged; ${remedy}`, {
    cause,
  });
}

/** The tiles of entries that just became durable are begun in the same turn, after their callers were told. */
export function tilesWritten(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function rootHashOf(size: number, read: ReadSubtree): Promise<string> {
  const frontier = new Frontier();
  await appendRange(frontier, size, read);
  return frontier.rootHash();
}

/** Appends the entries up to before `to`, and gives the roots that they took. */
async function appendRange(frontier: Frontier, to: number, read: ReadSubtree): Promise<string[]> {
  const hashes: string[] = [];
  for (const place of coverRange(frontier.size, to)) {
    const hash = await read(place);
    frontier.appendSubtree(hash, place.level);
    hashes.push(hash);
  }
  return hashes;
}
