/**
 * Runs every test and ends with the line `N passed, N failed` (`, N skipped` where there were some).
 *
 *     deno task test [paths…]
 *
 * Files run side by side, as many as `DENO_JOBS` says, one for each core if it says nothing: tests that
 * start a real Airlock mostly wait. What the runner prints passes through as it comes.
 *
 * @module
 */

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** The summary is the last line that the runner prints; a few lines of a crash may follow it. */
const tailLength = 4_096;

const child = new Deno.Command(Deno.execPath(), {
  args: ["test", "-A", "--quiet", "--no-check", "--cached-only", "--parallel", ...Deno.args],
  cwd: new URL("..", import.meta.url),
  stdin: "null",
  stdout: "piped",
  stderr: "inherit",
}).spawn();

let tail = "";
const decoder = new TextDecoder();
for await (const chunk of child.stdout) {
  await writeAll(chunk);
  tail = (tail + decoder.decode(chunk, { stream: true })).slice(-tailLength);
}
const { code } = await child.status;
const counted = parseSummary(tail);
// A runner that fails without a failed test, or without a summary, is a failure of its own.
const failed = Math.max(counted?.failed ?? 0, code === 0 && counted !== undefined ? 0 : 1);
const { passed, skipped } = counted ?? { passed: 0, skipped: 0 };
if (tail !== "" && !tail.endsWith("\n")) console.log();
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
Deno.exit(failed > 0 || passed === 0 ? 1 : 0);

function parseSummary(text: string): Counts | undefined {
  // deno-lint-ignore no-control-regex -- colours
  const plain = text.replaceAll(/\x1b\[[0-9;]*m/g, "");
  const summaries = [
    ...plain.matchAll(
      /^(?:ok|FAILED) \| (\d+) passed\b[^|\n]*\| (\d+) failed\b[^|\n]*(?:\| (\d+) ignored)?/gm,
    ),
  ];
  const [, passed, failed, ignored = "0"] = summaries.at(-1) ?? [];
  if (passed === undefined) return undefined;
  return { passed: Number(passed), failed: Number(failed), skipped: Number(ignored) };
}

async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
}
