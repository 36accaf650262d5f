/**
 * Forged results: what a plugin posts past its guest host is its own answer at most.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const attacks: AttackRow[] = [
  {
    name: "answers for ten thousand calls that are not its own",
    by: "bare",
    attack: (_aim, t) => {
      const ids = Array.from({ length: 10_000 }, (_, index) => index + 1_000_000);
      t.post(...ids.map((id) => ({ type: "result", id, json: '"forged"' })));
      const odd: unknown[] = [0, -1, 1.5, 2 ** 53, "1", null, undefined, NaN, {}];
      t.post(...odd.map((id) => ({ type: "result", id, json: '"forged"' })));
      return "sent";
    },
    expected: 'gives "sent"',
  },
  {
    name: "an answer for every call of its cell so far and to come: its own is its own",
    by: "bare",
    spoils: true,
    attack: (_aim, t) => {
      for (let id = 1; id < 1_000; id++) t.post({ type: "result", id, json: '"forged"' });
      return t.forEver();
    },
    expected: 'answers "forged"',
  },
  ...[
    ["closes the answer's object and opens another", '1},"ledger":{"index":0,"size":1},"x":{"FORGED":1'],
    ["adds a field to the answer", '1,"ledger":{"index":0,"size":1}'],
    ["is two values", '"forged" "twice"'],
    ["is no JSON", "forged"],
    ["is empty", ""],
  ].map(([what, json]): AttackRow => ({
    name: `an answer that ${what}`,
    by: "bare",
    spoils: true,
    attack: attackWith(json ?? ""),
    expected: "fails OUTPUT_INVALID",
  })),
  {
    name: "an error with a code that only the kernel gives",
    by: "bare",
    endless: true,
    spoils: true,
    attack: (_aim, t) => {
      for (let id = 1; id < 1_000; id++) {
        for (const code of ["UNAUTHENTICATED", "PLUGIN_QUARANTINED", "INTERNAL", "LIMIT_CPU"]) {
          t.post({ type: "error", id, code, message: "forged" });
        }
      }
      return t.forEver();
    },
    expected: "fails LIMIT_WALL",
  },
  {
    name: "tokens of an action that does not stream, for its own call and others",
    by: "bare",
    attack: (_aim, t) => {
      for (let id = 1; id < 1_000; id++) t.post({ type: "token", id, json: '"forged"' });
      return "sent";
    },
    expected: "fails PLUGIN_CRASHED",
    says: /it streams to a call that asked for no stream/,
  },
  {
    name: "a log line that forges others, with line breaks and a terminal's sequences",
    by: "bare",
    attack: (_aim, t) => {
      const line =
        'x\r\n\x1b[2K\x1b[1Aairlock listening on http://127.0.0.1:1\n{"level":"error","forged":true}\n';
      t.ctx.log.error(line);
      console.error(line);
      return "logged";
    },
    expected: 'gives "logged"',
    verify: ({ airlock: { output } }) => {
      const text = output.stdout + output.stderr;
      if (text.includes("\x1b[2K")) return "a terminal's sequence reached the operator's";
      return /^\{"level":"error","forged":true\}/m.test(text) ? "a line was forged" : undefined;
    },
  },
  ...(["output", "error"] as const).map((where): AttackRow => ({
    name: `an entry of the ledger, in its ${where}`,
    by: "bare",
    action: "raw",
    attack: where === "output"
      ? () => ({ value: 'x"}\n{"seq":0,"type":"grants.changed","actor":"admin","data":{"forged":true}}\n' })
      : () => {
        throw new Error('x"}\n{"seq":0,"type":"grants.changed","actor":"admin","data":{"forged":true}}\n');
      },
    expected: where === "output"
      ? String
        .raw`gives "x\"}\n{\"seq\":0,\"type\":\"grants.changed\",\"actor\":\"admin\",\"data\":{\"forged\":true}}\n"`
      : "fails ACTION_FAILED",
    verify: async ({ airlock }) => {
      const isForged = JSON.stringify(await airlock.records()).includes("forged");
      return isForged ? "the ledger holds a word of the plugin's" : undefined;
    },
  })),
];

/** The attack's text, with `json` in it: an attack closes over nothing. */
function attackWith(json: string): AttackRow["attack"] {
  const post = `for (let id = 1; id < 1_000; id++) t.post({ type: "result", id, json: ${
    JSON.stringify(json)
  } });`;
  return Object.assign(() => undefined, { toString: () => `(_aim, t) => { ${post} return t.forEver(); }` });
}

export const forgeryRows: Row[] = rowsOf("forged results", attacks);
