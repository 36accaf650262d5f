/**
 * A forger: it answers past its guest host, with messages that it writes to the cell by itself.
 *
 * @module
 */

const worker = globalThis as unknown as { postMessage(message: unknown): void };
const forEver = () => new Promise<never>(() => {});

/** The kernel numbers the calls of a cell from 1, and so does this. */
let calls = 0;
let waiting = 0;

function send(...messages: unknown[]): void {
  worker.postMessage(messages);
}

/** Posts each of `jsons` as a token of this call, then ends it. */
function stream({ jsons, end = "null" }: { jsons: string[]; end?: string }) {
  const id = ++calls;
  for (const json of jsons) send({ type: "token", id, json });
  send({ type: "result", id, json: end });
  return forEver();
}

export const actions = {
  run: () => (calls++, "fine"),

  /** Answers with a text in place of a value. */
  result({ json }: { json: string }) {
    send({ type: "result", id: ++calls, json });
    return forEver();
  },
  /** The same, under an output schema. */
  number({ json }: { json: string }) {
    send({ type: "result", id: ++calls, json });
    return forEver();
  },
  stream,
  unstreamed: stream,
  /** Answers for calls that are not its own, or not at all; then for itself, again and again. */
  elsewhere() {
    const id = ++calls;
    for (let other = 1; other <= 10_000; other++) {
      if (other !== id) send({ type: "result", id: other, json: '"FORGED"' });
    }
    for (const other of [0, -1, 1.5, 2 ** 53, "1", null, undefined, NaN, { id }]) {
      send({ type: "result", id: other, json: '"FORGED"' }, { type: "token", id: other, json: '"FORGED"' });
    }
    for (let again = 0; again < 10_000; again++) send({ type: "result", id, json: `${again}` });
    return forEver();
  },
  /** Ends when {@linkcode steal} answers for it. */
  wait() {
    waiting = ++calls;
    return forEver();
  },
  async steal({ json }: { json: string }) {
    const id = ++calls;
    // For `wait`, whose call may come after this one; the call's deadline ends it.
    while (waiting === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    send({ type: "result", id: waiting, json }, { type: "result", id, json: '"stolen"' });
    waiting = 0;
    return forEver();
  },
  /** Sends `message` with the id of this call, then ends it. */
  message({ message }: { message: Record<string, unknown> }) {
    const id = ++calls;
    send({ id, ...message });
    send({ type: "result", id, json: '"sent"' });
    return forEver();
  },
  /** Sends `message` as it is, and never ends. */
  only({ message }: { message: Record<string, unknown> }) {
    calls++;
    send(message);
    return forEver();
  },
  yields: function* ({ tokens }: { tokens: unknown[] }) {
    calls++;
    yield* tokens;
  },
  returns: ({ value }: { value: unknown }) => (calls++, value),
  chars: ({ chars }: { chars: number }) => (calls++, "x".repeat(chars)),
  *yieldsChars({ chars }: { chars: number }) {
    calls++;
    yield "x".repeat(chars);
  },
  streamChars: ({ chars, count }: { chars: number; count: number }) =>
    stream({ jsons: Array.from({ length: count }, () => JSON.stringify("x".repeat(chars))) }),
};
