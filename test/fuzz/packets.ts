/** What the fuzz runs send: proper packets of both versions, changed a little or a lot, and random bytes. */
import fc from "fast-check";
import mqttPacket from "mqtt-packet";

export interface Stream {
  readonly version: 4 | 5;
  /** Whether a proper CONNECT of that version goes first. */
  readonly connects: boolean;
  readonly packets: readonly Buffer[];
}

const will = { topic: "w/x", payload: Buffer.from("gone"), qos: 1, retain: true } as const;
const properties = {
  ...{ payloadFormatIndicator: true, messageExpiryInterval: 60, topicAlias: 1, responseTopic: "r" },
  ...{ correlationData: Buffer.of(1, 2), userProperties: { a: ["1", "2"] }, contentType: "text" },
};

const proper: readonly mqttPacket.Packet[] = [
  { cmd: "publish", topic: "a/b", payload: "x", qos: 0, dup: false, retain: true, properties },
  { cmd: "publish", topic: "a", payload: "", qos: 1, dup: true, retain: true, messageId: 3 },
  { cmd: "publish", topic: "$x/b", payload: "y", qos: 2, dup: false, retain: false, messageId: 4 },
  {
    cmd: "subscribe",
    messageId: 1,
    subscriptions: [
      { topic: "a/#", qos: 2, nl: false, rap: true, rh: 1 },
      { topic: "$share/g/+", qos: 1, nl: false, rap: false, rh: 0 },
    ],
    properties: { subscriptionIdentifier: 200, userProperties: { k: "v" } },
  },
  { cmd: "unsubscribe", messageId: 2, unsubscriptions: ["a/#", "b"] },
  { cmd: "puback", messageId: 1, reasonCode: 0 },
  { cmd: "pubrec", messageId: 1, reasonCode: 0x80, properties: { reasonString: "no" } },
  { cmd: "pubrel", messageId: 4, reasonCode: 0 },
  { cmd: "pubcomp", messageId: 2, reasonCode: 0x92 },
  { cmd: "pingreq" },
  { cmd: "disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 0 } },
];

/** A proper CONNECT. */
export function connectPacket(version: 4 | 5, clientId: string): Buffer {
  const more =
    version === 5 ? { properties: { sessionExpiryInterval: 1, topicAliasMaximum: 3 } } : {};
  return mqttPacket.generate({
    ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: version, keepalive: 0 },
    ...{ clean: true, clientId, will, ...more },
  });
}

const samples: Readonly<Record<4 | 5, readonly Buffer[]>> = { 4: samplesOf(4), 5: samplesOf(5) };

function samplesOf(version: 4 | 5): Buffer[] {
  const options = { protocolVersion: version };
  const packets = proper.map((packet) => mqttPacket.generate(packet, options));
  const auth = Buffer.from([0xf0, 0x0b, 0x18, 9, 0x15, 0, 1, 0x78, 0x16, 0, 2, 1, 2]);
  return [...packets, connectPacket(version, "fuzz"), auth];
}

/** Changes: a byte set, a byte added, bytes cut away. */
const change = fc.tuple(fc.constantFrom("set", "add", "cut"), fc.nat(), fc.nat({ max: 255 }));

function mutate(sample: Buffer, changes: readonly [string, number, number][]): Buffer {
  let bytes = Buffer.from(sample);
  for (const [how, place, value] of changes) {
    const at = bytes.length === 0 ? 0 : place % bytes.length;
    if (how === "set") bytes[at] = value;
    else if (how === "cut") bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    else bytes = Buffer.concat([bytes.subarray(0, at), Buffer.of(value), bytes.subarray(at)]);
    // Mostly the length is right: the decoder must not stop at the framing.
    if (place % 4 !== 0 && bytes.length > 1 && bytes.length < 130) bytes[1] = bytes.length - 2;
  }
  return bytes;
}

const random = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes));

/** One packet or what is left of it. */
export function packetOf(version: 4 | 5): fc.Arbitrary<Buffer> {
  const changed = fc
    .tuple(fc.constantFrom(...samples[version]), fc.array(change, { maxLength: 3 }))
    .map(([sample, changes]) => mutate(sample, changes));
  return fc.oneof({ arbitrary: changed, weight: 9 }, { arbitrary: random, weight: 1 });
}

export const streams: fc.Arbitrary<Stream> = fc.constantFrom<4 | 5>(4, 5).chain((version) =>
  fc.record({
    version: fc.constant(version),
    connects: fc.nat({ max: 9 }).map((n) => n > 0),
    packets: fc.array(packetOf(version), { minLength: 1, maxLength: 4 }),
  }),
);
