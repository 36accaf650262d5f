/**
 * Runs every test and ends with the line `N passed, N failed` (`, N skipped` where there were some).
 *
 *     deno task test [paths…]
 *
 * @module
 */

interface Counts {
  passed: number;
  failed: number;
  ignored: number;
}

const root = new URL("..", import.meta.url);

const child = new Deno.Command(Deno.execPath(), {
  args: ["test", "-A", "--quiet", "--no-check", "--cached-only", ...Deno.args],
  cwd: root,
  stdin: "null",
  stdout: "piped",
  stderr: "inherit",
}).spawn();

let summary: Counts | undefined;
let pending = "";
const decoder = new TextDecoder();
for await (const chunk of child.stdout) {
  await Deno.stdout.write(chunk);
  pending = (pending + decoder.decode(chunk, { stream: true })).slice(-4_096);
}
// deno-lint-ignore no-control-regex -- colours
const plain = pending.replaceAll(/\x1b\[[0-9;]*m/g, "");
const match = /(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed(?: \([^)]*\))?(?: \| (\d+) ignored)?/.exec(plain);
if (match !== null) summary = { passed: Number(match[1]), failed: Number(match[2]), ignored: Number(match[3] ?? 0) };

const { code } = await child.status;
const { passed, failed, ignored } = summary ?? { passed: 0, failed: 1, ignored: 0 };
console.log(`${passed} passed, ${failed} failed${ignored > 0 ? `, ${ignored} skipped` : ""}`);
Deno.exit(code !== 0 || failed > 0 || passed === 0 ? 1 : 0);
