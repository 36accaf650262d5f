/**
 * The output of a command: text for whoever ran it on stdout, all that is about the run on stderr.
 *
 * Invariants:
 * - `print` and `warn` let nothing reach a terminal that it would obey; `printRaw` does so where stdout is one,
 *   and elsewhere leaves every byte as it is, for those who hash it;
 * - a reader who has gone (`| head`) is no failure: `closed` tells, and what follows is dropped.
 *
 * @module
 */
import { toPrintable } from "./printable.ts";

export interface Output {
  /** Some lines; each is made printable. */
  print(...lines: readonly string[]): Promise<void>;
  /** A line of data. */
  printRaw(line: string): Promise<void>;
  /** Some lines on stderr; each is made printable. */
  warn(...lines: readonly string[]): Promise<void>;
  /** Text on stderr as it is, without a newline; only where `isDrawable`. */
  draw(text: string): Promise<void>;
  /** Stderr is a terminal. */
  readonly isDrawable: boolean;
  /** Nobody reads stdout any more. */
  readonly closed: AbortSignal;
}

interface Stream {
  write(bytes: Uint8Array): Promise<number>;
  isTerminal(): boolean;
}

export function createOutput(stdout: Stream = Deno.stdout, stderr: Stream = Deno.stderr): Output {
  const closing = new AbortController();

  async function write(stream: Stream, text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    try {
      for (let at = 0; at < bytes.length;) at += await stream.write(bytes.subarray(at));
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      if (stream === stdout) closing.abort();
    }
  }
  const printable = (lines: readonly string[]) => lines.map((line) => `${toPrintable(line)}\n`).join("");

  return {
    print: (...lines) => write(stdout, printable(lines)),
    printRaw: (line) => write(stdout, `${stdout.isTerminal() ? toPrintable(line) : line}\n`),
    warn: (...lines) => write(stderr, printable(lines)),
    draw: (text) => write(stderr, text),
    isDrawable: stderr.isTerminal(),
    closed: closing.signal,
  };
}
