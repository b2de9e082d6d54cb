/**
 * A client whose own state outlives everything: it numbers what it publishes, repeats what is not answered, and
 * sees at once what may not come. What had to come is checked when the history is over (checks.ts).
 */
import type { Qos } from "../../../src/protocol/publish.js";
import type { Life } from "../world/node.js";
import { type Packet, SimConnection } from "./connection.js";
import {
  type Interest,
  inWords,
  isShared,
  type Ledger,
  type Legacy,
  matches,
  maybePublishedAgain,
  payloadOf,
  type Sent,
} from "./ledger.js";
import type { SessionNode } from "./node.js";
import { lossOf } from "./touch.js";

export interface ClientOptions {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** Its sessions outlive their connections. */
  readonly persistent: boolean;
  readonly receiveMaximum: number;
  /** Publishes of it that may be unanswered. */
  readonly window: number;
}

/** What CONNECT says of a will. */
export interface WillSpec {
  readonly topic: string;
  readonly payload: string;
  readonly qos: Qos;
}

interface Unanswered {
  readonly sent: Sent;
  isReleased: boolean;
}

/** A store that has come back is tried again within that time. */
const wellMs = 1_000;
const never = Number.POSITIVE_INFINITY;

export class SimClient extends SimConnection {
  /** As far as the client can know. */
  session: "none" | "kept" | "unknown" = "none";
  /** Grows with each new session. */
  generation = 0;
  /** Of this session. */
  interests: Interest[] = [];
  /** Subscriptions of share groups, of all its sessions. */
  readonly memberships: Interest[] = [];
  readonly taken = new Map<Sent, number>();
  /** What came with QoS 2. */
  readonly takenOnce = new Set<Sent>();
  /** In which of its sessions it came last, and where that was. */
  private readonly takenIn = new Map<Sent, { generation: number; node: SessionNode }>();
  /** A SUBACK came. */
  onGranted: (interest: Interest) => void = () => undefined;
  /** A message is about to be sent for the first time. */
  onSend: () => void = () => undefined;
  /** A message came. */
  onTaken: (sent: Sent) => void = () => undefined;
  /** Where its session is, or begins. */
  sessionNode: () => SessionNode = () => this.node;
  /** Where it connects next; null: not now. */
  chooseNode: () => SessionNode | null = () => this.node;
  /** May its session be at a node that was down since then, or that another one took for down? */
  mayBeWithoutOwner: (sinceMs: number) => boolean = () => false;
  /** When that node was lost last, with what it has. */
  lossOf: (node: SessionNode) => Pick<Legacy, "lostMs" | "backMs"> = (node) => lossOf(node, []);
  /** So long may something be on its way between two nodes. */
  delayMsMax = 0;
  /** Sessions that it lost with their nodes, which hand over what they have when those are back. */
  readonly legacies: Legacy[] = [];
  /** Messages with QoS 2 that two of its sessions had taken. */
  tookTwice = 0;
  /** The will of the next connection. */
  nextWill: () => WillSpec | null = () => null;
  /** It connects again by itself. */
  staysOnline = true;
  /** How long it takes to acknowledge, at most. */
  ackMsMax = 20;
  /** That of this connection ends with it, and is where it is. */
  private isCleanSession = false;
  /** Where its session was when it was last connected. */
  private lastNode: SessionNode | null = null;
  private sessionBefore: "none" | "kept" | "unknown" = "none";
  /**
   * The CONNECT of a connection given up before its CONNACK may be read after that of the next, which it displaces then: so many
   * CONNACKs say nothing of what the client was told before.
   */
  private judgedAfter = 0;
  private nextId = 1;
  private nextNumber = 1;
  private readonly unanswered = new Map<number, Unanswered>();
  private readonly due: { topic: string; qos: Qos }[] = [];
  private readonly openIds = new Map<number, string>();
  /** What came with QoS 2 under which id, for ever. */
  private readonly idsOf = new Map<string, number>();
  private readonly lastOf = new Map<string, number>();
  private requests = new Map<number, (codes: readonly number[]) => void>();
  private acks: Packet[] = [];
  private ackTimer = false;
  private startsClean = false;
  private isGreeted = true;
  /** Subscriptions that ended because the session may have. */
  private doubted: Interest[] = [];

  constructor(
    life: Life,
    node: SessionNode,
    readonly options: ClientOptions,
    private readonly ledger: Ledger,
  ) {
    super(life, options.clientId, options.version, node);
  }

  /** What came on this connection, and under which id: it is sent again on another one only [MQTT-4.4.0-1]. */
  private readonly cameHere = new Set<string>();

  /** Everything that it asked for is answered. */
  get isSettled(): boolean {
    const { unanswered, due, requests, openIds, acks } = this;
    const waiting = unanswered.size + due.length + requests.size + openIds.size + acks.length;
    return waiting === 0 && this.state === "online";
  }

  /** What is not, in words. */
  get waiting(): string {
    const sent = [...this.unanswered.values()].map((one) => inWords(one.sent)).join("; ");
    return `${this.clientId} ${this.state}, ${this.due.length} due, unanswered: ${sent}, ${this.requests.size} requests, open: ${[...this.openIds].join()}`;
  }

  /** `clean`: with a new session. */
  connect(clean = false): void {
    // Until it has its new session it asks for one: it could not tell that from the old one.
    this.startsClean ||= clean;
    const node = this.chooseNode();
    if (node === null) {
      if (this.state === "offline") this.comeBack();
      return;
    }
    this.drop();
    this.node = node;
    this.dial();
  }

  publish(topic: string, qos: Qos): void {
    this.due.push({ topic, qos });
    this.publishDue();
  }

  subscribe(filter: string, qos: Qos): void {
    if (this.state !== "online") return;
    const askedMs = this.nowMs;
    const interest = {
      ...{ filter, qos, askedMs, grantedMs: never, endedMs: never, overMs: never },
      endedAt: null,
      isKept: !this.isCleanSession,
      ...{ knownMs: new Map<string, number>(), metMs: new Map<string, number>() },
    };
    const first = this.legacies.filter((one) => one.askedMs === never);
    for (const legacy of first) legacy.askedMs = askedMs;
    const older = this.interests.filter((one) => one.filter === filter && one.overMs === never);
    if (qos === 0) for (const one of older) one.endedMs = Math.min(one.endedMs, askedMs);
    this.interests.push(interest);
    if (isShared(filter)) this.memberships.push(interest);
    const messageId = this.request(([code]) => {
      // While nothing can be stored: it is as it was before.
      if (code === 0x97 || (code === 0x80 && this.version === 4)) {
        this.interests = this.interests.filter((one) => one !== interest);
        return;
      }
      if (code !== qos) this.fault(`SUBACK ${code} of ${filter} with QoS ${qos}`);
      interest.grantedMs = this.nowMs;
      for (const legacy of this.legacies) {
        legacy.grantedMs = Math.min(legacy.grantedMs, this.nowMs);
      }
      this.onGranted(interest);
      for (const one of older) {
        one.endedMs = Math.min(one.endedMs, this.nowMs);
        one.overMs = this.nowMs;
      }
    });
    this.send({ cmd: "subscribe", messageId, subscriptions: [{ topic: filter, qos }] });
  }

  unsubscribe(filter: string): void {
    if (this.state !== "online") return;
    const open = this.interests.filter((one) => one.filter === filter && one.overMs === never);
    for (const one of open) {
      one.endedMs = Math.min(one.endedMs, this.nowMs);
      one.endedAt ??= this.sessionNode();
    }
    const messageId = this.request(([code]) => {
      // While nothing can be stored.
      if (code === 0x83) return;
      for (const one of open) one.overMs = this.nowMs;
    });
    this.send({ cmd: "unsubscribe", messageId, unsubscriptions: [filter] });
  }

  /** Leaves with a DISCONNECT; `ends`: which ends its session, where the protocol has a word for that. */
  disconnect(ends: boolean): void {
    if (this.state !== "online") return;
    if (ends && this.version === 5) {
      this.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
      this.doubtSession();
    } else this.send({ cmd: "disconnect" });
    this.drop(true);
  }

  /** The session may be over: nothing is promised until a CONNACK says more. */
  doubtSession(): void {
    for (const legacy of this.legacies) legacy.isVoid = true;
    this.session = this.sessionBefore = "unknown";
    for (const one of this.interests) {
      if (one.endedMs !== never) continue;
      one.endedMs = this.nowMs;
      this.doubted.push(one);
    }
  }

  protected override onOpen(): void {
    const { version, clientId, options } = this;
    this.cameHere.clear();
    const clean = this.startsClean || !options.persistent;
    this.isCleanSession = !options.persistent || (version === 4 && clean);
    const before = this.session;
    if (clean) this.doubtSession();
    this.sessionBefore = clean ? "none" : before;
    // Should no CONNACK come, the session there is then may be one of this connection.
    if (before === "unknown") this.startsClean = true;
    if (!clean && this.session === "none") this.session = "unknown";
    const expiry = options.persistent ? { sessionExpiryInterval: 86_400 } : {};
    const properties =
      version === 5 ? { ...expiry, receiveMaximum: options.receiveMaximum } : undefined;
    const will = this.nextWill();
    this.isGreeted = false;
    this.send({
      ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: version, keepalive: 0 },
      ...{ clientId, clean, ...(properties === undefined ? {} : { properties }) },
      ...(will === null
        ? {}
        : { will: { ...will, payload: Buffer.from(will.payload), retain: false } }),
    });
  }

  protected override onClosed(): void {
    this.requests = new Map();
    this.acks = [];
    // It may have got a new session, which it could not tell from its own.
    if (!this.isGreeted && this.session === "kept" && this.isWithoutOwner) {
      this.doubtSession();
      this.startsClean = true;
    }
    if (!this.isGreeted) this.judgedAfter = 2;
    this.isGreeted = true;
    if (this.isCleanSession && this.session !== "unknown") this.forgetSession();
    if (this.staysOnline) this.comeBack();
  }

  protected override onPacket(packet: Packet): void {
    switch (packet.cmd) {
      case "connack":
        this.onConnack(packet.reasonCode ?? packet.returnCode ?? 0, packet.sessionPresent);
        return;
      case "publish":
        this.onPublish(packet);
        return;
      case "puback":
      case "pubrec":
      case "pubcomp":
        this.onAnswer(packet.cmd, packet.messageId ?? 0, packet.reasonCode ?? 0);
        return;
      case "pubrel":
        this.openIds.delete(packet.messageId ?? 0);
        this.acknowledge({ cmd: "pubcomp", messageId: packet.messageId ?? 0 });
        return;
      case "suback":
      case "unsuback":
        this.onReply(packet.messageId ?? 0, packet.granted ?? []);
        return;
      default:
        return;
    }
  }

  private comeBack(): void {
    const number = this.connections;
    this.life.clock.setTimer(this.life.random.between(1, 400), () => {
      const isIdle = this.state === "offline" && this.connections === number;
      if (isIdle && this.staysOnline) this.connect();
    });
  }

  private onConnack(reason: number, present: boolean): void {
    if (reason !== 0) {
      const unavailable = this.version === 5 ? [0x88, 0x9c] : [3];
      if (!unavailable.includes(reason)) this.fault(`CONNACK ${reason}`);
      this.drop();
      return;
    }
    this.startsClean = false;
    this.isGreeted = true;
    const { sessionBefore } = this;
    const isAnew = sessionBefore === "kept" && !present && this.isWithoutOwner;
    if (isAnew) this.leaveLegacy();
    else if (this.judgedAfter > 0) this.judgedAfter--;
    else if (sessionBefore !== "unknown" && present !== (sessionBefore === "kept")) {
      this.fault(`session present ${present}, its session was ${sessionBefore}`);
    }
    if (!present) this.forgetSession();
    else if (this.session === "unknown") this.renewInterests();
    this.session = this.isCleanSession ? "none" : "kept";
    this.state = "online";
    this.lastNode = this.sessionNode();
    for (const [id, { sent, isReleased }] of this.unanswered) {
      if (isReleased) this.send({ cmd: "pubrel", messageId: id });
      else this.sendPublish(id, sent, true);
    }
    this.publishDue();
  }

  /** May this connection be given a new session, or have been? */
  private get isWithoutOwner(): boolean {
    return this.mayBeWithoutOwner(this.stays.at(-1)?.openedMs ?? 0);
  }

  /** The node of its session is down: what was promised to that comes when the node is back. */
  private leaveLegacy(): void {
    const node = this.lastNode ?? this.node;
    this.legacies.push({
      ...{ node, ...this.lossOf(node), sinceMs: this.nowMs, interests: this.interests },
      open: new Set(this.openIds.values()),
      ...{ askedMs: never, grantedMs: never, isVoid: false },
    });
    // They go on, until the younger session has its first subscription.
    this.interests = [];
  }

  /** May two of its sessions have taken it, or one had begun with it when it was lost? */
  private mayComeTwice(sent: Sent): boolean {
    // What its session had taken for a group when its node died comes there once more, and may go to another member, and back.
    const isMember = this.memberships.some(({ filter }) => matches(filter, sent.topic));
    if (isMember && this.sessionNode().lastCrashMs >= sent.sentMs) return true;
    return this.legacies.some(({ interests, lostMs, open, askedMs, grantedMs, sinceMs }) => {
      if (open.has(payloadOf(sent))) return true;
      // What the older one had taken for a group may have gone to another member when its node died, maybe the younger one.
      const wasMember = interests.some(
        ({ filter }) => isShared(filter) && matches(filter, sent.topic),
      );
      if (wasMember && sent.sentMs <= lostMs) return true;
      const endMs = Math.min(sent.acknowledgedMs, this.nowMs);
      return askedMs !== never && endMs >= Math.max(askedMs, sinceMs) && sent.sentMs <= grantedMs;
    });
  }

  private forgetSession(): void {
    this.session = "none";
    this.generation++;
    for (const one of this.interests) one.overMs = Math.min(one.overMs, this.nowMs);
    this.interests = [];
    this.doubted = [];
    this.unanswered.clear();
    this.openIds.clear();
  }

  /** The session was there after all. */
  private renewInterests(): void {
    for (const one of this.doubted) {
      // One that was not answered may have come into force: what was granted before it is not sure any more.
      const grantedMs = one.grantedMs === never ? never : this.nowMs;
      this.interests.push({ ...one, grantedMs, endedMs: never });
    }
    this.doubted = [];
  }

  private publishDue(): void {
    while (this.state === "online" && this.unanswered.size < this.options.window) {
      const next = this.due.shift();
      if (next === undefined) return;
      const { topic, qos } = next;
      this.onSend();
      const place = this.publishingNode(qos);
      const sent: Sent = {
        ...{ publisher: this.clientId, node: place.name, number: this.nextNumber++ },
        ...{ place, life: place.lives.length },
        ...{ isCommitted: !this.isCleanSession, isSettled: false },
        mayBeWithheld: this.version === 4 && !place.wasWell(wellMs),
        ...{ reachedMs: new Map<string, number>(), metMs: new Map<string, number>() },
        ...{ topic, qos, sentMs: this.nowMs, acknowledgedMs: never, times: 0, isRefused: false },
        latest: { node: place.name, sentMs: this.nowMs },
        nodes: new Set<string>(),
      };
      this.ledger.add(sent);
      const id = qos === 0 ? 0 : this.nextId;
      if (qos > 0) {
        this.nextId = (this.nextId % 65_535) + 1;
        this.unanswered.set(id, { sent, isReleased: false });
      }
      this.sendPublish(id, sent, false);
    }
  }

  /** A QoS 2 publish goes by way of the session; one that ends with its connection is where that is. */
  private publishingNode(qos: Qos): SessionNode {
    return qos === 2 && !this.isCleanSession ? this.sessionNode() : this.node;
  }

  private sendPublish(messageId: number, sent: Sent, dup: boolean): void {
    const { topic, qos } = sent;
    sent.times++;
    sent.latest = { node: this.publishingNode(qos).name, sentMs: this.nowMs };
    sent.nodes.add(sent.latest.node);
    const payload = payloadOf(sent) + " ".repeat(sent.number % 40);
    this.send({ cmd: "publish", topic, payload, qos, dup, retain: false, messageId });
  }

  private onAnswer(cmd: "puback" | "pubrec" | "pubcomp", id: number, reason: number): void {
    const waiting = this.unanswered.get(id);
    if (waiting === undefined) return;
    const { sent } = waiting;
    if (cmd !== "pubcomp") {
      this.checkAnswerOrder(cmd, waiting);
      const isRefused = reason >= 0x80;
      if (isRefused && reason !== 0x97) this.fault(`${cmd} with ${reason} of ${inWords(sent)}`);
      // One that was repeated may have gone through before.
      if (isRefused) sent.isRefused = sent.times === 1;
      else this.noteAcknowledged(sent);
      if (cmd === "pubrec" && !isRefused) {
        waiting.isReleased = true;
        this.send({ cmd: "pubrel", messageId: id });
        return;
      }
    }
    this.unanswered.delete(id);
    this.publishDue();
  }

  /** PUBACKs, and PUBRECs, come in the order of the publishes [MQTT-4.6.0-2, MQTT-4.6.0-3]. */
  private checkAnswerOrder(cmd: string, answered: Unanswered): void {
    const { sent } = answered;
    // One that cannot be told of a refusal is not answered; what was sent again may have been answered before.
    if (this.version === 4 || sent.times > 1) return;
    for (const other of this.unanswered.values()) {
      if (other.sent.qos !== sent.qos || other.isReleased) continue;
      if (other !== answered) {
        this.fault(`${cmd} of ${inWords(sent)} before that of ${payloadOf(other.sent)}`);
      }
      return;
    }
  }

  private noteAcknowledged(sent: Sent): void {
    if (sent.acknowledgedMs !== never) return;
    sent.acknowledgedMs = this.nowMs;
    for (const name of sent.place.namesUp()) sent.reachedMs.set(name, this.nowMs);
  }

  private onPublish(packet: Packet & { cmd: "publish" }): void {
    const { qos, messageId = 0, dup } = packet;
    const sent = this.ledger.find(packet.payload.toString());
    if (sent === undefined) {
      this.fault(`got ${packet.payload.toString()}, which nobody sent`);
      return;
    }
    const once = `${messageId} ${payloadOf(sent)}`;
    if (dup && this.cameHere.has(once)) {
      this.fault(`got ${inWords(sent)} under id ${messageId} once more on the same connection`);
    }
    if (qos > 0) this.cameHere.add(once);
    if (qos === 2) this.onQos2(messageId, sent, dup);
    else this.take(sent, qos);
    if (qos === 1) this.acknowledge({ cmd: "puback", messageId });
  }

  private onQos2(id: number, sent: Sent, dup: boolean): void {
    const payload = payloadOf(sent);
    const open = this.openIds.get(id);
    const before = this.idsOf.get(`${this.generation} ${payload}`);
    if (open !== undefined && open !== payload) {
      this.fault(`got ${inWords(sent)} under id ${id} (dup ${dup}), which is open for ${open}`);
    }
    if (before !== undefined && before !== id && !this.mayComeTwice(sent)) {
      this.fault(`got ${inWords(sent)} under id ${id}, and before under ${before}`);
    }
    this.idsOf.set(`${this.generation} ${payload}`, id);
    if (open === undefined) this.take(sent, 2);
    this.openIds.set(id, payload);
    this.acknowledge({ cmd: "pubrec", messageId: id });
  }

  private take(sent: Sent, qos: Qos): void {
    const times = this.taken.get(sent) ?? 0;
    this.taken.set(sent, times + 1);
    // What came with QoS 1 and was not stored when its node died comes again, with what is subscribed by then.
    // So does, with less than QoS 2, what the publisher's node publishes again at its start,
    // or who adopts the publisher's session.
    const before = this.takenIn.get(sent);
    const nodes = [this.node, this.sessionNode(), sent.place, before?.node];
    const lastLostMs = Math.max(...nodes.map((node) => node?.lastLostMs ?? 0));
    const mayRepeat = !this.takenOnce.has(sent) && lastLostMs >= sent.sentMs;
    if (qos === 2) this.takenOnce.add(sent);
    this.onTaken(sent);
    this.checkDue(sent, qos);
    // A session that has begun since an earlier one got it is another subscriber.
    const isNew = before?.generation !== this.generation && maybePublishedAgain(sent);
    this.takenIn.set(sent, { generation: this.generation, node: this.sessionNode() });
    // One of QoS 0 has no number: it may reach the session's new node after that has come there.
    const hasMoved = before !== undefined && before.node !== this.sessionNode();
    const isOnce =
      (qos === 2 && !mayRepeat && !isNew) || (sent.qos === 0 && sent.times === 1 && !hasMoved);
    if (times > 0 && isOnce && this.mayComeTwice(sent)) this.tookTwice++;
    else if (times > 0 && isOnce) {
      this.fault(`got ${inWords(sent)} again, with QoS ${qos}`);
    }
    if (times > 0 || this.interests.some(({ filter }) => isShared(filter))) return;
    if (sent.times > 1 && sent.mayBeWithheld) return;
    // What its publisher repeats is new to those who came meanwhile, as they did until SUBACK.
    const wasThere = ({ filter, grantedMs }: Interest): boolean =>
      matches(filter, sent.topic) && grantedMs <= sent.sentMs;
    if (sent.times > 1 && !this.interests.some(wasThere)) return;
    // Of one topic and one QoS [MQTT-4.6.0-6]: QoS 2 waits for its packet id's commit, others overtake it.
    // What an older session had comes after what the younger one got meanwhile.
    if (this.legacies.some(({ grantedMs }) => sent.sentMs <= grantedMs)) return;
    // What it repeats at another node may come by way of either, and overtake what waits at the first.
    const places = [...sent.nodes].join();
    const stream = `${sent.publisher} ${places} ${sent.topic} ${sent.qos} ${qos}`;
    const last = this.lastOf.get(stream) ?? 0;
    if (sent.number < last) this.fault(`got ${inWords(sent)} after number ${last}`);
    this.lastOf.set(stream, sent.number);
  }

  /** Had it to do with this message at all? */
  private checkDue(sent: Sent, qos: Qos): void {
    if (sent.isRefused) this.fault(`got ${inWords(sent)}, which was refused`);
    // What waited for a node goes to whoever is subscribed when it comes.
    const reachedMs = sent.reachedMs.get(this.sessionNode().name) ?? never;
    const all = [...this.interests, ...this.legacies.flatMap(({ interests }) => interests)];
    const due = all.filter(
      ({ filter, askedMs, overMs }) =>
        // What other members of a group leave may be older.
        (askedMs <= sent.acknowledgedMs + this.delayMsMax ||
          askedMs <= reachedMs ||
          isShared(filter) ||
          maybePublishedAgain(sent)) &&
        matches(filter, sent.topic) &&
        overMs >= sent.sentMs,
    );
    const most = Math.max(-1, ...due.map((one) => one.qos));
    if (most < 0) this.fault(`got ${inWords(sent)}, which it has not asked for`);
    else if (qos > Math.min(most, sent.qos)) this.fault(`got ${inWords(sent)} with QoS ${qos}`);
  }

  private request(done: (codes: readonly number[]) => void): number {
    const id = this.nextId;
    this.nextId = (this.nextId % 65_535) + 1;
    this.requests.set(id, done);
    return id;
  }

  private onReply(id: number, granted: readonly unknown[]): void {
    const done = this.requests.get(id);
    this.requests.delete(id);
    done?.(granted.map(Number));
  }

  /** Sends its acknowledgements in order, some time. */
  private acknowledge(packet: Packet): void {
    this.acks.push(packet);
    if (this.ackTimer) return;
    this.ackTimer = true;
    this.life.clock.setTimer(this.life.random.between(0, this.ackMsMax), () => {
      this.ackTimer = false;
      for (const ack of this.acks.splice(0)) this.send(ack);
    });
  }
}
