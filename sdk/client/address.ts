/**
 * The address and the token of a client, checked before anything is sent. Pure.
 *
 * @module
 */

/** The WebSocket's address. Throws TypeError for one that cannot be, or that holds what belongs elsewhere. */
export function socketUrl(url: string): string {
  // The address is not shown where it may hold a secret.
  if (!URL.canParse(url)) throw new TypeError("Cannot use the url: it is not an absolute address");
  const parsed = new URL(url);
  if (parsed.username + parsed.password + parsed.search + parsed.hash !== "") {
    throw new TypeError(
      "Cannot use the url: it has a user, a query or a fragment, and a token goes into `token`",
    );
  }
  const protocol = new Map([["http:", "ws:"], ["https:", "wss:"], ["ws:", "ws:"], ["wss:", "wss:"]])
    .get(parsed.protocol);
  if (protocol === undefined) throw new TypeError(`Cannot use the url: ${parsed.protocol} is not http or ws`);
  parsed.protocol = protocol;
  if (parsed.pathname === "/") parsed.pathname = "/v1/ws";
  return parsed.href;
}

/** The token itself. Throws TypeError, without the token, where it could not be a subprotocol's name. */
export function checkBearer(token: string): string {
  if (/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,512}$/.test(token)) return token;
  throw new TypeError("Cannot use the token: it has characters that no token has, or none");
}
