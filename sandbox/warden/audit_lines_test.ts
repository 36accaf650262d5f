import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { resourceCharsMax } from "../../schemas/audit.ts";
import { auditKey, auditLineCharsMax, AuditLines, clipResource, parseAuditKey } from "./audit_lines.ts";

/** As serde_json writes it. */
function lineOf(permission: string, value: string | null): string {
  return JSON.stringify({ v: 1, datetime: "2026-11-21T13:24:23Z", permission, value });
}

function parse(text: string, isCut = false) {
  const key = auditKey(text);
  return key === undefined ? undefined : parseAuditKey(key, isCut);
}

Deno.test("parseAuditKey() gives the check of each line that Deno writes", () => {
  deepEqual(parse(lineOf("read", "/etc/passwd")), { permission: "read", resource: "/etc/passwd" });
  deepEqual(parse(lineOf("env", null)), { permission: "env", resource: null });
  const odd = '/a\n\t"\\u0041\\"é\u0000 \u2028';
  deepEqual(parse(lineOf("write", odd)), { permission: "write", resource: odd });
});

Deno.test("parseAuditKey() takes nothing that Deno would not have written", () => {
  for (
    const text of [
      "",
      "{}",
      "read /etc/passwd",
      lineOf("everything", "/etc/passwd"),
      lineOf("read", "/etc").slice(0, -1),
      lineOf("read", "/etc").slice(0, -2),
      `${lineOf("read", "/etc")} `,
      `${lineOf("read", null)}}`,
      '{"v":1,"datetime":"2026","permission":"read","value":7}',
      '{"v":1,"datetime":"2026","permission":"read","value":"\\x"}',
      '{"v":1,"datetime":"2026","permission":"read","value":"\\u12"}',
      '{"v":1,"datetime":"2026","permission":"read","value":"a","value":"b"}',
      '{"v":1,"datetime":"2026","permission":"read"}',
      lineOf("read", "/etc").replace('"v":1', '"v":2'),
    ]
  ) equal(parse(text), undefined, text);
});

Deno.test("AuditLines gives each line once, however the pieces are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "binary", maxLength: 40 }), { maxLength: 20 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 97 })),
      (values, sizes) => {
        const text = values.map((value) => `${lineOf("read", value.toWellFormed())}\n`).join("");
        const lines = new AuditLines();
        const read: unknown[] = [];
        for (let at = 0; at < text.length;) {
          const size = sizes.next().value;
          lines.push(text.slice(at, at + size));
          at += size;
          for (let line = lines.next(); line !== undefined; line = lines.next()) {
            read.push(parse(line.text, line.isCut)?.resource);
          }
        }
        deepEqual(read, values.map((value) => value.toWellFormed()));
      },
    ),
  );
});

Deno.test("AuditLines cuts a line that is too long, wherever in an escape, and reads the next one", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", '"', "\\", "\u0001", "u", "é", "😀"), minLength: 40 }),
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 1, max: 5_000 }),
      (unit, shift, size) => {
        const value = "x".repeat(shift) + unit.repeat(Math.ceil(2 * auditLineCharsMax / unit.length));
        const text = `${lineOf("read", value)}\n${lineOf("net", "a:1")}\n`;
        const lines = new AuditLines();
        const read: ReturnType<typeof parse>[] = [];
        for (let at = 0; at < text.length; at += size) {
          lines.push(text.slice(at, at + size));
          for (let line = lines.next(); line !== undefined; line = lines.next()) {
            ok(line.text.length <= auditLineCharsMax);
            read.push(parse(line.text, line.isCut));
          }
        }
        const [long, next] = read;
        const cut = long?.resource?.toWellFormed() ?? "";
        ok(cut.length > auditLineCharsMax / 8 && value.startsWith(cut.replace(/\ufffd$/, "")));
        const clipped = clipResource(cut);
        ok(clipped.length <= resourceCharsMax && clipped.endsWith("…"));
        ok(value.startsWith(clipped.replace(/\ufffd?…$/, "")));
        deepEqual([next, read.length], [{ permission: "net", resource: "a:1" }, 2]);
      },
    ),
  );
});

// Who writes the start of a long line into the pipe would have Deno's next line passed over as the rest of it.
Deno.test("AuditLines believes no line in which another one begins", () => {
  for (const size of [1, 7, 19, 20, 16_384]) {
    const forged = `${lineOf("read", "/ok").slice(0, -2)}${"x".repeat(auditLineCharsMax)}`;
    const text = `${forged}${lineOf("read", "/etc/shadow")}\n${lineOf("net", "a:1")}\n`;
    const lines = new AuditLines();
    const read: ReturnType<typeof parse>[] = [];
    for (let at = 0; at < text.length; at += size) {
      lines.push(text.slice(at, at + size));
      for (let line = lines.next(); line !== undefined; line = lines.next()) {
        read.push(parse(line.text, line.isCut));
      }
    }
    deepEqual(read, [undefined, { permission: "net", resource: "a:1" }], `pieces of ${size}`);
  }
});
