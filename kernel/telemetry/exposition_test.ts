import { equal } from "node:assert/strict";
import { Exposition } from "./exposition.ts";

Deno.test("Exposition renders counters, gauges and histograms in the text format", () => {
  const exposition = new Exposition();
  exposition.counter({ name: "c_total", help: "Counted.", labelNames: ["a", "b"] }).labels('q"\\\n', 2).inc(
    3,
  );
  exposition.gauge({ name: "g", help: "Set." }).labels().set(-1.5);
  const histogram = exposition.histogram({ name: "h", help: "Observed.", buckets: [1, 2] }).labels();
  for (const value of [0.5, 1, 1.5, 9]) histogram.observe(value);
  equal(
    exposition.render(),
    `# HELP c_total Counted.
# TYPE c_total counter
c_total{a="q\\"\\\\\\n",b="2"} 3
# HELP g Set.
# TYPE g gauge
g -1.5
# HELP h Observed.
# TYPE h histogram
h_bucket{le="1"} 2
h_bucket{le="2"} 3
h_bucket{le="+Inf"} 4
h_sum 12
h_count 4
`,
  );
});
