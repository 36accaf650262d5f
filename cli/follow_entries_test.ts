import { deepEqual, equal, rejects } from "node:assert/strict";
import type { LedgerEntry } from "../schemas/api.ts";
import type { Page } from "./entry_client.ts";
import { KernelAwayError } from "./kernel_client.ts";
import { followEntries } from "./follow_entries.ts";
import { UnreadableError } from "./unreadable_error.ts";

const entry = (index: number): LedgerEntry => ({ index, leafHash: "0".repeat(64), line: `line ${index}` });

/** A kernel whose log grows at each pause, and that is away for some of the questions. */
class FakeKernel {
  size = 0;
  /** How many more questions find nobody. */
  awayFor = 0;
  readonly asked: number[] = [];
  readonly reports: string[] = [];
  readonly stopping = new AbortController();

  /** `sizes`: of the log after each pause; then it is stopped. */
  constructor(
    readonly sizes: readonly number[],
    readonly pageMax: number,
    readonly isWanted = (_: number) => true,
  ) {}

  follow(isEndless: boolean, after = -1) {
    const sizes = this.sizes.values();
    return followEntries({
      client: {
        size: () => this.#answer(() => this.size),
        page: (from) => this.#answer(() => this.#page(from)),
      },
      after,
      isEndless,
      signal: this.stopping.signal,
      report: (message) => {
        this.reports.push(message);
        return Promise.resolve();
      },
      pause: () => {
        const { done, value } = sizes.next();
        if (done) this.stopping.abort();
        else if (value < 0) this.awayFor = -value;
        else this.size = value;
        return Promise.resolve();
      },
    });
  }

  #answer<T>(give: () => T): Promise<T> {
    if (this.awayFor === 0) return Promise.resolve(give());
    this.awayFor -= 1;
    return Promise.reject(new KernelAwayError("nobody"));
  }

  /** As the kernel pages: it looks at `pageMax` entries. */
  #page(after: number): Page {
    this.asked.push(after);
    const end = Math.min(this.size, after + 1 + this.pageMax);
    const items = Array.from({ length: end - after - 1 }, (_, at) => entry(after + 1 + at));
    return {
      items: items.filter(({ index }) => this.isWanted(index)),
      next: end < this.size ? end - 1 : undefined,
    };
  }
}

async function indexes(entries: AsyncIterable<LedgerEntry>): Promise<number[]> {
  return (await Array.fromAsync(entries)).map(({ index }) => index);
}
const upTo = (size: number) => Array.from({ length: size }, (_, index) => index);

Deno.test("followEntries() gives each entry once, in order, over pages that hold few of them or none", async () => {
  const kernel = new FakeKernel([], 10, (index) => index % 25 === 0);
  kernel.size = 101;
  deepEqual(await indexes(kernel.follow(false)), [0, 25, 50, 75, 100]);
  deepEqual(await indexes(kernel.follow(false, 25)), [50, 75, 100]);
  deepEqual(await indexes(kernel.follow(false, 1_000)), []);
});

Deno.test("followEntries() loses and repeats nothing while the kernel is away again and again", async () => {
  const kernel = new FakeKernel([3, -2, 3, 7, 7, -1, 30, 31], 4);
  deepEqual(await indexes(kernel.follow(true)), upTo(31));
  deepEqual(kernel.reports, [
    "nobody (trying again)",
    "The kernel is back",
    "nobody (trying again)",
    "The kernel is back",
  ]);
});

Deno.test("followEntries() asks for a page only when there is something new", async () => {
  const kernel = new FakeKernel([5, 5, 5, 6, 6], 100, () => false);
  deepEqual(await indexes(kernel.follow(true)), []);
  deepEqual(kernel.asked, [-1, 4]);
});

Deno.test("followEntries() fails when the first question finds nobody, and when it is not to go on", async () => {
  for (const isEndless of [true, false]) {
    const kernel = new FakeKernel([1], 10);
    kernel.awayFor = 1;
    await rejects(indexes(kernel.follow(isEndless)), KernelAwayError);
  }
});

Deno.test("followEntries() says that a log has become shorter", async () => {
  const kernel = new FakeKernel([9, 8], 10);
  await rejects(
    indexes(kernel.follow(true)),
    (error) => error instanceof UnreadableError && /has 8 entries, and had 9 before/.test(error.message),
  );
});

Deno.test("followEntries() ends when it is stopped while the kernel is away", async () => {
  const kernel = new FakeKernel([2, -100], 10);
  deepEqual(await indexes(kernel.follow(true)), upTo(2));
  equal(kernel.reports.length, 1);
});
