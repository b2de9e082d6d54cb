/**
 * The network between the nodes of a world: who listens where, who is cut off from whom, and how long
 * everything takes. Hosts are known by the host part of the nodes' names.
 */
import type { DialFailure, Pipe, PipeListener, Transport } from "../../../src/cluster/transport.js";
import { Refusal } from "../../../src/lib/refusal.js";
import { Connection } from "./connection.js";
import type { Dice } from "./dice.js";
import type { Life } from "./node.js";
import type { Timeline } from "./timeline.js";

const dialTimeoutMs = 2_000;
const loopback = new Set(["127.0.0.1", "::1", "localhost"]);

interface Listener {
  readonly life: Life;
  readonly onPipe: (pipe: Pipe) => void;
}

export class Network {
  readonly connections = new Set<Connection>();
  nextConnectionId = 1;
  /** How likely an arrival is to be cut into pieces. */
  chunking = 0.25;
  private readonly listeners = new Map<string, Listener>();
  /** Names of the nodes by host: several may share one. */
  private readonly hosts = new Map<string, Set<string>>();
  private readonly cuts = new Set<string>();
  /** When each pair was cut, `untilMs` infinite while it is. */
  private readonly cutTimes = new Map<string, { readonly fromMs: number; untilMs: number }[]>();
  private nextPort = 40_000;

  constructor(
    readonly timeline: Timeline,
    readonly dice: Dice,
  ) {}

  /** How long bytes take now: mostly little, sometimes long, so that connections overtake each other. */
  readonly delayMs = (): number =>
    this.dice.chance(0.03) ? this.dice.between(5, 60) : this.dice.between(0.1, 3);

  addNode(name: string, host: string): void {
    const names = this.hosts.get(host) ?? new Set();
    this.hosts.set(host, names.add(name));
  }

  /** Cuts two nodes off from each other (both ways), or mends it. */
  setCut(a: string, b: string, cut: boolean): void {
    for (const pair of [`${a} ${b}`, `${b} ${a}`]) {
      if (cut) this.cut(pair);
      else this.mend(pair);
    }
    if (!cut) this.releaseHeld();
  }

  healAll(): void {
    for (const pair of [...this.cuts]) this.mend(pair);
    this.releaseHeld();
  }

  isCut(a: { readonly name: string }, b: { readonly name: string }): boolean {
    return this.cuts.has(`${a.name} ${b.name}`);
  }

  /** Was there a cut at some moment of that time? */
  wasCut(
    a: { readonly name: string },
    b: { readonly name: string },
    fromMs: number,
    untilMs: number,
  ): boolean {
    const times = this.cutTimes.get(`${a.name} ${b.name}`) ?? [];
    return times.some((one) => one.fromMs <= untilMs && one.untilMs >= fromMs);
  }

  private cut(pair: string): void {
    if (this.cuts.has(pair)) return;
    this.cuts.add(pair);
    const times = this.cutTimes.get(pair) ?? [];
    times.push({ fromMs: this.timeline.nowMs, untilMs: Number.POSITIVE_INFINITY });
    this.cutTimes.set(pair, times);
  }

  private mend(pair: string): void {
    const last = this.cutTimes.get(pair)?.at(-1);
    if (this.cuts.delete(pair) && last !== undefined) last.untilMs = this.timeline.nowMs;
  }

  /** Resets every connection between two nodes. */
  break(a: Life, b: Life): void {
    for (const connection of this.connections) {
      const ends = [connection.endOf(a), connection.endOf(b)];
      if (a === b || ends.includes(undefined)) continue;
      for (const end of ends) {
        this.timeline.schedule(this.dice.between(0, 5), end?.life ?? null, () => end?.reset());
      }
    }
  }

  /** The process is gone: its ports are free and its connections end. */
  crash(life: Life): void {
    for (const [place, listener] of this.listeners) {
      if (listener.life === life) this.listeners.delete(place);
    }
    for (const connection of this.connections) connection.endOf(life)?.abandon();
  }

  transport(life: Life): Transport {
    return {
      listen: (_host, ports, onPipe) =>
        new Promise((resolve) => {
          // For the dead no answer comes.
          if (!life.dead) resolve(this.listen(life, ports, onPipe));
        }),
      dial: (host, port, done) => {
        if (!life.dead) new Dial(this, life, host, port, done);
      },
    };
  }

  /** What a dial comes upon at this moment: a listener, a closed port, or silence. */
  find(from: Life, host: string, port: number): Listener | DialFailure {
    const place = loopback.has(host) ? from.host : host;
    const listener = this.listeners.get(`${place} ${port}`);
    if (listener !== undefined) {
      return this.isCut(from, listener.life) ? "unreachable" : listener;
    }
    const names = [...(this.hosts.get(place) ?? [])];
    return names.some((name) => !this.cuts.has(`${from.name} ${name}`)) ? "refused" : "unreachable";
  }

  isListening(listener: Listener): boolean {
    for (const other of this.listeners.values()) if (other === listener) return true;
    return false;
  }

  private listen(
    life: Life,
    [first, last]: readonly [number, number],
    onPipe: (pipe: Pipe) => void,
  ): PipeListener {
    for (let port = first; port <= last; port++) {
      const chosen = port === 0 ? this.nextPort++ : port;
      const place = `${life.host} ${chosen}`;
      if (this.listeners.has(place)) continue;
      const listener = { life, onPipe };
      this.listeners.set(place, listener);
      const close = (): void => {
        if (this.listeners.get(place) === listener) this.listeners.delete(place);
      };
      return { port: chosen, close };
    }
    throw new Refusal(`no free port from ${first} to ${last} on ${life.host}`);
  }

  private releaseHeld(): void {
    for (const connection of this.connections) {
      for (const flow of connection.flows) flow.release();
    }
  }
}

/** One attempt to connect. */
class Dial {
  private over = false;
  private connection: Connection | undefined;

  constructor(
    private readonly network: Network,
    private readonly life: Life,
    private readonly host: string,
    private readonly port: number,
    private readonly done: (result: Pipe | DialFailure) => void,
  ) {
    const { timeline } = network;
    timeline.schedule(network.delayMs(), null, () => this.arrive());
    timeline.schedule(dialTimeoutMs, life, () => {
      if (this.over) return;
      this.connection?.near.abandon();
      this.end("unreachable");
    });
  }

  private arrive(): void {
    const { network, life, host, port } = this;
    const found = network.find(life, host, port);
    if (life.dead || found === "unreachable") return;
    if (found === "refused") {
      network.timeline.schedule(network.delayMs(), life, () => this.end("refused"));
      return;
    }
    const ephemeral = 50_000 + network.dice.integer(10_000);
    const remotes = { near: `${host}:${port}`, far: `${life.host}:${ephemeral}` };
    this.connection = new Connection(network, life, found.life, remotes, {
      near: (pipe) => this.end(pipe),
      // One that waits to be accepted when the listener closes is reset.
      far: (pipe) => (network.isListening(found) ? found.onPipe(pipe) : pipe.destroy()),
    });
  }

  private end(result: Pipe | DialFailure): void {
    if (this.over) return;
    this.over = true;
    const { life, host, port } = this;
    const what = typeof result === "string" ? result : `pipe ${this.connection?.id}`;
    life.trace.note(`${life.name} dialled ${host}:${port}: ${what}`);
    this.done(result);
  }
}
