/**
 * Where the numbers come from under which messages are remembered by those who took them (`Message.origin`): the stream
 * of a peer, or what a node commits before it publishes it. What comes again after a crash has its old number.
 */
import type { Message, Origin } from "./message.js";

/**
 * What is published only after it is committed: QoS 2 of persistent sessions, and wills. Of another node its name, which
 * has no "/", stands before it.
 */
export const ownOrigins: readonly string[] = ["/qos2", "/wills", "/again", "/given"];

/** What a session gives to other members of its share groups, and had come without a number. */
export const givenOrigin = "/given";

/** On a link, behind `ownOrigins`: a stream through which a message had come before it was given to another member. */
const streamKind = ownOrigins.length;

/**
 * What a dead node had committed and others publish for it, each as much as it has adopted, so in no order. It has the numbers
 * of `committedOrigin`.
 */
export const againOrigin = "/again";
export const committedOrigin = "/qos2";

/** An origin of a name, as it is known at this node. */
export function originOf(name: string, incarnation: number): Origin {
  return name.endsWith(againOrigin) ? { name, incarnation, isAgain: true } : { name, incarnation };
}

/** What an origin is on a link: place in `ownOrigins`, and the node's name, empty for the sender's own. */
export interface OriginKind {
  readonly kind: number;
  readonly node: string;
}

/** Null: the stream through which it has just come; its forwards get other numbers on another link. */
export function originKind({ name, isStream }: Origin): OriginKind | null {
  const slash = name.lastIndexOf("/");
  if (slash === -1) return isStream ? null : { kind: streamKind, node: name };
  return { kind: ownOrigins.indexOf(name.slice(slash)), node: name.slice(0, slash) };
}

/** The name of an origin, as its sender knows it; null: there is no such kind. */
export function originName({ kind, node }: OriginKind): string | null {
  if (kind === streamKind) return node === "" ? null : node;
  const own = ownOrigins[kind];
  return own === undefined ? null : node + own;
}

/** The origins of what peers forward, made once for each of their incarnations. */
export class PeerOrigins {
  private readonly byPeer: Origin[] = [];

  constructor(
    private readonly nameOf: (peer: number) => string,
    private readonly ownName: () => string,
  ) {}

  /** The stream of a peer. */
  of(peer: number, incarnation: number): Origin {
    let origin = this.byPeer[peer];
    if (origin?.incarnation !== incarnation) {
      origin = { name: this.nameOf(peer), incarnation, isStream: true };
      this.byPeer[peer] = origin;
    }
    return origin;
  }

  /** Gives a forward its origin: that of its own number, or what some node had committed it under. */
  set(message: Message, peer: number, incarnation: number, counter: number): void {
    const { origin } = message;
    if (origin !== null) {
      const name = nameHere(origin.name, this.nameOf(peer), this.ownName());
      message.origin = originOf(name, origin.incarnation);
    } else if (counter > 0) {
      message.origin = this.of(peer, incarnation);
      message.identity = counter;
    }
  }
}

/** What an origin of that name at a peer is called here: what he calls his own is his, and what is ours has no name before it. */
export function nameHere(name: string, peer: string, own: string): string {
  if (name.startsWith("/")) return peer + name;
  return name.startsWith(`${own}/`) ? name.slice(own.length) : name;
}
