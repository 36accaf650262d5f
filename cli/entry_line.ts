/**
 * An entry line is one entry in a form for people: its index, time, type, who, which plugin, and its data.
 *
 * Long hashes are shortened, and so is data that is longer than a few lines of a terminal; the stored line has all
 * of it. It is made printable by the output that it goes to.
 *
 * Pure.
 *
 * @module
 */
import { ledgerRecordSchema, type LedgerValue } from "../schemas/ledger_event.ts";

const hashPattern = /^[0-9a-f]{64}$/;
const hashCharsShown = 12;
const dataCharsShown = 600;
const typeWidth = 19;
const bare = /^[A-Za-z0-9@.:/_+-]+$/;

export function formatEntryLine({ index, line }: { readonly index: number; readonly line: string }): string {
  const record = ledgerRecordSchema.safeParse(parseJson(line)).data;
  if (record === undefined) return `${index}  NOT A RECORD: someone changed the log  ${shorten(line)}`;
  const { time, type, actor, plugin, data } = record;
  const fields = Object.entries(data).map(([name, value]) => `${word(name)}=${formatValue(value)}`);
  const words = [
    String(index).padStart(6),
    time,
    type.padEnd(typeWidth),
    word(actor),
    plugin === "" ? "-" : word(plugin),
  ];
  return `${words.join("  ")}  ${shorten(fields.join(" "))}`.trimEnd();
}

function formatValue(value: LedgerValue): string {
  if (typeof value !== "string") return JSON.stringify(value);
  return hashPattern.test(value) ? `${value.slice(0, hashCharsShown)}…` : word(value);
}

/** As JSON where it could be taken for more than one word. */
function word(text: string): string {
  return bare.test(text) ? text : JSON.stringify(text);
}

function shorten(text: string): string {
  return text.length > dataCharsShown ? `${text.slice(0, dataCharsShown)}… (--json shows all)` : text;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // no record
  }
}
