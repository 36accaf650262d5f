/**
 * Notes keeps short notes in its private folder: the plugin to read for reading and writing files.
 *
 * @module
 */
import type { Actions, Context } from "airlock/sdk";
import { createNoteIds, isNoteId } from "./note_id.ts";
import { type Note, NoteStore } from "./note_store.ts";

/** Most notes that are kept. Each is at most 60 kB, so they fit the limit `diskMb` of the manifest. */
export const notesMax = 1_000;

/** A note without its text. */
export type NoteSummary = Omit<Note, "text">;

export interface Page<T> {
  items: T[];
  /** Pass it as `after` for the next page; `null` if there is none. */
  next: string | null;
  unreadable: { id: string; reason: string }[];
}

interface PageInput {
  limit?: number;
  after?: string;
}

const limitInitial = 50;
const snippetLength = 120;

const createNoteId = createNoteIds();

export const actions = {
  async add(input: { text: string; title?: string; tags?: string[] }, ctx: Context): Promise<Note> {
    const store = new NoteStore(ctx.dataDir);
    if ((await store.ids()).length >= notesMax) {
      throw new Error(
        `Cannot add "${input.title ?? "note"}": there are ${notesMax} notes; remove some first`,
      );
    }
    const note: Note = {
      id: createNoteId(),
      title: input.title ?? null,
      text: input.text,
      tags: input.tags ?? [],
      createdAt: new Date().toISOString(),
    };
    await store.write(note);
    return note;
  },

  async get(input: { id: string }, ctx: Context): Promise<Note> {
    checkNoteId("get", input.id);
    const stored = await new NoteStore(ctx.dataDir).read(input.id);
    if (stored === undefined) throw new Error(`Cannot get "${input.id}": there is no such note`);
    if ("unreadable" in stored) {
      throw new Error(`Cannot get "${input.id}": its file is damaged, ${stored.unreadable}`);
    }
    return stored.note;
  },

  list(input: PageInput & { tag?: string }, ctx: Context): Promise<Page<NoteSummary>> {
    const { tag } = input;
    return page("list", input, ctx, (note) => {
      return tag === undefined || note.tags.includes(tag) ? summarise(note) : undefined;
    });
  },

  search(
    input: PageInput & { query: string },
    ctx: Context,
  ): Promise<Page<NoteSummary & { snippet: string }>> {
    const words = fold(input.query).split(/\s+/).filter((word) => word !== "");
    return page("search", input, ctx, (note) => {
      const haystack = fold([note.title ?? "", ...note.tags, note.text].join("\n"));
      if (!words.every((word) => haystack.includes(word))) return undefined;
      return { ...summarise(note), snippet: snippetOf(note.text, words[0] ?? "") };
    });
  },

  async remove(input: { id: string }, ctx: Context): Promise<{ removed: boolean }> {
    checkNoteId("remove", input.id);
    return { removed: await new NoteStore(ctx.dataDir).remove(input.id) };
  },
} satisfies Actions;

/** Before the first call, so that no write is under way. */
export async function start(ctx: Context): Promise<void> {
  await new NoteStore(ctx.dataDir).sweep();
}

function checkNoteId(action: string, id: string): void {
  if (!isNoteId(id)) throw new Error(`Cannot ${action} "${id}": it is not an id of a note`);
}

/** The items that `select` makes of the notes after `input.after`, and whether there may be more. */
async function page<T>(
  action: string,
  input: PageInput,
  ctx: Context,
  select: (note: Note) => T | undefined,
): Promise<Page<T>> {
  const { limit = limitInitial, after } = input;
  if (after !== undefined) checkNoteId(`${action} after`, after);
  const store = new NoteStore(ctx.dataDir);
  const items: T[] = [];
  const unreadable: Page<T>["unreadable"] = [];
  let last: string | null = null;
  for (const id of await store.ids()) {
    if (after !== undefined && id <= after) continue;
    if (items.length === limit) return { items, next: last, unreadable };
    ctx.signal.throwIfAborted();
    last = id;
    const stored = await store.read(id);
    if (stored === undefined) continue; // removed since the folder was read
    if ("unreadable" in stored) {
      unreadable.push({ id, reason: stored.unreadable });
      continue;
    }
    const item = select(stored.note);
    if (item !== undefined) items.push(item);
  }
  return { items, next: null, unreadable };
}

function summarise({ id, title, tags, createdAt }: Note): NoteSummary {
  return { id, title, tags, createdAt };
}

/** Case and the way that accents are encoded make no difference to a search. */
function fold(text: string): string {
  return text.normalize("NFC").toLowerCase();
}

/** The part of `text` around `word`, or its beginning. */
function snippetOf(text: string, word: string): string {
  const at = Math.max(0, fold(text).indexOf(word));
  const from = Math.max(0, at - snippetLength / 3);
  return text.slice(from, from + snippetLength).toWellFormed();
}
