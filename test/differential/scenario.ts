/**
 * One random MQTT 3.1.1 scenario, made from a seed: a list of steps that can be played against any
 * broker, so that two brokers can be compared step by step.
 */
import { seededRandom } from "../../src/lib/random.js";

export type Step =
  | {
      readonly kind: "connect";
      readonly client: string;
      readonly clean: boolean;
      readonly will: Will | null;
    }
  | { readonly kind: "disconnect" | "drop"; readonly client: string }
  | {
      readonly kind: "subscribe";
      readonly client: string;
      readonly filter: string;
      readonly qos: 0 | 1 | 2;
    }
  | { readonly kind: "unsubscribe"; readonly client: string; readonly filter: string }
  | ({ readonly kind: "publish"; readonly client: string } & Will);

export interface Will {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
}

const clients = ["c1", "c2", "c3", "c4"];
const levels = ["a", "b", "c"];

/** The steps of a seed. A client only does what it can do in the state that the steps before left it in. */
export function scenario(seed: number, length: number): Step[] {
  const random = seededRandom(seed * 2_654_435_761);
  const below = (limit: number): number => Math.floor(random.fraction() * limit);
  const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T; // never empty
  const qos = (): 0 | 1 | 2 => pick([0, 1, 2] as const);
  const connected = new Set<string>();
  const steps: Step[] = [];
  let serial = 0;
  const topic = (): string => Array.from({ length: 1 + below(3) }, () => pick(levels)).join("/");
  const filter = (): string => {
    const parts = Array.from({ length: 1 + below(3) }, () => pick([...levels, "+"]));
    if (below(4) === 0) parts.push("#");
    return parts.join("/");
  };
  const message = (): Will => {
    const retain = below(4) === 0;
    return {
      topic: topic(),
      // An empty retained message deletes the one there was.
      payload: below(12) === 0 ? "" : `m${++serial}`,
      qos: retain ? 0 : qos(),
      retain,
    };
  };
  while (steps.length < length) {
    const client = pick(clients);
    if (!connected.has(client)) {
      const will = below(3) === 0 ? { ...message(), payload: `will${++serial}` } : null;
      steps.push({ kind: "connect", client, clean: below(2) === 0, will });
      connected.add(client);
      continue;
    }
    const chance = below(20);
    if (chance < 2) {
      steps.push({ kind: chance === 0 ? "disconnect" : "drop", client });
      connected.delete(client);
    } else if (chance < 7) steps.push({ kind: "subscribe", client, filter: filter(), qos: qos() });
    else if (chance < 9) steps.push({ kind: "unsubscribe", client, filter: filter() });
    else steps.push({ kind: "publish", client, ...message() });
  }
  return steps;
}
