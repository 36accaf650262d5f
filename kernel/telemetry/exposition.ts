/**
 * Metric families and their text: counters, gauges and histograms in the Prometheus exposition format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/).
 *
 * Ours and not `prom-client`, because that brings a package on which `deno compile` overflows its stack
 * (`docs/adr/0008`). Pure.
 *
 * @module
 */

export const expositionType = "text/plain; version=0.0.4; charset=utf-8";

interface FamilyOptions {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
}

type Kind = "counter" | "gauge" | "histogram";

/** A set of series of one name, told apart by the values of their labels. The caller bounds those. */
class Family<Series extends { samples(name: string, labels: string): string[] }> {
  readonly #series = new Map<string, Series>();

  constructor(
    private readonly kind: Kind,
    private readonly options: FamilyOptions,
    private readonly create: () => Series,
  ) {
    // A family without labels is shown from the start, at zero.
    if (options.labelNames === undefined) this.labels();
  }

  /** The series with these values, in the order of the names. */
  labels(...values: (string | number)[]): Series {
    const { labelNames = [] } = this.options;
    const key = labelNames.map((name, index) => `${name}="${escapeLabel(String(values[index] ?? ""))}"`).join(
      ",",
    );
    let series = this.#series.get(key);
    if (series === undefined) this.#series.set(key, series = this.create());
    return series;
  }

  render(): string {
    const { name, help } = this.options;
    const samples = [...this.#series].flatMap(([labels, series]) => series.samples(name, labels));
    return [`# HELP ${name} ${help}`, `# TYPE ${name} ${this.kind}`, ...samples, ""].join("\n");
  }
}

/** A number that only grows, or, as a gauge, is set. */
export class NumberSeries {
  #value = 0;

  inc(by = 1): void {
    this.#value += by;
  }

  set(value: number): void {
    this.#value = value;
  }

  samples(name: string, labels: string): string[] {
    return [sample(name, labels, this.#value)];
  }
}

/** Observations counted by upper bound. */
export class HistogramSeries {
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** `bounds` ascend. */
  constructor(private readonly bounds: readonly number[]) {
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#sum += value;
    this.#count++;
    const bucket = this.bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  samples(name: string, labels: string): string[] {
    const more = labels === "" ? "" : `,${labels}`;
    let total = 0;
    return [
      ...this.bounds.map((bound, index) => {
        total += this.#counts[index] ?? 0;
        return sample(`${name}_bucket`, `le="${bound}"${more}`, total);
      }),
      sample(`${name}_bucket`, `le="+Inf"${more}`, this.#count),
      sample(`${name}_sum`, labels, this.#sum),
      sample(`${name}_count`, labels, this.#count),
    ];
  }
}

/** The families of one process, in the order they were made. */
export class Exposition {
  readonly #families: { render(): string }[] = [];

  counter(options: FamilyOptions): Family<NumberSeries> {
    return this.#add(new Family("counter", options, () => new NumberSeries()));
  }

  gauge(options: FamilyOptions): Family<NumberSeries> {
    return this.#add(new Family("gauge", options, () => new NumberSeries()));
  }

  histogram(options: FamilyOptions & { buckets: readonly number[] }): Family<HistogramSeries> {
    return this.#add(new Family("histogram", options, () => new HistogramSeries(options.buckets)));
  }

  render(): string {
    return this.#families.map((family) => family.render()).join("");
  }

  #add<F extends { render(): string }>(family: F): F {
    this.#families.push(family);
    return family;
  }
}

function sample(name: string, labels: string, value: number): string {
  return labels === "" ? `${name} ${value}` : `${name}{${labels}} ${value}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}
