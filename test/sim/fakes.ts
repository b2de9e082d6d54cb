/**
 * Stand-ins for the session layer: subscribers that keep what they got, and a node's connections as
 * plain records that the directory may have closed.
 */
import type {
  ClaimResult,
  ConnectionHost,
  Directory,
  DirectoryEntry,
} from "../../src/cluster/directory-types.js";
import type { Message } from "../../src/routing/message.js";
import type { Delivery, Subscriber } from "../../src/routing/targets.js";

/** What a subscriber was handed, as text. */
export interface Received {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly publisher: string;
}

export class FakeSubscriber implements Subscriber {
  readonly received: Received[] = [];
  /** False: what comes with QoS ≥ 1 has to wait for `acceptAll`. */
  accepting = true;
  /** What the access rules say of it. */
  allowed = true;
  private readonly waiting: Message[] = [];

  constructor(readonly clientId: string) {}

  mayReceive(): boolean {
    return this.allowed;
  }

  /** Messages that it has not accepted yet. */
  get unaccepted(): number {
    return this.waiting.length;
  }

  get payloads(): string[] {
    return this.received.map(({ payload }) => payload);
  }

  deliver(message: Message, delivery: Delivery): boolean {
    this.received.push({
      topic: message.topic.name,
      payload: payloadOf(message),
      qos: Math.min(message.qos, delivery.qos),
      publisher: message.publisher,
    });
    if (this.accepting || message.qos === 0 || delivery.qos === 0) return true;
    message.own();
    this.waiting.push(message);
    return false;
  }

  /** Accepts what waits, the oldest first. */
  acceptAll(): void {
    for (const message of this.waiting.splice(0)) message.accept();
  }

  /** Accepts one that waits, wherever it stands. */
  acceptAt(index: number): void {
    const [message] = this.waiting.splice(index, 1);
    message?.accept();
  }
}

export function payloadOf(message: Message): string {
  return message.bytes.toString("utf8", message.payloadStart, message.payloadEnd);
}

/** One CONNECT, from its claim to its end. */
export interface FakeConnection {
  readonly clientId: string;
  readonly user: string;
  readonly persistent: boolean;
  readonly claimedMs: number;
  result: ClaimResult | null;
  /** `fetching`: granted, and its session is brought from another node. */
  state: "claiming" | "fetching" | "connected" | "refused" | "closed";
  epoch: number;
}

interface FakeSession {
  readonly user: string;
  epoch: number;
  persistent: boolean;
  connection: FakeConnection | null;
}

/** The connections and sessions of one process. */
export class FakeConnections implements ConnectionHost {
  readonly all: FakeConnection[] = [];
  displaced = 0;
  onConnected: (connection: FakeConnection) => void = () => undefined;
  private readonly sessions = new Map<string, FakeSession>();

  constructor(
    private readonly directory: Directory,
    private readonly nowMs: () => number,
    /** How long it takes until a will is accepted, or a session is fetched. */
    private readonly later: (done: () => void) => void = (done) => done(),
  ) {}

  /** A client connects. The record says how it goes on. */
  connect(clientId: string, options: { user?: string; persistent?: boolean } = {}): FakeConnection {
    const { user = "", persistent = false } = options;
    const connection: FakeConnection = {
      ...{ clientId, user, persistent, claimedMs: this.nowMs() },
      ...{ result: null, state: "claiming", epoch: 0 },
    };
    this.all.push(connection);
    const by = {
      get isOpen() {
        return connection.state !== "closed";
      },
    };
    this.directory.claim({ clientId, user, by }, (result) => this.onResult(connection, result));
    return connection;
  }

  /** The client goes away. */
  close(connection: FakeConnection): void {
    if (connection.state === "claiming" || connection.state === "fetching") {
      connection.state = "closed";
      return;
    }
    if (connection.state !== "connected") return;
    connection.state = "closed";
    const { clientId, epoch } = connection;
    const session = this.sessions.get(clientId);
    if (session?.connection === connection) {
      session.connection = null;
      if (!session.persistent) this.sessions.delete(clientId);
    }
    this.directory.released(clientId, epoch, session?.persistent ?? false);
  }

  /** A session without a connection expires. */
  expire(clientId: string): void {
    const session = this.sessions.get(clientId);
    if (session === undefined || session.connection !== null) return;
    this.sessions.delete(clientId);
    this.directory.changed(clientId, session.epoch);
  }

  displace(clientId: string, epoch: number, done: (sessionAt: string | null) => void): void {
    const session = this.sessions.get(clientId);
    const connection = session?.connection ?? null;
    if (connection === null || connection.epoch >= epoch) {
      done(null);
      return;
    }
    this.displaced++;
    this.close(connection);
    this.later(() => done(null));
  }

  *entries(): Iterable<DirectoryEntry> {
    for (const clientId of this.sessions.keys()) {
      const entry = this.entry(clientId);
      if (entry !== undefined) yield entry;
    }
  }

  entry(clientId: string): DirectoryEntry | undefined {
    const session = this.sessions.get(clientId);
    if (session === undefined) return undefined;
    const { user, epoch, persistent, connection } = session;
    const held = { connection: connection === null ? null : epoch };
    return { clientId, user, ...held, session: persistent ? epoch : null };
  }

  private onResult(connection: FakeConnection, result: ClaimResult): void {
    if (connection.result !== null) throw new Error("a claim was answered twice");
    connection.result = result;
    if (!result.granted) {
      if (connection.state === "claiming") connection.state = "refused";
      return;
    }
    const { epoch, sessionAt } = result;
    connection.epoch = epoch;
    if (sessionAt === null || connection.state === "closed") {
      this.open(connection);
      return;
    }
    connection.state = "fetching";
    this.later(() => this.open(connection));
  }

  private open(connection: FakeConnection): void {
    const { clientId, user, persistent, epoch } = connection;
    const before = this.sessions.get(clientId);
    if (connection.state === "closed") {
      this.directory.released(clientId, epoch, before?.persistent ?? false);
      return;
    }
    // Still connected when the directory gave up waiting for its close.
    const old = before?.connection ?? null;
    if (old !== null) this.close(old);
    connection.state = "connected";
    this.sessions.set(clientId, { user, epoch, persistent, connection });
    this.directory.attached(clientId, epoch);
    this.onConnected(connection);
  }
}
