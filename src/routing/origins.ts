/**
 * Where the numbers come from under which messages are remembered by those who took them (`Message.origin`): the stream
 * of a peer, or what a node commits before it publishes it. What comes again after a crash has its old number.
 */
import type { Message, Origin } from "./message.js";

/** What is published only after it is committed: QoS 2 of persistent sessions, and wills. */
export const ownOrigins: readonly string[] = ["/qos2", "/wills"];

/** The origins of what peers forward, made once for each of their incarnations. */
export class PeerOrigins {
  private readonly byPeer: Origin[] = [];

  constructor(private readonly nameOf: (peer: number) => string) {}

  /** The stream of a peer. */
  of(peer: number, incarnation: number): Origin {
    let origin = this.byPeer[peer];
    if (origin?.incarnation !== incarnation) {
      origin = { name: this.nameOf(peer), incarnation };
      this.byPeer[peer] = origin;
    }
    return origin;
  }

  /** Gives a forward its origin: that of its own number, or what its node had committed it under. */
  set(message: Message, peer: number, incarnation: number, counter: number): void {
    const { origin } = message;
    if (origin !== null) {
      message.origin = { name: this.nameOf(peer) + origin.name, incarnation: origin.incarnation };
    } else if (counter > 0) {
      message.origin = this.of(peer, incarnation);
      message.identity = counter;
    }
  }
}
