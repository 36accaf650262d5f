/**
 * The log is what the kernel tells its operator: one JSON object for each line, on stderr.
 *
 * stdout belongs to the protocol with the warden, so nothing here can reach it. Records are LogTape's and so
 * is their JSON; its `configure()` is not used, because that is one table for the whole process, and two
 * kernels in one process (as in tests) would write into each other's log.
 *
 * Invariants: a line has at most {@linkcode lineCharsMax} characters whatever was logged; control characters
 * stand in it escaped; logging never throws.
 *
 * @module
 */
import { jsonLinesFormatter, type LogRecord } from "@logtape/logtape";

/** Quietest last. */
export const logLevels = ["debug", "info", "warning", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

export type LogProperties = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, properties?: LogProperties): void;
  info(message: string, properties?: LogProperties): void;
  warning(message: string, properties?: LogProperties): void;
  error(message: string, properties?: LogProperties): void;
  /** The same log under `airlock.<name>`. */
  child(name: string): Logger;
}

export interface LoggerOptions {
  /** Quieter records than this are not written. */
  readonly level: LogLevel;
  /** Takes one line, its newline included. */
  readonly write: (line: string) => void;
  readonly nowMs: () => number;
}

export const lineCharsMax = 32_768;
const textCharsMax = 4_096;

export function createLogger(options: LoggerOptions): Logger {
  return createCategoryLogger(options, ["airlock"]);
}

function createCategoryLogger(options: LoggerOptions, category: readonly string[]): Logger {
  const levelMin = logLevels.indexOf(options.level);
  const at = (level: LogLevel) => (message: string, properties: LogProperties = {}): void => {
    if (logLevels.indexOf(level) < levelMin) return;
    options.write(formatLine({
      category,
      level,
      message: [truncate(message)],
      rawMessage: message,
      timestamp: options.nowMs(),
      properties: truncateStrings(properties),
    }));
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warning: at("warning"),
    error: at("error"),
    child: (name) => createCategoryLogger(options, [...category, name]),
  };
}

function formatLine(record: LogRecord): string {
  let reason: string;
  try {
    const line = jsonLinesFormatter(record);
    if (line.length <= lineCharsMax) return line;
    reason = `${line.length} characters`;
  } catch (error) {
    // A property whose getter or toJSON throws. The message still says what happened.
    reason = error instanceof Error ? truncate(error.message) : typeof error;
  }
  return jsonLinesFormatter({ ...record, properties: { omitted: reason } });
}

/** Bounds the ordinary case before it is serialised; what is nested deeper is bounded by the whole line. */
function truncateStrings(properties: LogProperties): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(properties).map(([name, value]) => [
      name,
      typeof value === "string" ? truncate(value) : value,
    ]),
  );
}

function truncate(text: string): string {
  if (text.length <= textCharsMax) return text;
  return `${text.slice(0, textCharsMax).toWellFormed()}… (${text.length} characters)`;
}
