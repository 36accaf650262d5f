/**
 * A request as it goes over the wire: the bytes of HTTP/1.1, with the ids and tokens of a world set in.
 *
 * @module
 */
import { roles } from "../../schemas/api.ts";
import { writeDocument } from "./mutations.ts";
import type { Body, RequestCase } from "./requests.ts";
import type { World } from "./world.ts";

export interface WireRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | undefined;
  readonly bytes: Uint8Array;
}

export function toWire(request: RequestCase, { pools, tokens, airlock }: World): WireRequest {
  const { authorization, contentType, framing } = request;
  const written = writeBody(request.body);
  const body = written === undefined ? undefined : fillBytes(written, (text) => pools.fill(text));
  const isChunked = framing === "chunked" && body !== undefined;
  const secret = roles.find((role) => role === authorization);
  const headers: [string, string][] = [];
  if (!request.headers.some(([name]) => name === "Host")) headers.push(["Host", new URL(airlock.url).host]);
  headers.push(...request.headers.map(([name, value]): [string, string] => [name, pools.fill(value)]));
  if (authorization !== undefined) {
    headers.push(["Authorization", secret === undefined ? authorization : `Bearer ${tokens[secret]}`]);
  }
  if (body !== undefined && contentType !== undefined) headers.push(["Content-Type", contentType]);
  if (isChunked) headers.push(["Transfer-Encoding", "chunked"]);
  else if (body !== undefined) headers.push(["Content-Length", String(body.length)]);
  const { method } = request;
  const target = pools.fill(request.target);
  const head = `${method} ${target} HTTP/1.1\r\n${
    headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")
  }\r\n`;
  const sent = body === undefined ? [] : isChunked ? chunksOf(body) : [body];
  return { method, target, headers, body, bytes: concat([latin1(head), ...sent]) };
}

/** A line for a shell that sends it again. */
export function curlOf({ method, target, headers, body }: WireRequest, url: string): string {
  const words = [
    "curl",
    "-sS",
    "-i",
    "--path-as-is",
    ...(method === "HEAD" ? ["-I"] : ["-X", quote(latin1(method))]),
  ];
  for (const [name, value] of headers) {
    if (name !== "Content-Length" || body === undefined) {
      words.push("-H", quote(latin1(value === "" ? `${name};` : `${name}: ${value}`)));
    }
  }
  if (body !== undefined) {
    words.push("--data-binary", quote(body));
  }
  if (target.startsWith("/")) words.push(quote(latin1(url + target)));
  else words.push("--request-target", quote(latin1(target)), url);
  return words.filter((word) => word !== "").join(" ");
}

/** Longer bodies are told shortened. */
const quotedBytesMax = 4_096;

function quote(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes.subarray(0, quotedBytesMax)) {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x27 && byte !== 0x5c;
    text += isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  const isLong = bytes.length > quotedBytesMax;
  return `$'${text}'${isLong ? `"… of ${bytes.length} bytes"` : ""}`;
}

function writeBody(body: Body | undefined): Uint8Array | undefined {
  if (body === undefined) return undefined;
  return body.kind === "bytes" ? body.bytes : writeDocument(body.document);
}

/** Byte for byte but for the marks. */
function fillBytes(bytes: Uint8Array, fill: (text: string) => string): Uint8Array {
  if (!bytes.includes(0x40)) return bytes;
  return latin1(fill(new TextDecoder("latin1").decode(bytes)));
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
}

function chunksOf(body: Uint8Array): Uint8Array[] {
  const half = Math.ceil(body.length / 2);
  const parts = [body.subarray(0, half), body.subarray(half)].filter((part) => part.length > 0);
  return [
    ...parts.flatMap((part) => [latin1(`${part.length.toString(16)}\r\n`), part, latin1("\r\n")]),
    latin1("0\r\n\r\n"),
  ];
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
