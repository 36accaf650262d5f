/**
 * A stranger: someone who has the verifier key and an address, takes entries, checkpoints and proofs from there,
 * and believes none of them. The tests beside this file give what it took to programs that nobody here wrote,
 * whole and with something changed.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import { generateKeyPairSync, hash } from "node:crypto";
import { Airlock, type Answer } from "../support/airlock.ts";

export interface Entry {
  readonly index: number;
  readonly leafHash: string;
  readonly line: string;
}

export interface JsonProof {
  readonly index: number;
  readonly size: number;
  readonly hashes: readonly string[];
  readonly checkpoint: string;
}

/** What a record was proved with, in one moment. */
export interface Proved {
  readonly entry: Entry;
  /** c2sp.org/tlog-proof@v1 */
  readonly text: string;
  readonly json: JsonProof;
}

export class Stranger implements AsyncDisposable {
  private constructor(readonly airlock: Airlock) {}

  static async start(): Promise<Stranger> {
    return new Stranger(await Airlock.start());
  }

  /** Has something written down; the checkpoint that came with the last answer. */
  async call(times: number): Promise<string> {
    let answer: Answer | undefined;
    for (let call = 0; call < times; call++) {
      answer = await this.airlock.invoke("hello", "greet", { name: `stranger ${call} — ŝ` });
      equal(answer.status, 200);
    }
    ok(answer !== undefined);
    return checkpointOf(answer);
  }

  async text(path: string): Promise<string> {
    const { status, body } = await this.airlock.request<string>("GET", path);
    equal(status, 200, path);
    return body;
  }

  async bytes(path: string): Promise<Uint8Array> {
    const response = await this.airlock.fetch("GET", path);
    equal(response.status, 200, path);
    return await response.bytes();
  }

  checkpoint(): Promise<string> {
    return this.text("/v1/ledger/checkpoint");
  }

  /** Those that sign, the newest first. */
  async keys(): Promise<string[]> {
    return (await this.text("/v1/ledger/key")).split("\n");
  }

  async entries(): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (let path: string | null = "/v1/ledger/entries?limit=1000"; path !== null;) {
      const { body }: Answer<{ items: Entry[]; next: string | null }> = await this.airlock.request(
        "GET",
        path,
      );
      entries.push(...body.items);
      path = body.next === null ? null : `/v1/ledger/entries?limit=1000&after=${body.next}`;
    }
    return entries;
  }

  async prove(entry: Entry): Promise<Proved> {
    const path = `/v1/ledger/proofs/inclusion/${entry.index}`;
    const { body } = await this.airlock.request<JsonProof>("GET", `${path}?format=json`);
    return { entry, text: await this.text(path), json: body };
  }

  /** Hashes of the proof that the log of the one checkpoint begins with that of the other. */
  async proveGrowth(older: string, newer: string): Promise<string[]> {
    const path = `/v1/ledger/proofs/consistency?from=${sizeOf(older)}&to=${sizeOf(newer)}`;
    const { status, body } = await this.airlock.request<{ hashes: string[] }>("GET", path);
    equal(status, 200);
    return body.hashes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.airlock[Symbol.asyncDispose]();
  }
}

/** The signed note that an answer carries. */
export function checkpointOf({ headers }: Answer): string {
  return new TextDecoder().decode(Uint8Array.fromBase64(headers.get("airlock-checkpoint") ?? ""));
}

export function sizeOf(checkpoint: string): number {
  return Number(checkpoint.split("\n")[1]);
}

/** Some of `entries`: the ends, and some between. */
export function someOf(entries: readonly Entry[]): Entry[] {
  const last = entries.length - 1;
  ok(last > 16, `${entries.length} entries`);
  return [...new Set([0, 1, 7, 8, Math.trunc(last / 2), last - 1, last])].map((index) => entries[index]!);
}

/** Name and key of `name+id+key`, the algorithm before the key; only the key may hold a plus sign. */
export function partsOfKey(verifierKey: string): { name: string; key: Uint8Array } {
  const [name = "", , ...key] = verifierKey.split("+");
  return { name, key: Uint8Array.fromBase64(key.join("+")) };
}

/** A verifier key of the same name that signed nothing. */
export function otherKeyOf(verifierKey: string): string {
  const { name } = partsOfKey(verifierKey);
  const { x } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
  const key = Uint8Array.of(1, ...Uint8Array.fromBase64(x!, { alphabet: "base64url" }));
  const id = hash("sha256", new Uint8Array([...new TextEncoder().encode(`${name}\n`), ...key])).slice(0, 8);
  return `${name}+${id}+${key.toBase64()}`;
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/**
 * `bytes` with the one at `at` changed. A digit of base64 becomes another one, by a bit that counts: the lowest
 * ones of a last digit are spare, and a lenient reader, as Go's of notes is, takes any there.
 */
export function changedAt(bytes: Uint8Array, at: number): Uint8Array {
  const changed = bytes.slice();
  const byte = bytes[at] ?? 0;
  const digit = base64Alphabet.indexOf(String.fromCharCode(byte));
  changed[at] = digit < 0 ? byte ^ 1 : base64Alphabet.charCodeAt((digit + 32) % 64);
  return changed;
}

/** `text` with one character of its `line`th line changed, in the same way. */
export function changedLine(text: string, line: number): string {
  const lines = text.split("\n");
  const bytes = new TextEncoder().encode(lines.at(line));
  lines.splice(line, 1, new TextDecoder().decode(changedAt(bytes, bytes.length >> 1)));
  return lines.join("\n");
}
