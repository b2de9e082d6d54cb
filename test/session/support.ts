/** Sessions without a network: a router, a channel that writes down what it is told, and fake time. */
import { Acl } from "../../src/auth/acl/acl.js";
import type { Clock, Timer } from "../../src/lib/clock.js";
import { seededRandom } from "../../src/lib/random.js";
import { silentLog } from "../../src/lib/log.js";
import { Backoff } from "../../src/lib/backoff.js";
import { Commits } from "../../src/store/commits.js";
import type { Store } from "../../src/store/store.js";
import { TimerWheel } from "../../src/lib/timer-wheel.js";
import { type AckType, AckType as Ack } from "../../src/protocol/acks.js";
import type { Qos } from "../../src/protocol/publish.js";
import { Message } from "../../src/routing/message.js";
import { Router } from "../../src/routing/router.js";
import type { Delivery, Subscriber } from "../../src/routing/targets.js";
import { TopicTable } from "../../src/routing/topic.js";
import type { Channel, ChannelInfo } from "../../src/session/channel.js";
import type { Session } from "../../src/session/session.js";
import { Sessions } from "../../src/session/sessions.js";
import { Turn } from "../../src/session/turn.js";
import { LoneCluster, type Settings, testConfig } from "../support/front-end.js";

/** A message as it comes from a publisher. A topic's record belongs to one router. */
export function message(
  topic: string,
  payload: string,
  qos: Qos,
  topics: TopicTable = new TopicTable(),
): Message {
  const bytes = Buffer.from(payload);
  const record = topics.internName(topic);
  return new Message(record, qos, false, "publisher", bytes, 0, 0, 0, bytes.length);
}

/** How somebody gets it. */
export function deliveryTo(subscriber: Subscriber | null, qos: Qos): Delivery {
  const nobody: Subscriber = { clientId: "", deliver: () => true };
  return {
    subscriber: subscriber ?? nobody,
    qos,
    retainAsPublished: false,
    noLocal: false,
    subscriptionIds: null,
    share: null,
  };
}

/** Time that moves when it is told to. */
export class ManualClock implements Clock {
  private now = 1_000_000;
  private timers: { dueMs: number; callback: () => void }[] = [];
  private deferred: (() => void)[] = [];

  wallMs(): number {
    return this.now;
  }
  monotonicMs(): number {
    return this.now;
  }
  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { dueMs: this.now + delayMs, callback };
    this.timers.push(timer);
    return timer;
  }
  clearTimer(timer: Timer | undefined): void {
    this.timers = this.timers.filter((other) => other !== timer);
  }
  defer(callback: () => void): void {
    this.deferred.push(callback);
  }

  /** Lets time pass, firing timers in their order. */
  advance(byMs: number): void {
    const end = this.now + byMs;
    for (;;) {
      for (const callback of this.deferred.splice(0)) callback();
      const [first] = this.timers
        .filter((timer) => timer.dueMs <= end)
        .sort((a, b) => a.dueMs - b.dueMs);
      if (first === undefined) break;
      this.now = Math.max(this.now, first.dueMs);
      this.clearTimer(first);
      first.callback();
    }
    this.now = end;
  }
}

/** Writes down what the session says, one line each. */
export class FakeChannel implements Channel {
  readonly version: number;
  readonly node = null;
  congested = false;
  isOpen = true;
  readonly hasWithheld = false;
  readonly said: string[] = [];
  /** How often it was told to read on. */
  reads = 0;
  /** Messages larger than that are not taken. */
  payloadMax = Number.POSITIVE_INFINITY;
  onClose: (reason: number) => void = () => undefined;

  constructor(version = 4) {
    this.version = version;
  }

  silence(isSilent: boolean): void {
    this.congested = isSilent;
  }

  info(): ChannelInfo {
    return {
      address: "fake",
      version: this.version,
      keepAliveSeconds: 0,
      connectedAtMs: 0,
      waitingBytes: 0,
      packetMax: Number.POSITIVE_INFINITY,
      takesMessages: false,
    };
  }

  publish(one: Message, qos: Qos, retain: boolean, packetId: number): boolean {
    return this.say(one, qos, retain, packetId, "");
  }

  republish(one: Message, qos: Qos, retain: boolean, packetId: number): boolean {
    return this.say(one, qos, retain, packetId, " dup");
  }

  acknowledge(type: AckType, packetId: number, reason: number): void {
    const name = Object.entries(Ack).find(([, value]) => value === type)?.[0];
    this.said.push(`${name?.toLowerCase()} ${packetId}${reason === 0 ? "" : ` reason ${reason}`}`);
  }

  send(packet: Buffer): void {
    this.said.push(`packet ${packet.toString("hex")}`);
  }

  passOn(bytes: Buffer, start: number, end: number): void {
    this.send(bytes.subarray(start, end));
  }

  readOn(): void {
    this.reads++;
  }

  hold(done: () => void): void {
    this.said.push("hold");
    done();
  }

  release(): void {
    this.said.push("release");
  }

  moved(node: string, epoch: number): void {
    this.said.push(`moved to ${node} ${epoch}`);
  }

  close(reason: number): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.said.push(`close ${reason}`);
    this.onClose(reason);
  }

  /** What was said since the last call. */
  take(): string[] {
    return this.said.splice(0);
  }

  private say(one: Message, qos: Qos, retain: boolean, packetId: number, dup: string): boolean {
    if (one.payloadLength > this.payloadMax) return false;
    const payload = one.bytes.toString("utf8", one.payloadStart, one.payloadEnd);
    this.said.push(`${payload} q${qos} id${packetId}${retain ? " retain" : ""}${dup}`);
    return true;
  }
}

export interface World {
  readonly clock: ManualClock;
  readonly router: Router;
  readonly sessions: Sessions;
  readonly reports: string[];
  /** Null: nothing is durable. */
  readonly commits: Commits | null;
  /** Connects a client; `expiryMs` 0: clean. */
  connect(clientId: string, options?: ConnectOptions): { session: Session; channel: FakeChannel };
  /** Loses its connection. */
  disconnect(clientId: string): void;
  publish(topic: string, payload: string, qos: Qos): Message;
  /** Takes up what the store holds. */
  load(): Promise<void>;
}

export interface ConnectOptions {
  readonly expiryMs?: number;
  readonly clean?: boolean;
  readonly receiveMaximum?: number;
}

/** Sessions over a real router, alone in their cluster. `store`: where those are durable that outlive a connection. */
export function world(settings: Settings = {}, store: Store | null = null): World {
  const { limits, auth } = testConfig(settings);
  const clock = new ManualClock();
  const retained = { messages: 1_000_000, bytes: 1e9, forgetAfterMs: 1, ttlMs: 0 };
  const router = new Router(new LoneCluster(), retained, clock);
  const reports: string[] = [];
  let epoch = 0;
  const commits = store === null ? null : commitsOn(store, clock);
  const incarnation = ++incarnations;
  const sessions = new Sessions({
    authorizer: new Acl(auth, silentLog),
    ...{ router, limits, willNetwork: null, remote: null },
    wheel: new TimerWheel(clock),
    turn: new Turn(clock),
    directory: {
      claim: (_claim, done) => done({ granted: true, epoch: ++epoch, sessionAt: null }),
      isOutdated: () => false,
      attached: (clientId) => reports.push(`attached ${clientId}`),
      released: (clientId, _epoch, kept) => reports.push(`released ${clientId} ${kept}`),
      changed: (clientId) => reports.push(`changed ${clientId}`),
    },
    journals:
      store === null || commits === null
        ? null
        : { store, commits, clock, log: silentLog, incarnation: () => incarnation },
  });
  const connect = (clientId: string, options: ConnectOptions = {}) => {
    const { expiryMs = 0, clean = expiryMs === 0, receiveMaximum = 65_535 } = options;
    const channel = new FakeChannel();
    const request = {
      clientId,
      user: "",
      access: null,
      rules: null,
      clean,
      expiryMs,
      receiveMaximum,
      will: null,
    };
    let session: Session | null = null;
    sessions.turn.refresh();
    sessions.connect(request, channel, (outcome) => {
      if (outcome.session !== null && !outcome.session.isRemote) session = outcome.session;
    });
    channel.onClose = () => {
      const open = sessions.get(clientId);
      if (open !== undefined) sessions.detach(open, channel, true);
    };
    const found = session as Session | null; // set in the callback
    if (found === null && store === null) throw new Error("refused");
    // With a store it may wait for its commit.
    return { session: found ?? (sessions.get(clientId) as Session), channel };
  };
  const disconnect = (clientId: string): void => {
    const session = sessions.get(clientId);
    if (session?.channel) sessions.detach(session, session.channel, true);
  };
  const publish = (topic: string, payload: string, qos: Qos): Message => {
    sessions.turn.refresh();
    const one = message(topic, payload, qos, router.topics);
    router.publish(one);
    return one;
  };
  const load = async (): Promise<void> => {
    const loaded = await sessions.load(() => undefined);
    epoch = loaded.highestEpoch;
    await sessions.publishRecovered();
  };
  return { clock, router, sessions, reports, commits, connect, disconnect, publish, load };
}

let incarnations = 0;

function commitsOn(store: Store, clock: Clock): Commits {
  return new Commits({
    ...{ store, clock, intervalMs: 0, slowMs: 1000 },
    backoff: new Backoff(seededRandom(1), 100, 100),
    onStalled: () => undefined,
    onBroken: () => undefined,
  });
}

/** Subscribes without a SUBSCRIBE packet. */
export function subscribe(session: Session, filter: string, qos: Qos): void {
  const options = { qos, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
  session.subscribe(filter, options);
}
