/**
 * Accepts connections on the link port. Nothing of a stranger is decoded before it has proved the
 * cookie; how many may be trying at once, and how long each may take, is limited.
 */
import type { ClusterContext } from "./context.js";
import {
  AcceptorHandshake,
  type AcceptorStep,
  type Identity,
  type PurposeCode,
  type RefuseAnswer,
} from "./handshake.js";
import type { Pipe, PipeListener } from "./transport.js";
import { Wire } from "./wire/wire.js";

export interface AcceptHost {
  /** May this proved peer come in? Null: yes. */
  admit(peer: Identity, purpose: PurposeCode): RefuseAnswer | null;
  /** It is in: the wire holds its frames until it is listened to. */
  onProved(wire: Wire, peer: Identity, purpose: PurposeCode): void;
}

const unprovedMax = 64;
const handshakeTimeoutMs = 5_000;
/** How long a wrong cookie waits for its answer. */
const tarpitMs = 1_000;

export class Acceptor {
  readonly counters = { accepted: 0, wrongCookie: 0, refused: 0, garbage: 0, tooMany: 0, late: 0 };
  private listener: PipeListener | null = null;
  private readonly unproved = new Set<Wire>();

  constructor(
    private readonly context: ClusterContext,
    private readonly host: AcceptHost,
  ) {}

  /** The link port, once `open` has resolved. */
  get port(): number {
    return this.listener?.port ?? 0;
  }

  /** Listens. Rejects when no port of the range is free. */
  async open(): Promise<void> {
    const { bind, portRange } = this.context.settings;
    this.listener = await this.context.transport.listen(bind, portRange, (pipe) => {
      this.onPipe(pipe);
    });
  }

  close(): void {
    this.listener?.close();
    for (const wire of this.unproved) wire.destroy();
  }

  private onPipe(pipe: Pipe): void {
    if (this.unproved.size >= unprovedMax) {
      this.counters.tooMany++;
      pipe.onData = () => undefined;
      pipe.onClose = () => undefined;
      pipe.destroy();
      return;
    }
    const wire = new Wire(pipe);
    this.unproved.add(wire);
    const handshake = new AcceptorHandshake(this.context.cookie, this.context.random);
    const timer = this.context.clock.setTimer(handshakeTimeoutMs, () => {
      this.counters.late++;
      wire.destroy();
    });
    const settle = (): void => {
      this.unproved.delete(wire);
      this.context.clock.clearTimer(timer);
    };
    wire.onClose = (fault) => {
      settle();
      if (fault === null) return;
      this.counters.garbage++;
      this.context.log.warn({ remote: wire.remote, fault }, "link port: closed a stranger");
    };
    wire.listen((type, bytes, start, end) => {
      const step = handshake.take(type, bytes.subarray(start, end));
      if (step.kind === "proved") settle();
      this.onStep(wire, handshake, step);
    });
  }

  private onStep(wire: Wire, handshake: AcceptorHandshake, step: AcceptorStep): void {
    const { clock, log } = this.context;
    const { remote } = wire;
    switch (step.kind) {
      case "send":
        wire.send(step.bytes);
        return;
      case "version":
        this.counters.refused++;
        log.warn({ remote, theirs: step.theirs }, "refused a node of an incompatible version");
        wire.send(step.bytes);
        wire.close();
        return;
      case "wrong-cookie":
        this.counters.wrongCookie++;
        log.warn({ remote }, "refused a node: its cookie is not ours");
        wire.listen(() => undefined);
        clock.setTimer(tarpitMs, () => {
          wire.send(step.bytes);
          wire.close();
        });
        return;
      case "proved":
        this.onProved(wire, handshake, step.peer, step.purpose);
    }
  }

  private onProved(
    wire: Wire,
    handshake: AcceptorHandshake,
    peer: Identity,
    purpose: PurposeCode,
  ): void {
    wire.onClose = () => undefined;
    wire.listen(null);
    const refused = this.host.admit(peer, purpose);
    if (refused !== null) {
      this.counters.refused++;
      this.context.log.debug({ peer: peer.name, ...refused }, "refused a node");
      wire.send(handshake.refuse(refused));
      wire.close();
      return;
    }
    this.counters.accepted++;
    wire.trust(this.context.settings.frameMax);
    wire.send(handshake.welcome(this.context.identity()));
    this.host.onProved(wire, peer, purpose);
  }
}
