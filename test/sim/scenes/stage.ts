/** What scenes of clients and sessions are played on: whole nodes, and clients that do what the scene says and nothing else. */
import assert from "node:assert/strict";
import { decodeRequest, moveService } from "../../../src/session/move/wire.js";
import { home } from "../../../src/cluster/rendezvous.js";
import type { Qos } from "../../../src/protocol/publish.js";
import { SharedMemory } from "../../../src/store/shared-memory.js";
import type { Settings } from "../../support/front-end.js";
import { nodeName } from "../cluster-node.js";
import { type Packet, SimConnection } from "../sessions/connection.js";
import { SessionNode } from "../sessions/node.js";
import { leaseTimes } from "../sessions/shared.js";
import type { Life, WorldNode } from "../world/node.js";
import type { World } from "../world/world.js";

export interface Greets {
  /** Its will, at once: topic and payload are the same. */
  readonly will?: string;
  /** Of the will; 1 if it is not said. */
  readonly willQos?: Qos;
  /** For how long that waits for the client to come back. */
  readonly willDelaySeconds?: number;
  readonly clean?: boolean;
  /** 0: the session ends with its connection. */
  readonly expirySeconds?: number;
  readonly receiveMaximum?: number;
  readonly keepAliveSeconds?: number;
  readonly packetMax?: number;
  readonly topicAliasMax?: number;
}

type Reply<C extends Packet["cmd"]> = Packet & { cmd: C };

/** A client that a scene leads by the hand. */
export class Actor extends SimConnection {
  /** All that came, over all its connections. */
  readonly got: Packet[] = [];
  /** It acknowledges what it gets. */
  answers = true;
  /** The reason code that it acknowledges with. */
  reason = 0;
  private greets: Greets = {};
  private heard = 0;

  constructor(
    private readonly world: World,
    life: Life,
    clientId: string,
    node: SessionNode,
    version: 4 | 5,
  ) {
    super(life, clientId, version, node);
  }

  /** Payloads of the messages that it got, in order; of those with this QoS. */
  payloads(qos?: Qos): string[] {
    const all = this.got.filter((packet) => packet.cmd === "publish");
    return all
      .filter((packet) => qos === undefined || packet.qos === qos)
      .map(({ payload }) => payload.toString());
  }

  connectSoon(greets: Greets = {}, node = this.node): void {
    this.greets = greets;
    this.node = node;
    this.dial();
  }

  /** Connects, and waits for CONNACK. Returns whether its session was there. */
  async connect(greets: Greets = {}, node = this.node): Promise<boolean> {
    this.heard = this.got.length;
    this.connectSoon(greets, node);
    const { sessionPresent, reasonCode, returnCode } = await this.gets("connack", 8_000);
    assert.equal(reasonCode ?? returnCode, 0, `CONNACK of ${this.clientId}`);
    this.state = "online";
    return sessionPresent;
  }

  /** Waits for the next packet of that kind, after those that were waited for before. */
  async gets<C extends Packet["cmd"]>(cmd: C, deadlineMs = 3_000): Promise<Reply<C>> {
    const next = (): number => this.got.findIndex((one, i) => i >= this.heard && one.cmd === cmd);
    await this.world.until(() => next() >= 0, deadlineMs, `${this.clientId} gets ${cmd}`);
    const at = next();
    this.heard = at + 1;
    return this.got[at] as Reply<C>; // it was looked for
  }

  async subscribe(filter: string, qos: Qos, messageId = 60_000): Promise<void> {
    this.send({ cmd: "subscribe", messageId, subscriptions: [{ topic: filter, qos }] });
    const { granted } = await this.gets("suback");
    assert.deepEqual(granted, [qos], `SUBACK of ${this.clientId}`);
  }

  publish(topic: string, payload: string, qos: Qos, messageId = 0, retain = false): void {
    this.send({ cmd: "publish", topic, payload, qos, dup: false, retain, messageId });
  }

  /** DISCONNECT; its session lives on as long as it was told at CONNECT, or `ends`. */
  async leave(ends = false): Promise<void> {
    if (ends) this.send({ cmd: "disconnect", properties: { sessionExpiryInterval: 0 } });
    else this.send({ cmd: "disconnect" });
    this.drop(true);
    await this.world.run(100);
  }

  protected override onOpen(): void {
    const { clean = false, expirySeconds = 86_400, receiveMaximum } = this.greets;
    const { packetMax, topicAliasMax, will, willQos = 1, willDelaySeconds } = this.greets;
    const willProperties =
      willDelaySeconds === undefined ? {} : { properties: { willDelayInterval: willDelaySeconds } };
    const properties = {
      sessionExpiryInterval: expirySeconds,
      ...(receiveMaximum === undefined ? {} : { receiveMaximum }),
      ...(packetMax === undefined ? {} : { maximumPacketSize: packetMax }),
      ...(topicAliasMax === undefined ? {} : { topicAliasMaximum: topicAliasMax }),
    };
    this.send({
      ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: this.version, clean },
      ...{ clientId: this.clientId, keepalive: this.greets.keepAliveSeconds ?? 0 },
      ...(this.version === 5 ? { properties } : {}),
      ...(will === undefined
        ? {}
        : {
            will: {
              ...{ topic: will, payload: will, qos: willQos, retain: false },
              ...willProperties,
            },
          }),
    });
  }

  protected override onPacket(packet: Packet): void {
    this.got.push(packet);
    if (!this.answers) return;
    const messageId = packet.messageId ?? 0;
    const code = this.reason === 0 ? {} : { reasonCode: this.reason };
    const { cmd } = packet;
    if (cmd === "publish" && packet.qos === 1) this.send({ cmd: "puback", messageId, ...code });
    if (cmd === "publish" && packet.qos === 2) this.send({ cmd: "pubrec", messageId, ...code });
    if (packet.cmd === "pubrec" && (packet.reasonCode ?? 0) < 0x80) {
      this.send({ cmd: "pubrel", messageId });
    }
    if (packet.cmd === "pubrel") this.send({ cmd: "pubcomp", messageId });
  }

  protected override onClosed(): void {
    // It comes back when it is told to.
  }
}

export class Stage {
  readonly nodes: SessionNode[] = [];
  /** Where all actors are. */
  readonly actors: WorldNode;
  private readonly life: Life;

  private constructor(
    readonly world: World,
    /** What all nodes reach; null: each has a store of its own. */
    readonly shared: SharedMemory | null,
  ) {
    this.actors = world.node("actors@actors");
    this.life = this.actors.boot();
  }

  /** So many nodes, joined. Sessions stay where they begin unless `settings` say otherwise. */
  static async open(
    world: World,
    count: number,
    settings: Settings = {},
    shared: SharedMemory | null = null,
  ): Promise<Stage> {
    const stage = new Stage(world, shared);
    const { nodes } = stage;
    for (let i = 0; i < count; i++) {
      const placed = { session: { placement: "stay" as const }, ...settings };
      const node = new SessionNode(world, nodeName(i), placed, shared);
      node.store.atomic = shared === null;
      nodes.push(node);
    }
    await stage.startAll();
    const [first, ...others] = nodes;
    for (const node of others) if (first !== undefined) await node.join(first);
    await stage.allUp();
    return stage;
  }

  /** With a store that all nodes reach: they adopt the sessions of those that die. */
  static openShared(world: World, count: number): Promise<Stage> {
    const clock = { monotonicMs: () => world.nowMs };
    return Stage.open(world, count, {}, new SharedMemory(clock, leaseTimes.leaseMs));
  }

  /** One more node, which has joined nobody. */
  add(): SessionNode {
    const settings = { session: { placement: "stay" as const } };
    const node = new SessionNode(this.world, nodeName(this.nodes.length), settings, this.shared);
    node.store.atomic = this.shared === null;
    this.nodes.push(node);
    void node.boot();
    return node;
  }

  actor(clientId: string, node: SessionNode, version: 4 | 5 = 5): Actor {
    return new Actor(this.world, this.life, clientId, node, version);
  }

  /** Starts those that do not run, and waits until all listen. */
  async startAll(): Promise<void> {
    for (const node of this.nodes) if (node.process === null) void node.boot();
    const listening = (): boolean => this.nodes.every(({ isListening }) => isListening);
    await this.world.until(listening, 30_000, "all nodes listen");
  }

  async allUp(): Promise<void> {
    const { nodes } = this;
    const up = (): boolean => nodes.every((node) => node.namesUp().length === nodes.length);
    await this.world.until(up, 30_000, "all nodes are up");
  }

  /** Kills a node, and waits until the others know. */
  async kill(node: SessionNode): Promise<void> {
    node.crash();
    const others = this.nodes.filter(({ process }) => process !== null);
    const isDown = (): boolean =>
      others.every(({ process }) => process?.cluster.state(node.name) === "down");
    await this.world.until(isDown, 10_000, `${node.name} is down`);
  }

  /** Nothing passes between that node and the others. */
  isolate(node: SessionNode): void {
    for (const other of this.nodes) {
      if (other !== node) this.world.cutLink(node.place, other.place);
    }
  }

  /** A client id whose home is that node while all are up, and the other one while that is down. */
  idAt(node: SessionNode, next: SessionNode | null = null): string {
    const names = this.nodes.map(({ name }) => name);
    const others = names.filter((name) => name !== node.name);
    for (let i = 0; ; i++) {
      const isNext = next === null || home(`c${i}`, others) === next.name;
      if (home(`c${i}`, names) === node.name && isNext) return `c${i}`;
    }
  }

  /** Moves a session, whose old owner never hears from the new one that it has come: both have it. */
  async moveUntold(clientId: string, from: SessionNode, to: SessionNode): Promise<void> {
    const { cluster } = to.process ?? {};
    assert.ok(cluster);
    const ask = cluster.ask.bind(cluster);
    cluster.ask = async (node, service, body) => {
      const isDone = service === moveService && decodeRequest(body)?.verb === "done";
      return isDone ? null : ask(node, service, body);
    };
    void from.process?.sessions.moves?.push(clientId, to.name);
    const isThere = (): boolean => this.owners(clientId).length === 2;
    await this.world.until(isThere, 3_000, "the state is there");
  }

  /** The names of the nodes that have a session of the client id. */
  owners(clientId: string): string[] {
    const has = ({ process }: SessionNode): boolean =>
      process?.sessions.get(clientId) !== undefined;
    return this.nodes.filter(has).map(({ name }) => name);
  }
}
