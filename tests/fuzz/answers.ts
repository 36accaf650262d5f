/**
 * The oracle: what an answer must be like, whatever was asked.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { type Schema, Validator } from "@cfworker/json-schema";
import { type ProblemCode, problemSchema, problemTable } from "../../schemas/problem.ts";
import type { ApiDocument, Operation } from "./api_document.ts";
import type { Answer } from "./http_connection.ts";
import type { JsonSchema } from "./json_schema_arbitrary.ts";
import type { WireRequest } from "./wire_request.ts";

/** What a plugin does, or too much at once, and no failure of Airlock. */
export const excusable: ReadonlySet<ProblemCode> = new Set([
  ...["QUEUE_FULL", "BREAKER_OPEN", "ACTION_FAILED", "LIMIT_WALL"] as const,
  // A cell that is stopped, or killed since its call was cancelled, while it is called.
  ...["PLUGIN_CRASHED", "OUTPUT_INVALID"] as const,
]);

/** Answers of the HTTP server below Airlock to what is no request: it never reached the API. */
const belowApi = [400, 414, 431];

export class Answers {
  readonly #validators = new Map<JsonSchema, Validator>();
  /** How many of each were seen, by status and code. */
  readonly counts = new Map<string, number>();

  constructor(private readonly document: ApiDocument) {}

  /** The answer's JSON, if it has one. Throws AssertionError. */
  check(request: WireRequest, operation: Operation | undefined, answer: Answer): unknown {
    const { status, headers, body } = answer;
    ok(status >= 200 && status <= 599, `status ${status}`);
    if (belowApi.includes(status) && !headers.has("airlock-request-id") && body.length === 0) {
      this.#count(`${status} below the API`);
      return undefined;
    }
    ok(headers.has("airlock-request-id"), `${status} without a request id`);
    equal(headers.get("x-content-type-options"), "nosniff");
    const own = operation?.method === request.method ? operation : undefined;
    if (status >= 400) return this.#checkProblem(request, own, answer);
    this.#count(String(status));
    return this.#checkContent(request, own, answer);
  }

  #checkProblem({ method }: WireRequest, own: Operation | undefined, answer: Answer): unknown {
    const { status, headers, body } = answer;
    equal(headers.get("content-type"), "application/problem+json", `content type of a ${status}`);
    if (method === "HEAD") {
      this.#count(`${status} of HEAD`);
      ok(status < 500 || status === 503, `status ${status} of HEAD`);
      return undefined;
    }
    const value: unknown = JSON.parse(decode(body));
    const problem = problemSchema.parse(value);
    this.#count(`${status} ${problem.code}`);
    equal(problem.status, status);
    deepEqual([status, problem.title], [...problemTable[problem.code]]);
    ok(status < 500 || excusable.has(problem.code), `${problem.code}: ${problem.detail}`);
    if (own !== undefined && problem.code !== "NOT_FOUND" && problem.code !== "METHOD_NOT_ALLOWED") {
      ok(
        own.responses[status] !== undefined,
        `${status} ${problem.code} is not in the document: ${problem.detail}`,
      );
    }
    return value;
  }

  #checkContent({ method }: WireRequest, own: Operation | undefined, answer: Answer): unknown {
    const { status, headers, body, isCut } = answer;
    const type = /^[^;]*/.exec(headers.get("content-type") ?? "")?.[0].trim() ?? "";
    const documented = own?.responses[status];
    if (own !== undefined) ok(documented !== undefined, `${status} is not in the document`);
    if (method === "HEAD" || status === 204 || (status >= 300 && status < 400)) return undefined;
    if (documented !== undefined) ok(type in documented, `${type} of ${status} is not in the document`);
    if (type === "text/event-stream") return this.#checkEvents(decode(body), isCut);
    if (type !== "application/json" || isCut) return undefined;
    const value: unknown = JSON.parse(decode(body));
    const schema = documented?.[type];
    if (schema !== undefined) this.#checkSchema(schema, value);
    return value;
  }

  #checkEvents(text: string, isCut: boolean): undefined {
    const blocks = text.split("\n\n");
    const rest = blocks.pop();
    if (!isCut) equal(rest, "");
    for (const block of blocks) {
      if (block.startsWith(":")) continue;
      const data = /^(?:id: [^\r\n]*(?:\n|$))?(?:event: [A-Z_]+\ndata: ([^\r\n]*))?$/.exec(block);
      ok(data !== null, `not an event: ${JSON.stringify(block)}`);
      if (data[1] !== undefined) JSON.parse(data[1]);
    }
    return undefined;
  }

  #checkSchema(schema: JsonSchema, value: unknown): void {
    let validator = this.#validators.get(schema);
    if (validator === undefined) {
      // References begin at the root of the document.
      const rooted: Schema = {
        ...this.document.root,
        allOf: [Object.assign<Schema, JsonSchema>({}, schema)],
      };
      validator = new Validator(rooted, "2020-12", true);
      this.#validators.set(schema, validator);
    }
    const { valid, errors } = validator.validate(value);
    ok(
      valid,
      `not as the document has it: ${JSON.stringify(errors.slice(-3))} ${
        JSON.stringify(value).slice(0, 500)
      }`,
    );
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function decode(bytes: Uint8Array): string {
  // A stream that was cut may end within a character.
  return utf8.decode(bytes, { stream: false });
}
