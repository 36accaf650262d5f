/**
 * What a process uses, read in `/proc` from outside, and how that goes over time. Linux only.
 *
 * @module
 */
import { median, rounded } from "./statistics.ts";

/** Linux counts CPU time in hundredths of a second, whatever the machine. */
const tickMs = 10;
const minuteMs = 60_000;

export interface ProcessUse {
  readonly rssMb: number;
  /** Of all threads, since it began. */
  readonly cpuMs: number;
}

export function readUse(pid: number): ProcessUse {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1];
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { rssMb: Number(kilobytes) / 1_024, cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs };
}

/** Samples of stretches of time that are put together as if nothing lay between them. */
export class UseSeries {
  readonly #samples: { readonly atMs: number; readonly rssMb: number }[] = [];
  #ms = 0;
  #cpuMs = 0;

  /** `atMs`: since the beginning of the stretch. */
  add(atMs: number, rssMb: number): void {
    this.#samples.push({ atMs: this.#ms + atMs, rssMb });
  }

  end(ms: number, cpuMs: number): void {
    this.#ms += ms;
    this.#cpuMs += cpuMs;
  }

  /** Median of each minute. */
  minutes(): number[] {
    const minutes = Map.groupBy(this.#samples, ({ atMs }) => Math.floor(atMs / minuteMs));
    return [...minutes.values()].map((samples) => Math.round(median(samples.map(({ rssMb }) => rssMb))));
  }

  /** `fromMs`: growth before that does not count; `null` where all was before it. */
  summary(fromMs: number) {
    const rss = (samples: readonly { rssMb: number }[]) => samples.map(({ rssMb }) => rssMb);
    const from = (ms: number) => this.#samples.filter(({ atMs }) => atMs >= ms);
    return {
      firstMb: rounded(median(rss(this.#samples.filter(({ atMs }) => atMs < minuteMs)))),
      lastMb: rounded(median(rss(from(this.#ms - minuteMs)))),
      mostMb: rounded(Math.max(...rss(this.#samples))),
      growthMbPerMinute: slopePerMinute(from(fromMs)),
      cores: rounded(this.#cpuMs / this.#ms, 3),
    };
  }
}

/** By least squares. */
function slopePerMinute(samples: readonly { atMs: number; rssMb: number }[]): number | null {
  if (samples.length < 2) return null;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(samples.map(({ atMs }) => atMs)), mean(samples.map(({ rssMb }) => rssMb))];
  let [covariance, variance] = [0, 0];
  for (const { atMs, rssMb } of samples) {
    covariance += (atMs - x) * (rssMb - y);
    variance += (atMs - x) ** 2;
  }
  return rounded(covariance / variance * minuteMs, 3);
}
