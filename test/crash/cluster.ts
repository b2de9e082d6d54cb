/**
 * Kills nodes of a cluster at random moments under load, starts them again and holds what clients of all nodes were
 * told against what they get: nothing acknowledged is lost, QoS 2 comes exactly once, order is kept, whichever of
 * the nodes died: the publisher's, the session's or the connection's. Nodes that stay keep serving meanwhile.
 */
import type { TestNode } from "../support/nodes.js";
import { until } from "../support/nodes.js";
import { type CrashClient, Publisher, Subscriber } from "./client.js";
import type { Chance } from "./crash.js";

const faultsShown = 40;
const settleDeadlineMs = 90_000;
/** What is lost and what is late are two things. */
const lateMs = 2000;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The clients of one node; their sessions are there. */
interface Place {
  readonly node: TestNode;
  readonly publishers: readonly Publisher[];
  readonly online: Subscriber;
  /** Comes only when all is published: what it gets has waited for it. */
  readonly offline: Subscriber;
  readonly flipping: Subscriber;
  /** Their sessions are here, their connections at the next node: order holds while a publisher stays with one. */
  readonly remotePublishers: readonly Publisher[];
  /** Its session is here, its connection at any node. */
  readonly roaming: Subscriber;
  isDown: boolean;
}

export class ClusterCrashTrial {
  kills = 0;
  private readonly places: readonly Place[];

  constructor(
    private readonly nodes: readonly TestNode[],
    private readonly chance: Chance,
  ) {
    this.places = nodes.map((node, i) => placeOf(node, i + 1));
  }

  /** Messages that were acknowledged so far. */
  get acknowledged(): number {
    return this.publishers().reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  }

  /** The first connections and all subscriptions. */
  async begin(): Promise<void> {
    for (const { node, online, offline, flipping } of this.places) {
      for (const subscriber of [online, offline, flipping]) {
        await subscriber.connect(node.mqttPort);
        await subscriber.subscribe("crash/#");
      }
      offline.disconnect();
    }
    for (const place of this.places) {
      await place.roaming.connect(place.node.mqttPort);
      await place.roaming.subscribe("crash/#");
      for (const client of remotesOf(place)) {
        if (client !== place.roaming) await client.connect(place.node.mqttPort);
        await client.leave();
        await client.connect(this.anotherNode(place).mqttPort);
      }
    }
  }

  /** The one whose connections are where the sessions of `place` are not. */
  private anotherNode(place: Place): TestNode {
    const next = this.places[(this.places.indexOf(place) + 1) % this.places.length];
    return (next ?? place).node;
  }

  /** Load, one or two nodes killed and started again, everybody back; rejects with what was wrong. */
  async play(): Promise<void> {
    for (const place of this.places) {
      await this.publish(place);
      await this.publishRemotely(place);
    }
    await this.flipFor(20 + this.chance() * 700);
    const [first, second] = this.victims();
    await this.kill(first);
    // The others go on: what is due to it waits with them.
    await this.flipFor(this.chance() * 600);
    if (second !== undefined) {
      await this.kill(second);
      await this.flipFor(this.chance() * 400);
    }
    await Promise.all([first, second].map((place) => place && this.restart(place)));
    // Load while what has waited is on its way.
    await this.flipFor(this.chance() * 300);
    await this.settle();
    await this.complain();
  }

  /** One node, and at times another one before the first is back. */
  private victims(): [Place, Place | undefined] {
    const first = Math.floor(this.chance() * this.places.length);
    const step = 1 + Math.floor(this.chance() * (this.places.length - 1));
    const second =
      this.chance() < 0.3 ? this.places[(first + step) % this.places.length] : undefined;
    const place = this.places[first];
    if (place === undefined) throw new Error("no nodes");
    return [place, second === place ? undefined : second];
  }

  private async kill(place: Place): Promise<void> {
    await place.node.kill();
    this.kills++;
    place.isDown = true;
    for (const client of clientsOf(place)) client.disconnect(false);
  }

  private async restart(place: Place): Promise<void> {
    const { node, chance } = { node: place.node, chance: this.chance() };
    // Sometimes it dies once more while it starts.
    if (chance < 0.2) {
      const started = node.start().catch(() => undefined);
      await pause(chance * 5000);
      await node.kill();
      this.kills++;
      void started;
    }
    await node.start();
    place.isDown = false;
    await place.online.connect(node.mqttPort);
    await this.publish(place);
  }

  private async publish({ node, publishers }: Place): Promise<void> {
    for (const publisher of publishers) {
      publisher.isPublishing = true;
      if (!publisher.isOnline) await publisher.connect(node.mqttPort);
      publisher.publishMore();
    }
  }

  /** With its session's node down a client would get another session: such a one waits. */
  private async publishRemotely(place: Place): Promise<void> {
    for (const publisher of place.remotePublishers) {
      publisher.isPublishing = true;
      if (!publisher.isOnline) await publisher.connect(this.anotherNode(place).mqttPort);
      publisher.publishMore();
    }
  }

  /** A subscriber whose session's node runs goes to some node that is linked with that. */
  private async roam(up: readonly Place[]): Promise<void> {
    const place = up[Math.floor(this.chance() * up.length)];
    const at = up[Math.floor(this.chance() * up.length)];
    if (place === undefined || at === undefined) return;
    if (place.roaming.isOnline) {
      if (this.chance() < 0.5) await place.roaming.leave();
      else place.roaming.disconnect(false);
    }
    const { members } = await at.node.status();
    const isUp = members.some(({ name, state }) => name === place.node.name && state === "up");
    if (isUp) await place.roaming.connect(at.node.mqttPort);
  }

  /** Time passes while some subscribers of the nodes that run come and go. */
  private async flipFor(ms: number): Promise<void> {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      await pause(Math.min(20 + this.chance() * 150, Math.max(0, end - performance.now())));
      const up = this.places.filter(({ isDown }) => !isDown);
      const place = up[Math.floor(this.chance() * up.length)];
      if (place === undefined) continue;
      if (this.chance() < 0.3) {
        await this.roam(up);
        continue;
      }
      const { flipping, node } = place;
      if (flipping.isOnline) flipping.disconnect(this.chance() < 0.5);
      else await flipping.connect(node.mqttPort);
    }
  }

  /** Everybody is back; returns when all that was sent has been answered and has arrived everywhere. */
  private async settle(): Promise<void> {
    for (const publisher of this.publishers()) publisher.isPublishing = false;
    for (const node of this.nodes) await node.sees(this.nodes);
    for (const { node, online } of this.places) {
      if (!online.isOnline) await online.connect(node.mqttPort);
    }
    const seen = (): string => this.describe();
    const probe = async (done: () => boolean): Promise<true | undefined> => {
      await this.bringBack();
      return done() || this.faults().length > 0 || undefined;
    };
    const wait = (what: string, done: () => boolean): Promise<true> =>
      until(what, () => probe(done), seen, settleDeadlineMs);
    await wait("answers to all publishes", () => this.publishers().every((one) => one.isSettled));
    for (const { node, offline, flipping } of this.places) {
      await offline.connect(node.mqttPort);
      if (!flipping.isOnline) await flipping.connect(node.mqttPort);
    }
    await wait("all messages at all subscribers", () => this.isComplete());
    for (const { offline } of this.places) offline.disconnect();
  }

  /** Clients whose session's node died were sent away, at the latest when it was seen again. */
  private async bringBack(): Promise<void> {
    for (const place of this.places) {
      for (const client of remotesOf(place)) {
        if (!client.isOnline) await client.connect(this.anotherNode(place).mqttPort);
      }
    }
  }

  private isComplete(): boolean {
    const publishers = this.publishers();
    return this.subscribers().every((taker) =>
      publishers.every(({ clientId, sent }) => taker.lastOf(clientId) === sent),
    );
  }

  private publishers(): Publisher[] {
    return this.places.flatMap(({ publishers, remotePublishers }) => [
      ...publishers,
      ...remotePublishers,
    ]);
  }

  private subscribers(): Subscriber[] {
    return this.places.flatMap(({ online, offline, flipping, roaming }) => [
      ...[online, offline],
      ...[flipping, roaming],
    ]);
  }

  private faults(): string[] {
    return [...this.publishers(), ...this.subscribers()].flatMap(({ faults }) => faults);
  }

  private describe(): string {
    const takers = this.subscribers();
    const lines = this.publishers().map(({ clientId, sent, acknowledged }) => {
      const lasts = takers.map((taker) => `${taker.clientId} ${taker.lastOf(clientId)}`);
      return `${clientId}: sent ${sent}, acknowledged ${acknowledged}; ${lasts.join(", ")}`;
    });
    return `\n${lines.join("\n")}\n${this.faults().slice(0, faultsShown).join("\n")}`;
  }

  private async complain(): Promise<void> {
    if (this.faults().length === 0) return;
    await pause(lateMs);
    throw new Error(this.faults().slice(0, faultsShown).join("\n"));
  }
}

/** Publishers and subscribers of node `number`; versions differ from node to node. */
function placeOf(node: TestNode, number: number): Place {
  const version = number % 2 === 0 ? 4 : 5;
  const publisher = (kind: string, qos: 1 | 2, isRemote: boolean): Publisher => {
    const clientId = `p${number}-${kind}${qos}`;
    const topicOf = (): string => `crash/${clientId}`;
    const window = qos === 1 ? 30 : 15;
    const common = { clientId, version, persistent: true, qos } as const;
    return new Publisher({ ...common, window, topicOf, retain: false, isRemote });
  };
  const publishers = ([1, 2] as const).map((qos) => publisher("q", qos, false));
  const remotePublishers = ([1, 2] as const).map((qos) => publisher("r", qos, true));
  const subscriber = (kind: string, speaks: 4 | 5): Subscriber =>
    new Subscriber({ clientId: `s${number}-${kind}`, version: speaks, persistent: true });
  return {
    ...{ node, publishers, remotePublishers, isDown: false },
    online: subscriber("online", version),
    offline: subscriber("offline", version === 4 ? 5 : 4),
    flipping: subscriber("flipping", version),
    roaming: subscriber("roaming", version),
  };
}

/** Those whose connections are elsewhere, at least at times. */
const remotesOf = ({ remotePublishers, roaming }: Place): CrashClient[] => [
  ...remotePublishers,
  roaming,
];

/** Those whose connections and sessions are here. */
const clientsOf = ({ publishers, online, offline, flipping }: Place): CrashClient[] => [
  ...publishers,
  ...[online, offline, flipping],
];
