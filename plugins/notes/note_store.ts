/**
 * A note store: notes in a folder, one JSON file for each.
 *
 * Invariants:
 * - a file is written under another name, synced, then renamed: a note is there whole or not at all. A crash
 *   before the rename leaves a `.tmp` file, which {@linkcode sweep} removes at the next start;
 * - a path is made only of the folder and an id that {@linkcode isNoteId} holds for;
 * - a damaged file never hides the other notes: it is reported and passed over.
 *
 * @module
 */
import { isNoteId } from "./note_id.ts";

export interface Note {
  id: string;
  title: string | null;
  text: string;
  tags: string[];
  /** ISO 8601, UTC. */
  createdAt: string;
}

/** What a file turned out to hold. */
export type StoredNote = { note: Note } | { unreadable: string };

/** Largest file read; a note that was written here is smaller. */
const fileBytesMax = 1_048_576;

const extension = ".json";
const temporary = ".tmp";

export class NoteStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Ids of all notes, the oldest first. */
  async ids(): Promise<string[]> {
    const ids: string[] = [];
    for await (const { name, isFile } of Deno.readDir(this.#folder)) {
      const id = name.slice(0, -extension.length);
      if (isFile && name.endsWith(extension) && isNoteId(id)) ids.push(id);
    }
    return ids.sort();
  }

  /** The note of an id that {@linkcode ids} gave; `undefined` if it is not there. */
  async read(id: string): Promise<StoredNote | undefined> {
    try {
      const path = this.#path(id);
      const { size } = await Deno.stat(path);
      if (size > fileBytesMax) return { unreadable: `it has ${size} bytes` };
      return parseNote(id, await Deno.readTextFile(path));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  /** The note is on disk when this resolves. */
  async write(note: Note): Promise<void> {
    const path = this.#path(note.id);
    const written = `${path}${temporary}`;
    try {
      using file = await Deno.open(written, { write: true, createNew: true });
      let rest = new TextEncoder().encode(JSON.stringify(note));
      while (rest.length > 0) rest = rest.subarray(await file.write(rest));
      await file.sync();
    } catch (error) {
      await removeIfThere(written);
      throw error;
    }
    await Deno.rename(written, path);
    await this.#syncFolder();
  }

  /** Whether there was such a note. */
  async remove(id: string): Promise<boolean> {
    const removed = await removeIfThere(this.#path(id));
    if (removed) await this.#syncFolder();
    return removed;
  }

  /** Removes what writes that never ended have left. Only while no write is under way. */
  async sweep(): Promise<void> {
    for await (const { name, isFile } of Deno.readDir(this.#folder)) {
      if (isFile && name.endsWith(extension + temporary)) await removeIfThere(`${this.#folder}/${name}`);
    }
  }

  #path(id: string): string {
    if (!isNoteId(id)) throw new RangeError(`Cannot name a file "${id}": it is not an id`);
    return `${this.#folder}/${id}${extension}`;
  }

  /** A name is on disk once its folder is. */
  async #syncFolder(): Promise<void> {
    using folder = await Deno.open(this.#folder);
    await folder.sync();
  }
}

async function removeIfThere(path: string): Promise<boolean> {
  try {
    await Deno.remove(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function parseNote(id: string, text: string): StoredNote {
  let note: unknown;
  try {
    note = JSON.parse(text);
  } catch {
    return { unreadable: "it is not JSON" };
  }
  return isNote(note) && note.id === id ? { note } : { unreadable: "it is not this note" };
}

function isNote(value: unknown): value is Note {
  return typeof value === "object" && value !== null &&
    "id" in value && typeof value.id === "string" &&
    "title" in value && (value.title === null || typeof value.title === "string") &&
    "text" in value && typeof value.text === "string" &&
    "tags" in value && Array.isArray(value.tags) && value.tags.every((tag) => typeof tag === "string") &&
    "createdAt" in value && typeof value.createdAt === "string";
}
