/**
 * An event source reads the text of server-sent events as the standard says, and remembers comments too.
 *
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 *
 * Only `*_test.ts` files import this.
 *
 * @module
 */

export interface ReceivedEvent {
  readonly id: string;
  readonly type: string;
  readonly data: string;
}

export class TestingEventSource {
  readonly events: ReceivedEvent[] = [];
  readonly comments: string[] = [];
  /** What is sent as `Last-Event-ID` to go on. */
  lastId = "";
  #rest = "";
  #type = "";
  #data: string[] = [];
  #id = "";

  /** Any of CR LF, CR and LF ends a line, an empty line ends an event. */
  push(text: string): void {
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line === "") return this.#dispatch();
    const [, field = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "") this.comments.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id") this.#id = value;
  }

  #dispatch(): void {
    this.lastId = this.#id;
    if (this.#data.length > 0) {
      this.events.push({ id: this.#id, type: this.#type, data: this.#data.join("\n") });
    }
    this.#type = "";
    this.#data = [];
  }
}

/** Reads a whole body. */
export async function readEvents(response: Response): Promise<TestingEventSource> {
  const source = new TestingEventSource();
  source.push(await response.text());
  return source;
}
