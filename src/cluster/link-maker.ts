/**
 * Makes a link out of two proved connections (docs/wire.md, "Link"). Both nodes of a pair dial; the one
 * with the lower name decides which control connection counts, so that the pair ends with one link.
 */
import type { Timer } from "../lib/clock.js";
import { type ClusterContext, noToken } from "./context.js";
import { type DialResult, type DialTarget, dialProved } from "./dial.js";
import { type Identity, Purpose } from "./handshake.js";
import { Link } from "./link.js";
import { FrameType, WireError } from "./wire/frames.js";
import { decode, encode } from "./wire/messages.js";
import type { Wire } from "./wire/wire.js";

export interface LinkMakerHost {
  /** Is there a link to this very incarnation, on which something was heard just now? */
  hasFreshLink(peer: Identity): boolean;
  onLink(link: Link): void;
}

/** A control connection that waits for its data connection. */
interface HalfLink {
  readonly peer: Identity;
  readonly control: Wire;
  readonly timer: Timer;
}

/** A data connection that came before the ACTIVATE which announces it: they travel apart. */
interface EarlyData {
  readonly peer: Identity;
  readonly data: Wire;
  readonly timer: Timer;
}

/** How long ACTIVATE and the data connection may take. */
const completeTimeoutMs = 5_000;

export class LinkMaker {
  /** By token, hexadecimal. */
  private readonly halves = new Map<string, HalfLink>();
  private readonly early = new Map<string, EarlyData>();

  constructor(
    private readonly context: ClusterContext,
    private readonly host: LinkMakerHost,
  ) {}

  /** A proved control connection. `dialled`: where we dialled it; null: the peer did. */
  onControl(wire: Wire, peer: Identity, dialled: DialTarget | null): void {
    if (this.context.name < peer.name) this.decide(wire, peer, dialled);
    else this.await(wire, peer, dialled);
  }

  /** A proved data connection that a peer dialled. */
  onData(wire: Wire, peer: Identity): void {
    const key = peer.token.toString("hex");
    const half = this.takeHalf(key);
    if (half === undefined) this.keepEarly(key, wire, peer);
    else this.join(half, wire, peer);
  }

  close(): void {
    for (const key of [...this.halves.keys()]) this.takeHalf(key)?.control.destroy();
    for (const key of [...this.early.keys()]) this.takeEarly(key)?.data.destroy();
  }

  private join(half: HalfLink, data: Wire, peer: Identity): void {
    if (half.peer.name === peer.name && half.peer.incarnation === peer.incarnation) {
      this.complete(half.control, data, half.peer);
      return;
    }
    half.control.destroy();
    data.destroy();
  }

  private decide(wire: Wire, peer: Identity, dialled: DialTarget | null): void {
    const underway = [...this.halves.values()].some(
      (half) => half.peer.name === peer.name && half.peer.incarnation === peer.incarnation,
    );
    if (underway || this.host.hasFreshLink(peer)) {
      // The dialler hears that it is let in first: a dial in vain would say that there is nobody to wait for.
      wire.close();
      return;
    }
    const token = Buffer.from(this.context.random.bytes(noToken.length));
    this.keepHalf(token, wire, peer);
    wire.send(encode("activate", { token }));
    if (dialled !== null) this.dialData(token, dialled);
  }

  private await(wire: Wire, peer: Identity, dialled: DialTarget | null): void {
    const timer = this.context.clock.setTimer(completeTimeoutMs, () => wire.destroy());
    wire.onClose = () => this.context.clock.clearTimer(timer);
    wire.listen((type, bytes, start, end) => {
      if (type !== FrameType.activate) throw new WireError("a frame before ACTIVATE");
      const token = Buffer.from(decode("activate", bytes, start, end).token);
      if (token.length !== noToken.length) throw new WireError("token of a wrong length");
      this.context.clock.clearTimer(timer);
      wire.listen(null);
      this.keepHalf(token, wire, peer);
      if (dialled !== null) this.dialData(token, dialled);
      else this.takeUpEarly(token.toString("hex"));
    });
  }

  private takeUpEarly(key: string): void {
    const early = this.takeEarly(key);
    if (early !== undefined) this.onData(early.data, early.peer);
  }

  private keepHalf(token: Buffer, control: Wire, peer: Identity): void {
    const key = token.toString("hex");
    const fail = (): void => {
      if (this.takeHalf(key) === undefined) return;
      control.destroy();
    };
    const timer = this.context.clock.setTimer(completeTimeoutMs, fail);
    control.onClose = fail;
    this.halves.set(key, { peer, control, timer });
  }

  private takeHalf(key: string): HalfLink | undefined {
    const half = this.halves.get(key);
    if (half === undefined) return undefined;
    this.halves.delete(key);
    this.context.clock.clearTimer(half.timer);
    half.control.onClose = () => undefined;
    return half;
  }

  private keepEarly(key: string, data: Wire, peer: Identity): void {
    const fail = (): void => this.takeEarly(key)?.data.destroy();
    fail();
    const timer = this.context.clock.setTimer(completeTimeoutMs, fail);
    data.onClose = fail;
    this.early.set(key, { peer, data, timer });
  }

  private takeEarly(key: string): EarlyData | undefined {
    const early = this.early.get(key);
    if (early === undefined) return undefined;
    this.early.delete(key);
    this.context.clock.clearTimer(early.timer);
    early.data.onClose = () => undefined;
    return early;
  }

  private dialData(token: Buffer, target: DialTarget): void {
    const done = (result: DialResult): void => {
      const half = this.takeHalf(token.toString("hex"));
      if (result.kind === "proved" && half !== undefined) {
        this.join(half, result.wire, result.peer);
        return;
      }
      if (result.kind === "proved") result.wire.destroy();
      half?.control.destroy();
    };
    dialProved(this.context, target, Purpose.data, done, token);
  }

  private complete(control: Wire, data: Wire, peer: Identity): void {
    this.host.onLink(new Link(peer, control, data, this.context.clock));
  }
}
