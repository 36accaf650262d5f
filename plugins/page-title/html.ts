/**
 * The head of an HTML document, as far as it says what the page is called.
 *
 * A scanner over tags, not a parser: it knows which elements hold no markup and skips what is in comments,
 * scripts and drawings, and that is enough for a title. Every character is looked at a bounded number of
 * times, so a hostile page costs no more than an honest one of its size.
 *
 * Pure.
 *
 * @module
 */
import { decodeEntities } from "./entities.ts";

export interface PageHead {
  title: string | null;
  description: string | null;
}

/** The longest title or description that is reported, in UTF-16 units. */
const reportedLengthMax = 2_048;

/** The first title, and the first description; `og:` ones where there are no others. */
export function readHead(html: string): PageHead {
  let title: string | undefined;
  const metas = new Map<string, string>();
  for (const { name, attributes, text } of elements(html)) {
    if (name === "title") title ??= text;
    if (name !== "meta") continue;
    const key = (attributes.get("name") ?? attributes.get("property") ?? "").toLowerCase();
    const content = attributes.get("content");
    if (content !== undefined && wantedMetas.has(key) && !metas.has(key)) metas.set(key, content);
    if (title !== undefined && metas.has("description")) break;
  }
  return {
    title: tidy(title) ?? tidy(metas.get("og:title")),
    description: tidy(metas.get("description")) ?? tidy(metas.get("og:description")),
  };
}

const wantedMetas: ReadonlySet<string> = new Set(["description", "og:description", "og:title"]);

/** The encoding that a page's `<meta>` names, lower case; `undefined` if none does. */
export function readMetaCharset(html: string): string | undefined {
  for (const { name, attributes } of elements(html)) {
    if (name !== "meta") continue;
    const isContentType = attributes.get("http-equiv")?.toLowerCase() === "content-type";
    const charset = attributes.get("charset") ??
      (isContentType ? charsetOf(attributes.get("content") ?? "") : undefined);
    if (charset !== undefined) return charset.trim().toLowerCase();
  }
  return undefined;
}

/** The `charset` parameter of a content type. */
export function charsetOf(contentType: string): string | undefined {
  return /;\s*charset\s*=\s*["']?([^\s"';]+)/i.exec(contentType)?.[1];
}

function tidy(text: string | undefined): string | null {
  const decoded = decodeEntities(text ?? "").replaceAll(/[\t\n\f\r ]+/g, " ").trim();
  return decoded === "" ? null : decoded.slice(0, reportedLengthMax).toWellFormed();
}

interface Element {
  /** Lower case. */
  name: string;
  /** By lower-case name; the first of a name counts. */
  attributes: Map<string, string>;
  /** Of an element that holds no markup: its text up to its end tag, undecoded. Else empty. */
  text: string;
}

/** Elements whose contents are not markup, or not part of the page. */
const opaque: ReadonlySet<string> = new Set(
  ["title", "script", "style", "textarea", "template", "noscript", "iframe", "xmp", "noembed", "noframes"],
);

/** Drawings and formulas: their titles are not the page's. Only these can close themselves with `/>`. */
const foreign: ReadonlySet<string> = new Set(["svg", "math"]);

/** The start tags of `html` in order, those inside opaque elements left out. */
function* elements(html: string): Generator<Element> {
  let position = html.indexOf("<");
  while (position !== -1) {
    if (html.startsWith("<!--", position)) {
      // `<!-->` and `<!--->` are whole comments.
      const end = html.indexOf("-->", position + 2);
      if (end === -1) return;
      position = html.indexOf("<", end + 3);
      continue;
    }
    const tag = readTag(html, position);
    if (tag === undefined) {
      position = html.indexOf("<", position + 1);
      continue;
    }
    let end = tag.end;
    let text = "";
    if (!tag.closing) {
      const selfClosed = html.startsWith("/>", tag.end - 2);
      if (opaque.has(tag.name) || (foreign.has(tag.name) && !selfClosed)) {
        const close = findEndTag(html, tag.name, end);
        text = html.slice(end, close);
        end = close;
      }
      yield { name: tag.name, attributes: tag.attributes, text };
    }
    position = html.indexOf("<", end);
  }
}

interface Tag {
  name: string;
  closing: boolean;
  attributes: Map<string, string>;
  /** The index after its `>`. */
  end: number;
}

const tagName = /<(\/?)([a-z][^\s/>]*)/iy;
const attribute = /[\s/]*([^\s/>][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)?))?/y;

/** The tag that starts at `position`, or `undefined` if that `<` is but a character. */
function readTag(html: string, position: number): Tag | undefined {
  tagName.lastIndex = position;
  const opening = tagName.exec(html);
  if (opening === null) return undefined;
  const [whole, slash = "", name = ""] = opening;
  const attributes = new Map<string, string>();
  let end = position + whole.length;
  for (;;) {
    attribute.lastIndex = end;
    const match = attribute.exec(html);
    if (match === null) break;
    const [matched, key = "", double, single, bare = ""] = match;
    const lowerKey = key.toLowerCase();
    if (!attributes.has(lowerKey)) attributes.set(lowerKey, decodeEntities(double ?? single ?? bare));
    end += matched.length;
  }
  const close = html.indexOf(">", end);
  return {
    name: name.toLowerCase(),
    closing: slash !== "",
    attributes,
    end: close === -1 ? html.length : close + 1,
  };
}

/** Where the end tag of the opaque element `name` starts; the end of the text if there is none. */
function findEndTag(html: string, name: string, from: number): number {
  const endTag = new RegExp(`</${name}(?=[\\s/>])`, "ig");
  endTag.lastIndex = from;
  return endTag.exec(html)?.index ?? html.length;
}
