/** Who plays in scenes: two or three linked nodes, and what they do in most of them. */
import assert from "node:assert/strict";
import type { Message } from "../../../src/routing/message.js";
import { type ClusterNode, type ClusterNodeOptions, startCluster } from "../cluster-node.js";
import type { FakeSubscriber } from "../fakes.js";
import type { World } from "../world/world.js";
import type { Actor } from "./stage.js";

export interface Cast {
  readonly world: World;
  readonly a: ClusterNode;
  readonly b: ClusterNode;
  readonly c: ClusterNode;
}

export async function three(world: World, options: ClusterNodeOptions = {}): Promise<Cast> {
  const [a, b, c] = await startCluster(world, 3, options);
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  return { world, a, b, c };
}

export async function two(
  world: World,
  options: ClusterNodeOptions = {},
): Promise<Omit<Cast, "c">> {
  const [a, b] = await startCluster(world, 2, options);
  assert.ok(a !== undefined && b !== undefined);
  return { world, a, b };
}

export const down = (world: World, at: ClusterNode, node: ClusterNode): Promise<void> =>
  world.until(() => at.state(node) === "down", 30_000, `${node.name} is down`);

export const accepted = (world: World, sent: readonly Message[]): Promise<void> =>
  world.until(() => sent.every(({ pending }) => pending === 0), 15_000, "all are accepted");

/** A member that is away (`online` false), or comes: of a session that outlives its connections. */
export function member(
  node: ClusterNode,
  clientId: string,
  online: boolean,
  key: string,
): FakeSubscriber {
  const subscriber = node.subscriber(clientId);
  const options = { qos: 2, noLocal: false, retainAsPublished: true, subscriptionId: 0 } as const;
  node.router.subscribe(subscriber, key, options, true, online);
  return subscriber;
}

/** The payloads `0` … `count - 1`. */
export const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);

/** What these got, in one list: each once, whoever got it. */
export function payloads(...subscribers: readonly FakeSubscriber[]): string[] {
  return subscribers.flatMap((one) => one.payloads).sort((x, y) => Number(x) - Number(y));
}

/** Publishes these with QoS 1 or 2 under new ids, and waits until all are answered. */
export async function publishAll(
  world: World,
  client: Actor,
  messages: readonly (readonly [topic: string, payload: string])[],
  qos: 1 | 2,
  retain = false,
): Promise<void> {
  const answered = (): number =>
    client.got.filter(({ cmd }) => cmd === "puback" || cmd === "pubcomp").length;
  const before = answered();
  for (const [i, [topic, payload]] of messages.entries()) {
    client.publish(topic, payload, qos, before + i + 1, retain);
  }
  const isDone = (): boolean => answered() >= before + messages.length;
  await world.until(isDone, 15_000, `all that ${client.clientId} published is answered`);
}
