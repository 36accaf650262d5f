/**
 * Problems: the closed set of failure codes, and the error that carries one.
 *
 * Every expected failure has a code from {@linkcode problemTable}; callers may branch on it. The set
 * grows and is never renamed. On the wire a problem is `application/problem+json` (RFC 9457).
 * Pure.
 *
 * @module
 */
import { z } from "zod";

/** HTTP status and title of each code. */
export const problemTable = {
  UNAUTHENTICATED: [401, "A valid bearer token is required"],
  FORBIDDEN: [403, "The token's role does not allow this"],
  NOT_FOUND: [404, "There is nothing at this address"],
  METHOD_NOT_ALLOWED: [405, "This address does not take this method"],
  NOT_READY: [503, "Airlock is not ready"],
  UPGRADE_REQUIRED: [426, "This address speaks WebSocket only"],
  MALFORMED_JSON: [400, "The body is not JSON"],
  UNSUPPORTED_MEDIA_TYPE: [415, "The content type is not supported"],
  BODY_TOO_LARGE: [413, "The body is too large"],
  BODY_TIMEOUT: [408, "The body did not arrive in time"],
  INPUT_INVALID: [422, "The input does not fit the schema"],
  OUTPUT_INVALID: [502, "The plugin's output does not fit its schema"],
  PLUGIN_NOT_FOUND: [404, "There is no such plugin"],
  ACTION_NOT_FOUND: [404, "The plugin has no such action"],
  TOKEN_NOT_FOUND: [404, "There is no such token"],
  ENTRY_NOT_FOUND: [404, "The ledger has no such entry"],
  JOB_NOT_FOUND: [404, "There is no such job"],
  SCHEDULE_NOT_FOUND: [404, "There is no such schedule"],
  PLUGIN_STOPPED: [409, "The plugin is stopped"],
  PLUGIN_DISABLED: [409, "The plugin is disabled"],
  PLUGIN_REJECTED: [409, "The plugin's package was rejected"],
  PLUGIN_CRASHED: [502, "The plugin's cell ended during the call"],
  PLUGIN_START_FAILED: [502, "The plugin's cell did not start"],
  PLUGIN_QUARANTINED: [503, "The plugin is quarantined"],
  PLUGIN_UNRESPONSIVE: [502, "The plugin's cell did not answer its heartbeat"],
  PLUGIN_UNHEALTHY: [502, "The plugin's own health check failed"],
  BREAKER_OPEN: [503, "The plugin's circuit breaker is open"],
  QUEUE_FULL: [503, "Too many calls are waiting"],
  ACTION_FAILED: [502, "The plugin's action failed"],
  CANCELLED: [499, "The call was cancelled"],
  ISOLATION_REQUIRED: [409, "The plugin needs a stronger isolation tier"],
  GRANT_REFUSED: [422, "The grant was refused"],
  LIMIT_WALL: [504, "The call ran out of wall-clock time"],
  LIMIT_CPU: [504, "The call ran out of CPU time"],
  LIMIT_MEMORY: [502, "The cell went over its memory limit"],
  LIMIT_DISK: [502, "The cell went over its disk limit"],
  LIMIT_FILES: [502, "The cell went over its limit of files"],
  LIMIT_DESCRIPTORS: [502, "The cell went over its limit of open descriptors"],
  LIMIT_CONNECTIONS: [502, "The cell went over its limit of connections"],
  LIMIT_LOG: [502, "The plugin's log is above its rate"],
  LIMIT_OUTPUT: [502, "The output is larger than its limit"],
  LIMIT_THREADS: [502, "The cell went over its thread limit"],
  LIMIT_MESSAGES: [502, "The cell sent too many messages"],
  JOB_EXPIRED: [504, "The job had not begun when its time was over"],
  JOB_INTERRUPTED: [502, "The job was interrupted, and its action is not idempotent"],
  DEPENDENCY_FAILED: [409, "A job that it depends on did not complete"],
  STEP_FAILED: [502, "A step of the pipeline failed"],
  CONFLICT: [409, "The request conflicts with the current state"],
  CONFIG_INVALID: [500, "The configuration is not valid"],
  INTERNAL: [500, "Airlock failed"],
} as const satisfies Record<string, readonly [status: number, title: string]>;

export type ProblemCode = keyof typeof problemTable;

export const problemCodes = Object.keys(problemTable) as [ProblemCode, ...ProblemCode[]];

export const problemCodeSchema = z.enum(problemCodes);

/** One fault inside a rejected document: `path` is a JSON Pointer (RFC 6901). */
export const faultSchema = z.strictObject({
  path: z.string(),
  message: z.string(),
  line: z.int().positive().optional(),
  column: z.int().positive().optional(),
});
export type Fault = z.infer<typeof faultSchema>;

export const problemSchema = z.object({
  type: z.literal("about:blank"),
  title: z.string(),
  status: z.int(),
  code: problemCodeSchema,
  detail: z.string(),
  errors: z.array(faultSchema).optional(),
});
export type Problem = z.infer<typeof problemSchema>;

/** An expected failure. The message reads `Cannot <action> "<thing>": <state>`. */
export class ProblemError extends Error {
  override name = "ProblemError";

  constructor(
    readonly code: ProblemCode,
    message: string,
    readonly options: { errors?: Fault[]; cause?: unknown; retryAfterMs?: number } = {},
  ) {
    super(message, { cause: options.cause });
  }

  get status(): number {
    return problemTable[this.code][0];
  }

  toProblem(): Problem {
    const [status, title] = problemTable[this.code];
    const { errors } = this.options;
    return {
      type: "about:blank",
      title,
      status,
      code: this.code,
      detail: this.message,
      ...(errors && errors.length > 0 ? { errors } : {}),
    };
  }
}
