/** Framing and all decoders, on changed packets: a result or a ProtocolError, wherever the stream is cut. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { AckType, ack, decodeAck } from "../../src/protocol/acks.js";
import { isAuth, parseAuth } from "../../src/protocol/auth-packet.js";
import { FrameReader } from "../../src/protocol/framing.js";
import { parseConnect, parseControl } from "../../src/protocol/packets.js";
import { ProtocolError } from "../../src/protocol/protocol-error.js";
import { decodePublish, PublishView } from "../../src/protocol/publish.js";
import { connectVersion, typeOf } from "../../src/protocol/strict.js";
import { topicName } from "../../src/protocol/topics.js";
import { streams } from "./packets.js";

const userPropertiesMax = 20;
const ackTypes = Object.values(AckType);
const view = new PublishView();

/** What was read, as text; the reason where it was refused. */
class Reading {
  readonly found: string[] = [];
  /** No limit: a packet over it is refused as soon as that is known, which depends on the cuts. */
  private readonly reader = new FrameReader(this, Number.POSITIVE_INFINITY);

  constructor(private readonly version: number) {
    this.reader.connectOnly = false;
  }

  /** Reads chunks until one is refused. */
  read(chunks: readonly Buffer[]): string {
    try {
      for (const chunk of chunks) this.reader.push(chunk);
    } catch (error) {
      // Nothing else may be thrown.
      if (!(error instanceof ProtocolError)) throw error;
      assert.ok(error.reason >= 0x80 && error.reason <= 0xa2);
      this.found.push(`refused ${error.reason}`);
    }
    return this.found.join("\n");
  }

  onFrame(bytes: Buffer, first: number, start: number, end: number): boolean {
    this.found.push(JSON.stringify(this.decode(bytes, first, start, end)));
    return true;
  }

  private decode(bytes: Buffer, first: number, start: number, end: number): unknown {
    const { version } = this;
    const head = bytes[first] ?? 0;
    if (head >> 4 === 1) {
      const named = connectVersion(head, bytes, start, end);
      return parseConnect(bytes, first, start, end, named, userPropertiesMax);
    }
    if (head >> 4 === 3) {
      decodePublish(bytes, head, start, end, version, userPropertiesMax, view);
      const topic = topicName(bytes, view.topicStart, view.topicEnd);
      const payload = bytes.toString("hex", view.payloadStart, view.payloadEnd);
      assert.ok(view.payloadStart <= end && view.propertiesEnd <= end);
      const { qos, packetId, topicAlias, propertiesStart: from, propertiesEnd: to } = view;
      // Without properties the view's expiry means nothing.
      const expiry = from === to ? -1 : view.expirySeconds;
      return [topic, payload, qos, packetId, topicAlias, expiry];
    }
    const type = ackTypes.find((one) => one === head);
    if (type !== undefined) {
      decodeAck(type, bytes, start, end, version, userPropertiesMax);
      return [type, ack.packetId, ack.reason];
    }
    if (isAuth(head)) return parseAuth(bytes, first, start, end, version, userPropertiesMax);
    return parseControl(typeOf(head, version), bytes, start, end, version, userPropertiesMax);
  }
}

/** @throws Error with the counterexample and its seed */
export function fuzzDecoder(cases: number, seed: number): void {
  const cuts = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 8 });
  const property = fc.property(streams, cuts, ({ version, packets }, lengths) => {
    const whole = Buffer.concat(packets);
    const once = new Reading(version).read([whole]);
    const pieces = cutUp(whole, lengths);
    assert.equal(lastRefusalApart(new Reading(version).read(pieces)), lastRefusalApart(once));
  });
  fc.assert(property, { numRuns: cases, seed });
}

function cutUp(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const length of lengths) {
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return [...pieces, bytes.subarray(at)].filter((piece) => piece.length > 0);
}

/** A hopeless packet may be refused before it is whole, with the reason that is known by then. */
const lastRefusalApart = (found: string): string => found.replace(/refused \d+$/, "refused");
