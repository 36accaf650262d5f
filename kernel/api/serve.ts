/**
 * The server: the API on a listening socket, and its end.
 *
 * @module
 */
import { createApp } from "./app.ts";
import type { ApiKernel } from "./context.ts";

export interface ServeApiOptions {
  readonly kernel: ApiKernel;
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** The folder of swagger-ui-dist, see `swagger_ui_folder.ts`. */
  readonly swaggerUiFolder: string;
}

export interface ApiServer {
  /** The port that is listened on. */
  readonly port: number;
  /** Resolves when the last connection is closed. */
  readonly finished: Promise<void>;
  /** Takes no more connections and waits for the requests under way, at most `drainTimeoutMs`. */
  shutdown(): Promise<void>;
}

/** Throws if the address cannot be listened on. */
export function serveApi({ kernel, host, port, swaggerUiFolder }: ServeApiOptions): ApiServer {
  const app = createApp(kernel, { swaggerUiFolder });
  const server = listen({
    hostname: host,
    port,
    // Stdout carries the kernel's messages; the warden prints the ready line.
    onListen: () => undefined,
  }, (request) => app.fetch(request));
  return {
    port: server.addr.port,
    finished: server.finished,
    shutdown: () => settleWithin(kernel.config.http.drainTimeoutMs, server.shutdown()),
  };
}

/**
 * Waits for `work`, but no longer than `timeoutMs`.
 *
 * A connection whose client went silent in the middle of a body holds the shutdown for ever, and Deno has no
 * way to close it then (aborting the server's signal throws BadResource): it ends with the process.
 */
async function settleWithin(timeoutMs: number, work: Promise<void>): Promise<void> {
  const { promise: overdue, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timeoutMs);
  try {
    await Promise.race([work, overdue]);
  } finally {
    clearTimeout(timer);
  }
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
