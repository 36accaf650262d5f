import { deepEqual, equal, throws } from "node:assert/strict";
import { parseCommandLine, parseCount, UsageError } from "./command_line.ts";

const flags = { json: "switch", anchor: "value", key: "values" } as const;
const parse = (...args: string[]) => parseCommandLine("do", args, flags, 1);

Deno.test("parseCommandLine() reads words, switches and values in any order", () => {
  const line = parse("--key", "a", "-", "--json", "--key=b", "--anchor=--x");
  deepEqual(line.words, ["-"]);
  deepEqual(line.values("key"), ["a", "b"]);
  deepEqual([line.has("json"), line.value("anchor"), parse().value("anchor")], [true, "--x", undefined]);
  deepEqual(parse("--", "--json").words, ["--json"]);
});

Deno.test("parseCommandLine() refuses what the command has not, and names what it has", () => {
  const rows: readonly [args: string[], message: RegExp][] = [
    [["--kye", "x"], /no flag --kye, did you mean --key\? \(its flags: --json, --anchor, --key\)/],
    [["--constructor"], /no flag --constructor/],
    [["-j"], /no flag -j/],
    [["-json"], /no flag -j/],
    [["--json=yes"], /--json takes no value/],
    [["--key"], /--key needs a value/],
    [["--key="], /--key needs a value/],
    [["--key", "--json"], /--key needs a value/],
    [["--anchor", "a", "--anchor", "b"], /--anchor is given twice/],
    [["a", "b"], /"b" is one word too many/],
  ];
  for (const [args, message] of rows) {
    throws(() => parse(...args), (error) => error instanceof UsageError && message.test(error.message));
  }
});

Deno.test("parseCount() takes whole numbers in their one spelling", () => {
  equal(parseCount("limit", "10", 1), 10);
  for (const text of ["", "0", "-1", "1.5", "01", "1e3", "99999999999999999", " 1"]) {
    throws(() => parseCount("limit", text, 1), UsageError);
  }
});
