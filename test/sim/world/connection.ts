/**
 * One TCP connection in virtual time: two ends and a flow each way. A flow keeps its order; what is cut
 * off stays in it until the way is open again, as TCP's repeats would bring it.
 */
import type { Pipe } from "../../../src/cluster/transport.js";
import type { Network } from "./network.js";
import type { Life } from "./node.js";

/** Bytes that the kernels of both sides take before a writer's own buffer fills. */
const windowBytes = 256 * 1024;
/** As src/cluster/tcp.ts waits for a peer that does not close its side. */
const lingerMs = 2_000;

type Item =
  | { readonly kind: "open" }
  | { readonly kind: "close" }
  | { readonly kind: "bytes"; readonly bytes: Buffer };

/** Both ends of a connection; the first is the one that dialled. */
export class Connection {
  readonly near: End;
  readonly far: End;
  readonly id: number;

  constructor(
    readonly network: Network,
    dialler: Life,
    acceptor: Life,
    remotes: { readonly near: string; readonly far: string },
    opened: { readonly near: (pipe: Pipe) => void; readonly far: (pipe: Pipe) => void },
  ) {
    this.id = network.nextConnectionId++;
    const toFar = new Flow(this, dialler, acceptor);
    const toNear = new Flow(this, acceptor, dialler);
    this.near = new End(dialler, remotes.near, toFar, opened.near);
    this.far = new End(acceptor, remotes.far, toNear, opened.far);
    toFar.target = this.far;
    toNear.target = this.near;
    network.connections.add(this);
    toFar.push({ kind: "open" });
    toNear.push({ kind: "open" });
  }

  get flows(): readonly Flow[] {
    return [this.near.out, this.far.out];
  }

  endOf(life: Life): End | undefined {
    return this.near.life === life ? this.near : this.far.life === life ? this.far : undefined;
  }

  /** Takes the connection off the network's list when neither end needs it. */
  settle(): void {
    if (this.near.over && this.far.over) this.network.connections.delete(this);
  }
}

/** One direction. */
export class Flow {
  /** Set right after construction: the end that this flow leads to. */
  target: End | undefined;
  /** Bytes written and not yet delivered. */
  undelivered = 0;
  private items: { arriveMs: number; readonly item: Item }[] = [];
  private lastArriveMs = 0;
  private pumping = false;
  private held = false;

  constructor(
    readonly connection: Connection,
    private readonly from: Life,
    private readonly to: Life,
  ) {}

  push(item: Item): void {
    const { timeline, delayMs } = this.connection.network;
    this.lastArriveMs = Math.max(this.lastArriveMs, timeline.nowMs + delayMs());
    this.items.push({ arriveMs: this.lastArriveMs, item });
    if (item.kind === "bytes") this.undelivered += item.bytes.length;
    this.schedule();
  }

  /** Loses bytes from some point on, as when the sender's process ends or the connection is reset. */
  lose(): void {
    const { dice } = this.connection.network;
    if (dice.chance(0.3)) return;
    const first = this.items.findIndex(({ item }) => item.kind === "bytes");
    if (first < 0) return;
    const keep = first + dice.integer(this.items.length - first + 1);
    this.items = this.items.slice(0, keep);
    this.count();
  }

  /** Nobody reads here any more. */
  clear(): void {
    this.items = [];
    this.undelivered = 0;
  }

  /** The way is open again. */
  release(): void {
    if (!this.held) return;
    this.held = false;
    this.schedule(this.connection.network.dice.between(0, 300));
  }

  private schedule(extraMs = 0): void {
    const first = this.items[0];
    if (first === undefined || this.pumping || this.held) return;
    this.pumping = true;
    const { timeline } = this.connection.network;
    const dueMs = Math.max(first.arriveMs, timeline.nowMs) + extraMs;
    timeline.scheduleAt(dueMs, this.to, () => {
      this.pumping = false;
      if (this.connection.network.isCut(this.from, this.to)) this.held = true;
      else this.deliver();
      this.schedule();
    });
  }

  private deliver(): void {
    const first = this.items[0];
    // What was first when this was scheduled may have been lost since.
    if (first === undefined || first.arriveMs > this.connection.network.timeline.nowMs) return;
    const { kind } = first.item;
    if (kind === "bytes") {
      this.target?.receive(this.takeBytes());
      return;
    }
    this.items.shift();
    if (kind === "open") this.target?.opened();
    else this.target?.closedByPeer();
  }

  /** The bytes that have arrived, cut at a random place. */
  private takeBytes(): Buffer {
    const { timeline, dice, chunking } = this.connection.network;
    const parts: Buffer[] = [];
    for (let next = this.items[0]; next?.item.kind === "bytes"; next = this.items[0]) {
      if (parts.length > 0 && next.arriveMs > timeline.nowMs) break;
      parts.push(next.item.bytes);
      this.items.shift();
    }
    const all = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
    if (all.length < 2 || !dice.chance(chunking)) {
      this.count();
      return all;
    }
    const cut = 1 + dice.integer(Math.min(all.length - 1, dice.chance(0.5) ? 8 : all.length));
    const rest: Item = { kind: "bytes", bytes: all.subarray(cut) };
    this.items.unshift({ arriveMs: timeline.nowMs + dice.between(0, 0.5), item: rest });
    this.count();
    return all.subarray(0, cut);
  }

  private count(): void {
    this.undelivered = 0;
    for (const { item } of this.items) {
      if (item.kind === "bytes") this.undelivered += item.bytes.length;
    }
  }
}

/** One process's end of a connection. */
export class End implements Pipe {
  onData: (bytes: Buffer) => void = () => undefined;
  onClose: () => void = () => undefined;
  private state: "opening" | "open" | "closing" | "closed" = "opening";

  constructor(
    readonly life: Life,
    readonly remote: string,
    readonly out: Flow,
    private readonly onOpen: (pipe: Pipe) => void,
  ) {}

  get bufferedBytes(): number {
    return Math.max(0, this.out.undelivered - windowBytes);
  }

  /** Nothing will happen here any more. */
  get over(): boolean {
    return this.state === "closed" || this.life.dead;
  }

  write(bytes: Buffer): boolean {
    if (this.state === "open" && !this.life.dead && bytes.length > 0) {
      // A copy: writers take large buffers for few bytes, and get them back.
      this.out.push({ kind: "bytes", bytes: Buffer.from(bytes) });
    }
    return true;
  }

  close(): void {
    if (this.state !== "open" || this.life.dead) return;
    this.state = "closing";
    this.out.push({ kind: "close" });
    this.life.timeline.schedule(lingerMs, this.life, () => {
      if (this.state === "closing") this.end();
    });
  }

  destroy(): void {
    if (this.state === "closed" || this.life.dead) return;
    this.abandon();
    this.life.timeline.schedule(0, this.life, () => this.tellClosed());
  }

  /** Gives the connection up without a word to the process: it is dead, or never got the pipe. */
  abandon(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.out.lose();
    this.out.push({ kind: "close" });
    this.out.connection.settle();
  }

  /** The connection is reset on the way. */
  reset(): void {
    if (this.state === "open" || this.state === "closing") this.end();
    else this.abandon();
  }

  opened(): void {
    if (this.state !== "opening") return;
    this.state = "open";
    this.onOpen(this);
  }

  receive(bytes: Buffer): void {
    if (this.state !== "open") return;
    this.life.trace.take(bytes);
    this.onData(bytes);
  }

  closedByPeer(): void {
    if (this.state === "open" || this.state === "closing") this.end();
  }

  private end(): void {
    this.state = "closed";
    this.out.clear();
    this.out.push({ kind: "close" });
    this.out.connection.settle();
    this.tellClosed();
  }

  private tellClosed(): void {
    this.life.trace.note(`${this.life.name} pipe ${this.out.connection.id} closed`);
    this.onClose();
  }
}
