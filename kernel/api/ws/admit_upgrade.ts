/**
 * Admission of a WebSocket: whose it is, and whether the page that asks for it may.
 *
 * A browser lets any page open a WebSocket anywhere, and tells its origin. So an origin that is told must be that of
 * Airlock itself, or one that the operator named. And since a name that somebody else owns may be made to resolve to
 * Airlock's address, the name that was asked for must be one of its own.
 *
 * A browser's page can set no header there. So the token may also stand among the subprotocols that it offers, as
 * `bearer.<token>` or alone. What is offered in vain is no secret that is sent back: see {@linkcode readOffer}.
 *
 * @module
 */
import { ProblemError } from "../../../schemas/problem.ts";
import { wsSubprotocol, wsTokenPrefix } from "../../../schemas/ws_protocol.ts";
import { authenticate, checkRole } from "../authenticate.ts";
import type { ApiKernel, Caller } from "../context.ts";

export interface Offer {
  /** What the answer selects: `airlock.v1` if it is offered, and a token only where nothing else is. */
  readonly protocol: string | undefined;
  /** A request with the token as a header. One of its own, since that of an upgrade cannot be read after it. */
  readonly credentials: Request;
}

export function readOffer(headers: Headers): Offer {
  const offered = (headers.get("sec-websocket-protocol") ?? "")
    .split(",").map((name) => name.trim()).filter((name) => name !== "");
  const others = offered.filter((name) => name !== wsSubprotocol);
  const offeredToken = others.find((name) => name.startsWith(wsTokenPrefix)) ?? others[0];
  const header = headers.get("authorization");
  const protocol = offered.includes(wsSubprotocol)
    ? wsSubprotocol
    : others.find((name) => header !== null || name !== offeredToken) ?? offeredToken;
  const authorization = header ?? bearerOf(offeredToken);
  const init = authorization === undefined ? {} : { headers: { authorization } };
  return { protocol, credentials: new Request("http://localhost/", init) };
}

function bearerOf(offered: string | undefined): string | undefined {
  if (offered === undefined) return undefined;
  return `Bearer ${offered.startsWith(wsTokenPrefix) ? offered.slice(wsTokenPrefix.length) : offered}`;
}

/** Throws UNAUTHENTICATED, and FORBIDDEN for a role that is not enough. */
export function admitCaller(kernel: Pick<ApiKernel, "tokens">, credentials: Request): Caller {
  const caller = authenticate(kernel, credentials);
  checkRole(caller, "viewer");
  return caller;
}

/** Throws FORBIDDEN. */
export function checkSource(config: ApiKernel["config"], headers: Headers): void {
  const host = headers.get("host")?.toLowerCase() ?? "";
  if (!isOwnHost(config, host)) {
    const state = "the name that was asked for is none of Airlock's";
    throw new ProblemError("FORBIDDEN", `Cannot open a WebSocket: ${state}, see streams.hosts`);
  }
  const origin = headers.get("origin")?.toLowerCase();
  if (origin === undefined || origin === `http://${host}` || origin === `https://${host}`) return;
  if (config.streams.origins.some((allowed) => allowed.toLowerCase() === origin)) return;
  const state = "pages of this origin may not";
  throw new ProblemError("FORBIDDEN", `Cannot open a WebSocket: ${state}, see streams.origins`);
}

const loopbackNames = ["localhost", "127.0.0.1", "[::1]"];

function isOwnHost({ host: address, streams }: ApiKernel["config"], host: string): boolean {
  const name = /^(\[[0-9a-f:.]+\]|[^:[\],\s]+)(?::[0-9]{1,5})?$/.exec(host)?.[1];
  if (name === undefined) return false;
  const own = (address.includes(":") ? `[${address}]` : address).toLowerCase();
  if (loopbackNames.includes(name) || name === own) return true;
  return streams.hosts.some((allowed) => [name, host].includes(allowed.toLowerCase()));
}
