/**
 * Audit lines: what Deno writes to the file that `DENO_AUDIT_PERMISSIONS` names, one line of JSON for each
 * permission check of a process, its Workers included.
 *
 *     {"v":1,"datetime":"2026-11-21T13:24:23Z","permission":"read","value":"/etc/passwd"}
 *
 * The format is `permission-audit.v1.json` of Deno, measured on 2.9.6. A line that is longer than any path takes is
 * cut where it is read. Which line is which is told by the text after its date. Pure.
 *
 * @module
 */
import { auditedPermissions, type PermissionCheck, resourceCharsMax } from "../../schemas/audit.ts";

/** The longest path that a system takes is 4,096 bytes, each of them 6 characters at most: `\u0000`. */
export const auditLineCharsMax = 128 + 6 * 4_096;

const lineStart = '{"v":1,"datetime":"';

/** A line without its newline, `isCut` if the end of it was passed over. */
export interface AuditLine {
  readonly text: string;
  readonly isCut: boolean;
}

/** Lines out of pieces that are cut anywhere. Holds one piece and the start of one line at most. */
export class AuditLines {
  #text = "";
  #at = 0;
  /** Of a line that is too long: the rest of it is passed over until it ends. */
  #start: string | undefined;
  /** The end of what was passed over, and whether another line began in there. */
  #passed = "";
  #hidesLine = false;

  push(piece: string): void {
    this.#text = this.#text.slice(this.#at) + piece;
    this.#at = 0;
  }

  next(): AuditLine | undefined {
    const end = this.#text.indexOf("\n", this.#at);
    const text = this.#text.slice(this.#at, end < 0 ? undefined : end);
    if (this.#start === undefined && text.length > auditLineCharsMax) {
      this.#start = text.slice(0, auditLineCharsMax);
    }
    const start = this.#start;
    if (start !== undefined) this.#pass(text);
    if (end < 0) {
      if (start !== undefined) [this.#text, this.#at] = ["", 0];
      return undefined;
    }
    this.#at = end + 1;
    this.#start = undefined;
    if (start === undefined) return { text, isCut: false };
    const hidesLine = this.#hidesLine;
    [this.#passed, this.#hidesLine] = ["", false];
    // What is in quotes has no quotes of its own, so Deno begins no line within one: what did is not to be believed.
    return { text: hidesLine ? "" : start, isCut: true };
  }

  #pass(text: string): void {
    const passed = this.#passed + text;
    this.#hidesLine ||= passed.indexOf(lineStart, 1) > 0;
    this.#passed = passed.slice(-lineStart.length);
  }
}

/** One line without its date: equal checks have equal ones. `undefined`: Deno did not write this. */
export function auditKey(line: string): string | undefined {
  const at = line.indexOf('"permission":"');
  return line.startsWith(lineStart) && at > 0 ? line.slice(at) : undefined;
}

/** The text of a value may end in a part of an escape. */
const parts =
  /^"permission":"([a-z]+)","value":(?:(null)\}|"((?:[^"\\]|\\u[0-9a-f]{4}|\\[^u])*)(?:("\})|"|\\(?:u[0-9a-f]{0,3})?|))$/su;

/**
 * The check of a line that {@linkcode auditKey} took, `isCut` if the rest of it was passed over. `undefined`: Deno
 * did not write this.
 */
export function parseAuditKey(key: string, isCut: boolean): Omit<PermissionCheck, "count"> | undefined {
  const [, name, none, text = "", end] = parts.exec(key) ?? [];
  const permission = auditedPermissions.find((audited) => audited === name);
  if (permission === undefined || isCut !== (none === undefined && end === undefined)) return undefined;
  if (none !== undefined) return { permission, resource: null };
  try {
    const value: unknown = JSON.parse(`"${text}"`);
    return typeof value === "string" ? { permission, resource: value } : undefined;
  } catch {
    return undefined;
  }
}

/** As it is told. A path is clipped once it is in its one spelling: what `..` takes back is known then. */
export function clipResource(text: string): string {
  const formed = text.toWellFormed();
  return formed.length <= resourceCharsMax
    ? formed
    : `${formed.slice(0, resourceCharsMax - 1).toWellFormed()}…`;
}
