/**
 * Counters and gauges by name, as `ctl metrics` shows them, in the text format of Prometheus. `net.bytes_in` becomes
 * `trellis_net_bytes_in_total`; what varies in a name (a peer, a reason) becomes a label.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { metricHelp } from "./metric-help.js";

/** One value of a metric, taken apart. */
export interface Sample {
  /** As in the table of explanations. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Counters that are kept by reason. */
const byReason = [
  "net.closed_by",
  "auth.refused_token",
  "auth.refused_exchange",
  "auth.refused_again",
  "auth.http.failed",
];

/** Takes the peer or the reason out of a name. */
export function sampleOf(key: string, value: number): Sample {
  // The names of peers have dots: the counter is what is behind the last.
  const peer = /^peer\.(.+)\.([a-z0-9_]+)$/.exec(key);
  if (peer !== null) return { name: `peer.${peer[2]}`, labels: { peer: peer[1] ?? "" }, value };
  const family = byReason.find((prefix) => key.startsWith(`${prefix}.`));
  if (family === undefined) return { name: key, labels: {}, value };
  return { name: family, labels: { reason: key.slice(family.length + 1) }, value };
}

/** The text that a scrape gets. Every sample carries the label `node`. */
export async function prometheusText(
  values: Readonly<Record<string, number>>,
  node: string,
): Promise<string> {
  const registry = new Registry();
  registry.setDefaultLabels({ node });
  const families = new Map<string, Sample[]>();
  for (const [key, value] of Object.entries(values)) {
    const sample = sampleOf(key, value);
    const family = families.get(sample.name);
    if (family === undefined) families.set(sample.name, [sample]);
    else family.push(sample);
  }
  for (const [name, samples] of families) addFamily(registry, name, samples);
  return registry.metrics();
}

/** The content type of that text. */
export const prometheusType = Registry.PROMETHEUS_CONTENT_TYPE;

function addFamily(registry: Registry, name: string, samples: readonly Sample[]): void {
  const { kind, help } = metricHelp(name) ?? { kind: "gauge", help: `${name} of this node` };
  const plain = `trellis_${name.replace(/[^a-z0-9]+/g, "_")}`;
  const labelNames = Object.keys(samples[0]?.labels ?? {});
  const options = { help, labelNames, registers: [registry] };
  if (kind === "gauge") {
    const gauge = new Gauge({ ...options, name: plain });
    for (const { labels, value } of samples) gauge.set({ ...labels }, value);
    return;
  }
  const counter = new Counter({ ...options, name: `${plain}_total` });
  for (const { labels, value } of samples) counter.inc({ ...labels }, value);
}
