/**
 * A plugin's log is the last lines that its cell wrote to stdout and stderr or passed to `ctx.log`.
 *
 * It is fed with a plugin's bytes, so it is bounded in every way, and safe to print on a terminal:
 * - it keeps `linesMax` lines of at most `lineBytesMax` bytes; a longer line goes on in the next one;
 * - a token bucket of one second's worth of `bytesPerSecond` bounds what is taken. What is over it is
 *   dropped, and a line `… dropped N bytes` stands where it was;
 * - bytes that are not UTF-8 read as U+FFFD, colour sequences are removed, and every other control
 *   character is shown as a picture of itself.
 *
 * Lines are numbered without a gap, so a reader sees by the numbers how many old ones are gone.
 *
 * Pure but for the injected clock.
 *
 * @module
 */

export const logSources = ["stdout", "stderr", "log"] as const;
export type LogSource = (typeof logSources)[number];
export type PluginLogLevel = "debug" | "info" | "warning" | "error";

export interface PluginLogLine {
  /** From 0, without a gap. */
  readonly seq: number;
  readonly atMs: number;
  readonly source: LogSource;
  readonly level: PluginLogLevel;
  /** One line, printable; at most `lineBytesMax` UTF-16 units. */
  readonly text: string;
  /** Bytes that were dropped in place of this line; 0 on an ordinary one. */
  readonly droppedBytes: number;
  /** Why they were; null on an ordinary line. */
  readonly code: "LIMIT_LOG" | null;
}

export interface PluginLog {
  /** Takes what the cell wrote, cut anywhere. */
  write(source: "stdout" | "stderr", chunk: Uint8Array): void;
  /** Takes one entry of `ctx.log`; each of its lines becomes one. */
  entry(entry: { level: PluginLogLevel; text: string }): void;
  /** The cell has ended: what waits for its newline becomes a line. */
  end(): void;
  /** Lines with a `seq` above `after`, ascending, at most `limit`. The count of the last one may still grow. */
  lines(page?: { after?: number; limit?: number }): PluginLogLine[];
}

export interface PluginLogOptions {
  readonly linesMax: number;
  /** Sustained, and at once; 0 drops everything. */
  readonly bytesPerSecond: number;
  readonly nowMs: () => number;
}

export const lineBytesMax = 4_096;

const newline = 0x0a;

/** One source's bytes since its last newline. */
interface Unfinished {
  /** Room for one line; none before the source writes, nor after the cell has ended: most plugins sleep. */
  bytes: Uint8Array | undefined;
  length: number;
}

export function createPluginLog({ linesMax, bytesPerSecond, nowMs }: PluginLogOptions): PluginLog {
  const ring = createRing(linesMax);
  const takeBytes = createBucket(bytesPerSecond, nowMs);
  const nothing = () => ({ bytes: undefined, length: 0 });
  const unfinished: Record<LogSource, Unfinished> = { stdout: nothing(), stderr: nothing(), log: nothing() };

  function emit(source: LogSource, level: PluginLogLevel, bytes: Uint8Array): void {
    ring.push({ atMs: nowMs(), source, level, text: decodePrintable(bytes), droppedBytes: 0, code: null });
  }

  function endLine(source: LogSource, level: PluginLogLevel): void {
    const line = unfinished[source];
    emit(source, level, line.bytes?.subarray(0, line.length) ?? new Uint8Array());
    line.length = 0;
  }

  /** What a source wrote since its last newline becomes a line, if there is any. */
  function flush(source: LogSource, level: PluginLogLevel): void {
    if (unfinished[source].length > 0) endLine(source, level);
  }

  /** Adds bytes without a newline. */
  function extend(source: LogSource, level: PluginLogLevel, piece: Uint8Array): void {
    const line = unfinished[source];
    const bytes = line.bytes ??= new Uint8Array(lineBytesMax);
    for (let rest = piece; rest.length > 0;) {
      if (line.length === lineBytesMax) {
        const whole = wholeCharactersEnd(bytes);
        emit(source, level, bytes.subarray(0, whole));
        bytes.copyWithin(0, whole);
        line.length = lineBytesMax - whole;
      }
      const taken = rest.subarray(0, lineBytesMax - line.length);
      bytes.set(taken, line.length);
      line.length += taken.length;
      rest = rest.subarray(taken.length);
    }
  }

  function feed(source: LogSource, level: PluginLogLevel, chunk: Uint8Array): void {
    const taken = takeBytes(chunk.length);
    let start = 0;
    while (start < taken) {
      const found = chunk.subarray(0, taken).indexOf(newline, start);
      const end = found === -1 ? taken : found;
      extend(source, level, chunk.subarray(start, end));
      if (found !== -1) endLine(source, level);
      start = end + 1;
    }
    if (taken === chunk.length) return;
    flush(source, level);
    ring.drop(source, chunk.length - taken, nowMs());
  }

  return {
    write: (source, chunk) => feed(source, levelOf(source), chunk),
    entry({ level, text }) {
      feed("log", level, new TextEncoder().encode(`${text}\n`));
    },
    end() {
      for (const source of logSources) {
        flush(source, levelOf(source));
        unfinished[source].bytes = undefined;
      }
    },
    lines: ({ after = -1, limit = linesMax } = {}) => ring.read(after, limit),
  };
}

const levelOf = (source: LogSource): PluginLogLevel => source === "stderr" ? "warning" : "info";

/** A token bucket that holds one second's worth. Returns how many of `wanted` bytes may pass. */
function createBucket(bytesPerSecond: number, nowMs: () => number): (wanted: number) => number {
  let available = bytesPerSecond;
  let filledAtMs = nowMs();
  return (wanted) => {
    const now = nowMs();
    // A clock that was set back must not take what was there already.
    const elapsedMs = Math.max(0, now - filledAtMs);
    filledAtMs = now;
    available = Math.min(bytesPerSecond, available + elapsedMs * bytesPerSecond / 1_000);
    const taken = Math.min(wanted, Math.floor(available));
    available -= taken;
    return taken;
  };
}

type Unnumbered = Omit<PluginLogLine, "seq">;

function createRing(linesMax: number) {
  const slots: Unnumbered[] = [];
  let nextSeq = 0;

  function push(line: Unnumbered): void {
    slots[nextSeq % linesMax] = line;
    nextSeq++;
  }

  return {
    push,
    /** Adds to the last line where that already stands for dropped bytes: a flood takes one line. */
    drop(source: LogSource, bytes: number, atMs: number): void {
      const last = slots[(nextSeq - 1) % linesMax];
      const continues = last !== undefined && last.droppedBytes > 0;
      if (continues) nextSeq--;
      const droppedBytes = bytes + (continues ? last.droppedBytes : 0);
      const text = `… dropped ${droppedBytes} bytes`;
      push({ atMs, source, level: "warning", text, droppedBytes, code: "LIMIT_LOG" });
    },
    read(after: number, limit: number): PluginLogLine[] {
      const lines: PluginLogLine[] = [];
      const first = Math.max(after + 1, nextSeq - linesMax, 0);
      for (let seq = first; seq < nextSeq && lines.length < limit; seq++) {
        const line = slots[seq % linesMax];
        if (line !== undefined) lines.push({ seq, ...line });
      }
      return lines;
    },
  };
}

/** Where to cut a full buffer so that a character of up to 4 bytes stays whole: it may end unfinished. */
function wholeCharactersEnd(bytes: Uint8Array): number {
  for (let back = 1; back <= 3; back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0b1100_0000) === 0b1000_0000) continue;
    const characterBytes = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return characterBytes > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

// ECMA-48 "select graphic rendition": colours and the like.
// deno-lint-ignore no-control-regex -- control characters are what it looks for
const colourSequence = /\x1b\[[0-9;:]*m/g;

// C0 (tab excepted), DEL and C1; line separators; marks that reverse the direction of the text after them.
// deno-lint-ignore no-control-regex -- control characters are what it looks for
const unprintable = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

function decodePrintable(bytes: Uint8Array): string {
  const line = bytes.at(-1) === 0x0d ? bytes.subarray(0, -1) : bytes;
  return new TextDecoder("utf-8", { ignoreBOM: true })
    .decode(line)
    .replace(colourSequence, "")
    .replace(unprintable, pictureOf);
}

/** A picture from U+2400 on for C0 and DEL, the replacement character for the rest. */
function pictureOf(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : "\ufffd";
}
