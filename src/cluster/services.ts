/**
 * Questions between the layers above of two nodes, as bytes: each service has a name, one who answers for it here, and
 * its own page of docs/wire.md.
 */

/** Answers a peer's question; `reply` is to be called once, at any time. */
export type Answerer = (
  peer: string,
  body: Buffer,
  reply: (body: Uint8Array | null) => void,
) => void;

export class Services {
  private readonly byName = new Map<string, Answerer>();

  /** Registers who answers for a service. */
  offer(service: string, answerer: Answerer): void {
    this.byName.set(service, answerer);
  }

  /** A peer asks; null where nobody answers for that service. */
  answer(
    peer: string,
    service: string,
    body: Uint8Array,
    reply: (body: Uint8Array | null) => void,
  ): void {
    const answerer = this.byName.get(service);
    if (answerer === undefined) reply(null);
    else answerer(peer, Buffer.from(body.buffer, body.byteOffset, body.byteLength), reply);
  }
}
