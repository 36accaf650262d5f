import assert from "node:assert/strict";
import fc from "fast-check";
import { serverMessageSchema } from "../../../schemas/ws_protocol.ts";
import { resultOf } from "../testing_kernel.ts";
import { errorText, eventPayload, invokedPayload, messageText } from "./server_messages.ts";

const id = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 64,
});

Deno.test("messageText() is a message whatever its id, output, token and event are", () => {
  fc.assert(fc.property(id, fc.json(), fc.string(), (id, json, message) => {
    const value = JSON.parse(json);
    const parse = (text: string) => serverMessageSchema.parse(JSON.parse(text));
    assert.deepEqual(parse(messageText("TOKEN", id, json)), { type: "TOKEN", id, payload: value });
    const result = parse(messageText("RESULT", id, invokedPayload(resultOf(json))));
    assert.ok(result.type === "RESULT" && result.payload.kind === "invoked");
    assert.deepEqual([result.id, result.payload.output], [id, value]);
    for (const owner of ["job", "feed"] as const) {
      const event = parse(
        messageText("EVENT", id, eventPayload({ id: "7", type: "JOB_STARTED", json }, owner)),
      );
      assert.deepEqual(event.payload, { event: "JOB_STARTED", seq: owner === "job" ? 7 : "7", data: value });
    }
    assert.deepEqual(parse(errorText(null, { code: "INVALID_MESSAGE", message })).payload, {
      code: "INVALID_MESSAGE",
      message,
    });
  }));
});

Deno.test("invokedPayload() throws where the output is not UTF-8", () => {
  assert.throws(
    () => invokedPayload({ ...resultOf("1"), output: Uint8Array.of(0x22, 0xff, 0x22) }),
    TypeError,
  );
});
