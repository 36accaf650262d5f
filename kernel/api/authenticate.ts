/**
 * Admission: who asks, and whether the token's role is enough.
 *
 * A token is `Authorization: Bearer <secret>` and nothing else: no cookie and no query parameter, which a
 * browser would send along or a log would keep.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { type Role, roleIncludes } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { ApiContext, ApiEnv, ApiKernel, Caller } from "./context.ts";

/** The environment of a handler that comes after {@linkcode requireRole}. */
interface CallerEnv {
  Variables: ApiEnv["Variables"] & { caller: Caller };
}

/** Clients should wait this long before they ask again. */
export const readyRetryMs = 1_000;

/** Lets requests through whose token has at least `role`, while the kernel is ready. */
export function requireRole(kernel: ApiKernel, role: Role): MiddlewareHandler<CallerEnv> {
  return async (c, next) => {
    checkReady(kernel);
    const caller = authenticate(kernel, c.req.raw);
    c.set("caller", caller);
    checkRole(caller, role);
    await next();
  };
}

/**
 * Admits a request for `/log`: a `viewer`, or whoever asks where `ledger.public` is set. There a token is not
 * looked at, so that a stale one is no obstacle to what anyone may read.
 */
export function admitToLog(kernel: ApiKernel, c: ApiContext): void {
  checkReady(kernel);
  if (kernel.config.ledger.public) return;
  const caller = authenticate(kernel, c.req.raw);
  c.set("caller", caller);
  checkRole(caller, "viewer");
}

/** Throws NOT_READY. */
export function checkReady(kernel: Pick<ApiKernel, "status">): void {
  const status = kernel.status();
  if (status === "ready") return;
  throw new ProblemError("NOT_READY", `Cannot serve the request: the kernel is ${status}`, {
    retryAfterMs: readyRetryMs,
  });
}

/** Throws UNAUTHENTICATED, and counts it. */
export function authenticate({ tokens }: Pick<ApiKernel, "tokens">, request: Request): Caller {
  const header = request.headers.get("authorization");
  const secret = header === null ? undefined : bearerSecret(header);
  const caller = secret === undefined ? undefined : tokens.authenticate(secret);
  if (caller === undefined) {
    tokens.refused();
    const state = header === null ? "there is no Authorization header" : "the token is not valid";
    throw new ProblemError("UNAUTHENTICATED", `Cannot authenticate the request: ${state}`);
  }
  return caller;
}

/**
 * Whether the token that `request` came with still stands for `caller`, to be asked as long as its answer goes on.
 * Who was admitted once is not counted as refused.
 */
export function tokenStands(
  { tokens }: Pick<ApiKernel, "tokens">,
  request: Request,
  { id }: Caller,
): () => boolean {
  const secret = bearerSecret(request.headers.get("authorization") ?? "") ?? "";
  return () => tokens.authenticate(secret)?.id === id;
}

/** Throws FORBIDDEN. */
export function checkRole(caller: Caller, needed: Role): void {
  if (roleIncludes(caller.role, needed)) return;
  throw new ProblemError(
    "FORBIDDEN",
    `Cannot act as "${caller.role}": the role "${needed}" or above is needed`,
  );
}

/** The secret in `Bearer <token68>` (RFC 6750); undefined for anything else. */
function bearerSecret(header: string): string | undefined {
  return /^bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(header)?.[1];
}
