/**
 * The typed protocol: `GET /v1/ws`, upgraded to a WebSocket that speaks `schemas/ws_protocol.ts`.
 *
 * What Deno's server WebSocket does by itself, and cannot be told otherwise: a frame above 64 MiB, or a text that is
 * not UTF-8, ends the socket without a close frame; a message in many frames is put together whatever its size, and
 * refused only then; and a close frame that the client never answers leaves the socket to the client.
 *
 * @module
 */
import { createRoute } from "@hono/zod-openapi";
import { type Clock, systemClock } from "../../sandbox/clock.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { within } from "../within.ts";
import { checkReady } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import type { EventReaders } from "./event_readers.ts";
import { tokenProblems } from "./responses.ts";
import { requestIdHeader, securityHeaders } from "./security_headers.ts";
import { admitCaller, checkSource, readOffer } from "./ws/admit_upgrade.ts";
import { Connection } from "./ws/connection.ts";

export interface WsOptions {
  /** Where each connection takes a place. */
  readonly readers: EventReaders;
  readonly clock?: Clock;
}

export interface WsConnections {
  readonly count: number;
  /**
   * Lets what is under way be answered and closes all, with 1001. Takes `http.drainTimeoutMs` at most; then
   * they are closed all the same. To be awaited before the server's own shutdown, which cuts what it finds.
   */
  closeAll(): Promise<void>;
}

const wsRoute = createRoute({
  method: "get",
  path: "/v1/ws",
  operationId: "openWebSocket",
  tags: ["events"],
  summary: "Open a WebSocket",
  description:
    "Needs the role `viewer`. Offer the subprotocol `airlock.v1`, and where no header can be set also " +
    "`bearer.<token>`. Messages are JSON texts, see `schemas/ws_protocol.ts`. A page of another origin needs " +
    "`streams.origins`, and another name than the address listened on `streams.hosts`.",
  security: [{ bearer: [] }],
  responses: {
    101: { description: "The socket is open; the client begins with INIT." },
    ...tokenProblems("INPUT_INVALID", "QUEUE_FULL"),
  },
});

/** To be called before the headers are prepared: the answer of an upgrade is used as it is. */
export function registerWs(
  app: Api,
  kernel: ApiKernel,
  { readers, clock = systemClock }: WsOptions,
): WsConnections {
  const connections = new Set<Connection>();
  app.openAPIRegistry.registerPath(wsRoute);
  app.get(wsRoute.getRoutingPath(), (c) => {
    checkReady(kernel);
    const { raw } = c.req;
    const { protocol, credentials } = readOffer(raw.headers);
    const caller = admitCaller(kernel, credentials);
    c.set("caller", caller);
    checkSource(kernel.config, raw.headers);
    let connection: Connection | undefined;
    const leave = readers.enter(caller.actor, () => void connection?.drain());
    try {
      const { socket, response } = upgrade(raw);
      const ended = () => {
        leave();
        if (connection !== undefined) connections.delete(connection);
      };
      const authenticate = () => admitCaller(kernel, credentials);
      connection = new Connection({ kernel, socket, caller, clock, authenticate, ended });
      connections.add(connection);
      for (const [name, value] of Object.entries(securityHeaders)) response.headers.set(name, value);
      response.headers.set(requestIdHeader, c.get("requestId"));
      // Not by Deno's own option: that does not find a protocol in a list without spaces.
      if (protocol !== undefined) response.headers.set("sec-websocket-protocol", protocol);
      return response;
    } catch (error) {
      leave();
      throw error;
    }
  });

  return {
    get count() {
      return connections.size;
    },
    async closeAll() {
      const all = [...connections];
      await within(kernel.config.http.drainTimeoutMs, Promise.all(all.map((one) => one.drain())));
      for (const one of all) one.close();
    },
  };
}

/** Throws INPUT_INVALID for a request that is no upgrade. */
function upgrade(request: Request): Deno.WebSocketUpgrade {
  try {
    if (request.method !== "GET") throw new TypeError("the method is not GET");
    return Deno.upgradeWebSocket(request);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new ProblemError("INPUT_INVALID", "Cannot open a WebSocket: the request is no upgrade to one", {
      cause,
    });
  }
}
