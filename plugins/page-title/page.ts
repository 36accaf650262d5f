/**
 * A page is what an address answers in the end: the text of an HTML document, and where it was found.
 *
 * Redirects are followed here and not by `fetch`, since each host on the way needs a grant of its own, and
 * the one that lacks it should be named.
 *
 * Invariants: at most {@linkcode redirectsMax} redirects and {@linkcode bodyBytesMax} bytes are read.
 *
 * @module
 */
import { charsetOf, readMetaCharset } from "./html.ts";

export interface Page {
  finalUrl: string;
  status: number;
  html: string;
}

export const redirectsMax = 5;

/** What comes after is not read: a title stands at the beginning. */
export const bodyBytesMax = 1_048_576;

/** How far into a page its `<meta>` may name its encoding: a little more than the standard's 1024 bytes. */
const metaBytesMax = 4_096;

/** Throws a message for the caller if there is no HTML page to be had. */
export async function fetchPage(url: string, signal: AbortSignal): Promise<Page> {
  let address = parseAddress(url, undefined);
  for (let redirects = 0;; redirects++) {
    const response = await fetchOnce(address, signal);
    const location = response.headers.get("location");
    if (!isRedirect(response.status) || location === null) {
      return {
        finalUrl: address.href,
        status: response.status,
        html: await readHtml(address, response, signal),
      };
    }
    await response.body?.cancel();
    if (redirects === redirectsMax) {
      throw new Error(`Cannot fetch "${url}": it redirects more than ${redirectsMax} times`);
    }
    address = parseAddress(location, address);
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

function parseAddress(text: string, base: URL | undefined): URL {
  const from = base === undefined ? "" : `, which "${base.href}" redirects to`;
  const address = URL.parse(text, base);
  if (address === null) throw new Error(`Cannot fetch "${text}"${from}: it is not an address`);
  if (address.protocol !== "http:" && address.protocol !== "https:") {
    throw new Error(`Cannot fetch "${text}"${from}: it is neither http nor https`);
  }
  if (address.username !== "" || address.password !== "") {
    throw new Error(`Cannot fetch "${address.host}"${from}: its address holds a name or a password`);
  }
  return address;
}

async function fetchOnce(address: URL, signal: AbortSignal): Promise<Response> {
  try {
    const headers = { accept: "text/html,application/xhtml+xml" };
    return await fetch(address, { redirect: "manual", signal, headers });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      const host = `${address.hostname}:${address.port || (address.protocol === "https:" ? 443 : 80)}`;
      throw new Error(
        `Cannot fetch "${address.href}": NotCapable, the operator has not granted "${host}"; ` +
          `add it to "net" in the grants of "page-title"`,
        { cause: error },
      );
    }
    throw describeFailure(address, error, signal);
  }
}

/** The reason of the abort if there was one, else what went wrong on the way, in words. */
function describeFailure(address: URL, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  const reason = error instanceof Error ? error.message : String(error);
  return new Error(`Cannot fetch "${address.href}": ${reason}`, { cause: error });
}

async function readHtml(address: URL, response: Response, signal: AbortSignal): Promise<string> {
  const contentType = response.headers.get("content-type") ?? "text/html";
  const mediaType = (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
  if (mediaType !== "text/html" && mediaType !== "application/xhtml+xml") {
    await response.body?.cancel();
    throw new Error(`Cannot read the title of "${address.href}": it is ${mediaType}, not HTML`);
  }
  try {
    const bytes = await readStart(response.body);
    return decoderFor(bytes, charsetOf(contentType)).decode(bytes);
  } catch (error) {
    throw describeFailure(address, error, signal);
  }
}

/** At most {@linkcode bodyBytesMax} bytes; the rest is never asked for. */
async function readStart(body: ReadableStream<Uint8Array> | null): Promise<Uint8Array> {
  if (body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop early cancels the stream.
  for await (const chunk of body) {
    chunks.push(chunk.subarray(0, bodyBytesMax - length));
    length += chunk.length;
    if (length >= bodyBytesMax) break;
  }
  const bytes = new Uint8Array(Math.min(length, bodyBytesMax));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** The order of the HTML standard: byte order mark, header, `<meta>`. What names no known encoding is UTF-8. */
function decoderFor(bytes: Uint8Array, headerCharset: string | undefined): TextDecoder {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return new TextDecoder();
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be");
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le");
  const known = headerCharset === undefined ? undefined : decoderNamed(headerCharset);
  if (known !== undefined) return known;
  const start = new TextDecoder("windows-1252").decode(bytes.subarray(0, metaBytesMax));
  const named = decoderNamed(readMetaCharset(start) ?? "utf-8") ?? new TextDecoder();
  // The name itself was read as single bytes, so this page is not in UTF-16.
  return named.encoding.startsWith("utf-16") ? new TextDecoder() : named;
}

function decoderNamed(label: string): TextDecoder | undefined {
  try {
    return new TextDecoder(label);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
