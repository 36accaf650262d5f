/**
 * A request's path, as it was sent.
 *
 * Not by `new URL`: a request's address is made from its Host, and one that is no host name would make the reading
 * of the path fail. Pure.
 *
 * @module
 */

/** From the first slash behind the authority to the query; "" where there is none. */
export function requestPath(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start === -1) return "";
  const query = url.indexOf("?", start);
  return query === -1 ? url.slice(start) : url.slice(start, query);
}

/** The same request at an address that can be parsed, for a `Request` that is made of it. */
export function withPlainHost(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  return `http://localhost${start === -1 ? "/" : url.slice(start)}`;
}
