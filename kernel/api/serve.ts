/**
 * The server: the API on a listening socket, and its end.
 *
 * @module
 */
import { within } from "../within.ts";
import { createApp } from "./app.ts";
import type { ApiKernel } from "./context.ts";
import { EventReaders } from "./event_readers.ts";
import { WsConnections } from "./ws.ts";

export interface ServeApiOptions {
  readonly kernel: ApiKernel;
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** The folder of swagger-ui-dist, see `swagger_ui_folder.ts`. */
  readonly swaggerUiFolder: string;
  /** Told when connections cannot be accepted for a while. */
  log?(message: string): void;
}

const acceptPauseMs = 100;

export interface ApiServer {
  /** The port that is listened on. */
  readonly port: number;
  /** Resolves when the last connection is closed; rejects when it cannot go on. */
  readonly finished: Promise<void>;
  /** Takes no more connections and waits for the requests under way, at most `drainTimeoutMs`. */
  shutdown(): Promise<void>;
}

/** Throws if the address cannot be listened on. */
export function serveApi({ kernel, host, port, swaggerUiFolder, log }: ServeApiOptions): ApiServer {
  const readers = new EventReaders(kernel.config.streams);
  const connections = new WsConnections(kernel.config.http);
  const app = createApp(kernel, { swaggerUiFolder, readers, connections });
  const start = (on: number) =>
    listen({
      hostname: host,
      port: on,
      // Stdout carries the kernel's messages; the warden prints the ready line.
      onListen: () => undefined,
    }, (request) => app.fetch(request));
  let server = start(port);
  let isClosing = false;
  const address = server.addr.port;

  /** A server ends when it cannot accept: descriptors are used up by connections, which end by themselves. */
  async function keepServing(): Promise<void> {
    for (;;) {
      try {
        return await server.finished;
      } catch (error) {
        if (isClosing) return;
        log?.(`Cannot accept connections: ${String(error)}`);
        await startAgain();
      }
    }
  }

  async function startAgain(): Promise<void> {
    while (!isClosing) {
      await new Promise((resolve) => setTimeout(resolve, acceptPauseMs));
      try {
        server = start(address);
        return;
      } catch (error) {
        // A kernel that was started on "any port" may not choose this one: its next life may.
        if (error instanceof Error && error.cause instanceof Deno.errors.NotCapable) throw error;
        // Descriptors are still used up: the socket that listens needs one itself.
      }
    }
  }

  return {
    port: address,
    finished: keepServing(),
    shutdown: () => {
      isClosing = true;
      readers.closeAll();
      // A connection whose client went silent in the middle of a body holds the shutdown for ever, and Deno has
      // no way to close it then (aborting the server's signal throws BadResource): it ends with the process.
      // It also cuts every WebSocket at once, so those are closed first.
      const closed = connections.closeAll().then(() => server.shutdown());
      return within(kernel.config.http.drainTimeoutMs, closed);
    },
  };
}

function listen(
  options: Deno.ServeTcpOptions,
  handler: (request: Request) => Response | Promise<Response>,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve(options, handler);
  } catch (cause) {
    const state = cause instanceof Deno.errors.AddrInUse ? "the port is in use" : String(cause);
    throw new Error(`Cannot listen on "${options.hostname}:${options.port}": ${state}`, { cause });
  }
}
