/**
 * CSV profile describes a CSV text or file column by column.
 *
 * The text is read in chunks, so a file may be larger than the cell's memory. Between chunks the plugin
 * gives way to the event loop: that is when it hears that its caller has gone.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import type { Actions, Context } from "airlock/sdk";
import { type Budget, ColumnProfile, type ColumnReport, createBudget } from "./column.ts";
import { detectDelimiter, detectHeader } from "./dialect.ts";
import { CsvRows, type Delimiter } from "./rows.ts";

/** Fits the input schema of the manifest: exactly one of `text` and `path`. */
export interface ProfileInput {
  text?: string;
  path?: string;
  delimiter?: Delimiter | "auto";
  header?: boolean | "auto";
}

export interface Profile {
  delimiter: Delimiter;
  header: boolean;
  rows: number;
  blankLines: number;
  malformedFields: number;
  ragged: { short: number; long: number; first: { row: number; fields: number }[] };
  columns: ColumnReport[];
}

export const actions = {
  async profile(input: ProfileInput, ctx: Context): Promise<Profile> {
    const source = input.path === undefined ? textSource(input.text ?? "") : await openFile(input.path);
    try {
      return await profileSource(source, input, ctx);
    } finally {
      source.close();
    }
  },
} satisfies Actions;

const columnsMax = 1_000;
const raggedShownMax = 5;
const chunkLength = 65_536;

/** How much is read between two turns of the event loop: less work than the grace after an abort. */
const turnLength = 262_144;

interface Source {
  /** In the unit of `position`. */
  readonly length: number;
  readonly position: number;
  /** The next chunk, or `null` at the end. */
  read(): string | null | Promise<string | null>;
  close(): void;
}

async function profileSource(source: Source, input: ProfileInput, ctx: Context): Promise<Profile> {
  let chunk = await source.read() ?? "";
  if (chunk.startsWith("\uFEFF")) chunk = chunk.slice(1); // byte order mark
  const delimiter = input.delimiter === undefined || input.delimiter === "auto"
    ? detectDelimiter(chunk)
    : input.delimiter;
  const header = input.header === undefined || input.header === "auto"
    ? detectHeader(chunk, delimiter)
    : input.header;
  const table = new TableProfile(header);
  const rows = new CsvRows(delimiter, (fields) => table.add(fields));
  let nextTurn = turnLength;
  for (let next: string | null = chunk; next !== null; next = await source.read()) {
    rows.push(next);
    if (source.position < nextTurn) continue;
    nextTurn = source.position + turnLength;
    ctx.progress(Math.min(1, source.position / source.length), `${table.rows} rows`);
    await setImmediate();
    ctx.signal.throwIfAborted();
  }
  rows.end();
  ctx.progress(1, `${table.rows} rows`);
  const { blankLines, malformedFields } = rows;
  return { delimiter, header, blankLines, malformedFields, ...table.report() };
}

/** The columns of the rows seen so far. The first row settles how many there are. */
class TableProfile {
  rows = 0;
  readonly #header: boolean;
  readonly #budget: Budget = createBudget();
  readonly #ragged: Profile["ragged"] = { short: 0, long: 0, first: [] };
  #columns: ColumnProfile[] | undefined;

  constructor(header: boolean) {
    this.#header = header;
  }

  add(fields: readonly string[]): void {
    if (this.#columns === undefined) {
      this.#columns = this.#createColumns(fields);
      if (this.#header) return;
    }
    const columns = this.#columns;
    this.rows++;
    if (fields.length !== columns.length) this.#addRagged(fields.length, columns.length);
    for (let index = 0; index < columns.length; index++) columns[index]?.add(fields[index]);
  }

  #createColumns(fields: readonly string[]): ColumnProfile[] {
    if (fields.length > columnsMax) {
      throw new Error(`Cannot profile "row 1": it has ${fields.length} fields, more than ${columnsMax}`);
    }
    return fields.map((field, index) => {
      const name = this.#header ? field.trim() : "";
      return new ColumnProfile(name === "" ? `column ${index + 1}` : name, this.#budget);
    });
  }

  #addRagged(fields: number, columns: number): void {
    if (fields < columns) this.#ragged.short++;
    else this.#ragged.long++;
    if (this.#ragged.first.length < raggedShownMax) this.#ragged.first.push({ row: this.rows, fields });
  }

  report(): Pick<Profile, "rows" | "ragged" | "columns"> {
    return {
      rows: this.rows,
      ragged: this.#ragged,
      columns: (this.#columns ?? []).map((column) => column.report()),
    };
  }
}

function textSource(text: string): Source {
  let position = 0;
  return {
    length: text.length,
    get position() {
      return position;
    },
    read() {
      if (position >= text.length) return null;
      const chunk = text.slice(position, position + chunkLength);
      position += chunk.length;
      return chunk;
    },
    close() {},
  };
}

async function openFile(path: string): Promise<Source> {
  const { file, length } = await openRegularFile(path);
  const buffer = new Uint8Array(chunkLength);
  const decoder = new TextDecoder(); // drops a byte order mark
  let position = 0;
  let ended = false;
  return {
    length,
    get position() {
      return position;
    },
    async read() {
      if (ended) return null;
      const size = await file.read(buffer);
      ended = size === null;
      position += size ?? 0;
      return size === null ? decoder.decode() : decoder.decode(buffer.subarray(0, size), { stream: true });
    },
    close() {
      file.close();
    },
  };
}

async function openRegularFile(path: string): Promise<{ file: Deno.FsFile; length: number }> {
  try {
    // Asked before it is opened: opening a pipe would wait for its writer.
    const { isFile, size } = await Deno.stat(path);
    if (!isFile) throw new Error(`Cannot profile "${path}": it is not a file`);
    return { file: await Deno.open(path), length: size };
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      throw new Error(
        `Cannot profile "${path}": NotCapable, the operator has not granted it; ` +
          `add it, or a folder above it, to "read" in the grants of "csv-profile"`,
        { cause: error },
      );
    }
    if (error instanceof Deno.errors.NotFound) {
      throw new Error(`Cannot profile "${path}": there is no such file`, { cause: error });
    }
    throw error;
  }
}
