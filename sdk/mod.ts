/**
 * The SDK is what a plugin's author imports: the types of a plugin's exports and of what they receive.
 *
 * It holds types and nothing else, so import it with `import type`. Such an import is erased before the
 * plugin runs. A value import stays, and fails: inside a cell there is no module named `airlock/sdk`.
 *
 * ```ts
 * import type { Actions, Context } from "airlock/sdk";
 *
 * export const actions = {
 *   greet(input: { name: string }, ctx: Context) {
 *     ctx.log.info("greeting", { name: input.name });
 *     return { message: `Hello, ${input.name}` };
 *   },
 * } satisfies Actions;
 * ```
 *
 * Pure: it has no code at run time.
 *
 * @module
 */

/** What goes in and out of a plugin: a value that JSON can carry unchanged. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/** Fields of a log line. */
export type LogFields = Record<string, JsonValue>;

/**
 * The plugin's log, kept by Airlock and shown to its operator; what a job's call logs while it is under way is kept
 * with the job too. Lines over `limits.logBytesPerSecond` are dropped.
 */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** What Airlock hands to each call of an action, and to each hook. */
export interface Context {
  readonly log: Log;

  /** Tells a caller that listens how far the call is. `fraction` runs from 0 to 1. */
  progress(fraction: number, note?: string): void;

  /**
   * Aborted when the caller goes away or the call's deadline passes. A call that goes on regardless gets a
   * short grace, then its whole cell is killed, and with it every other call in it. Code that never awaits
   * is never told. A generator that stands at a `yield` is ended there: what cleans up belongs into `finally`.
   */
  readonly signal: AbortSignal;

  /** Absolute path of the plugin's private folder, which every plugin may read and write. */
  readonly dataDir: string;

  /** Absolute path of the package, which every plugin may read. */
  readonly packageDir: string;

  /** The operator's settings for this plugin. */
  readonly config: Readonly<Record<string, JsonValue>>;

  readonly plugin: { readonly id: string; readonly version: string };

  /** The call under way. In a hook, `action` is the name of the hook. */
  readonly call: { readonly id: string; readonly action: string };

  /**
   * The job that this call is an attempt of, counted from 1; undefined in an immediate call and in a hook. A job may
   * be attempted more than once, so `id` is a key under which an effect can be found to have been had already.
   */
  readonly job?: { readonly id: string; readonly attempt: number };
}

/**
 * An action: a function from a JSON value to a JSON value.
 *
 * It may return its output, promise it, or be a generator. What a generator yields goes to a streaming
 * caller at once; what it returns is the output, and if it returns nothing, the list of what it yielded is.
 * `undefined` becomes `null`. What an action throws, the caller gets as `ACTION_FAILED` with the error's
 * message, so a message is written for the caller.
 *
 * Where the manifest gives an input schema, the input fits it before the action is called.
 */
export type Action<Input = never, Output = unknown, Token = unknown> = (
  input: Input,
  ctx: Context,
) =>
  | Output
  | Promise<Output>
  | Generator<Token, Output, void>
  | AsyncGenerator<Token, Output, void>;

/** The export `actions`: one function for each action of the manifest, under the same name. */
export type Actions = Readonly<Record<string, Action>>;

/** The optional export `start`: called once in each new cell, before its first call. A throw fails the start. */
export type StartHook = (ctx: Context) => void | Promise<void>;

/** The optional export `stop`: called before the cell ends in good order. A cell that is killed never calls it. */
export type StopHook = (ctx: Context) => void | Promise<void>;

/**
 * The optional export `health`: called on the interval that the manifest's `health` names. Return `false` or throw
 * to say that the plugin is not well; what is thrown is shown to its operator. Anything else, and a plugin without
 * this export, is well. One that does not answer within `health.timeoutMs` counts as unwell, and after several in
 * a row its cell is ended and another is started, so keep it short.
 */
export type HealthHook = (ctx: Context) => boolean | void | Promise<boolean | void>;

/** Everything a plugin's entrypoint may export. */
export interface Plugin {
  readonly actions: Actions;
  readonly start?: StartHook;
  readonly stop?: StopHook;
  readonly health?: HealthHook;
}
