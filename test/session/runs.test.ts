/** Runs of publishes that a peer says are alike: clients get what they get when each comes by itself. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { StreamReceiver } from "../../src/cluster/stream-receiver.js";
import { seededRandom } from "../../src/lib/random.js";
import {
  headerBytes,
  publishRemaining,
  type Qos,
  writePublishHead,
} from "../../src/protocol/publish.js";
import { headOf } from "../../src/routing/forwards.js";
import { Publisher } from "../../src/routing/message.js";
import { testBroker, type TestBroker } from "../support/front-end.js";
import { type ConnectOptions, eventually, MqttClient } from "../support/mqtt-client.js";

const incarnation = 7;
const peer = 1;
const none = Buffer.alloc(0);

/** A node that gets forwards from a peer, and its clients. */
interface Node {
  readonly broker: TestBroker;
  readonly receiver: StreamReceiver;
  readonly clients: Map<string, MqttClient>;
}

interface Batch {
  readonly version: 4 | 5;
  readonly qos: Qos;
  readonly topic: string;
  readonly sizes: readonly number[];
}

const kinds: {
  name: string;
  qos: 0 | 1 | 2;
  options: ConnectOptions;
  id?: number;
  nl?: boolean;
}[] = [
  { name: "plain-0", qos: 0, options: {} },
  { name: "plain-1", qos: 1, options: {} },
  { name: "plain-2", qos: 2, options: {} },
  { name: "five", qos: 2, options: { version: 5 } },
  { name: "few", qos: 1, options: { version: 5, properties: { receiveMaximum: 7 } } },
  { name: "small", qos: 1, options: { version: 5, properties: { maximumPacketSize: 80 } } },
  { name: "aliases", qos: 1, options: { version: 5, properties: { topicAliasMaximum: 5 } } },
  { name: "kept", qos: 1, options: { clean: false } },
  { name: "numbered", qos: 1, options: { version: 5 }, id: 9 },
  { name: "publisher", qos: 1, options: { version: 5 }, nl: true },
];

async function node(t: TestContext): Promise<Node> {
  const broker = await testBroker(t);
  const clients = new Map<string, MqttClient>();
  for (const { name, qos, options, id, nl } of kinds) {
    const client = await MqttClient.connect(t, broker.port, { clientId: name, ...options });
    await client.subscribe("a/#", qos, {
      ...(id === undefined ? {} : { id }),
      ...(nl === undefined ? {} : { nl }),
    });
    clients.set(name, client);
  }
  return { broker, receiver: new StreamReceiver(), clients };
}

function publish({ version, qos, topic }: Batch, size: number, fill: number): Buffer {
  const name = Buffer.from(topic);
  const remaining = publishRemaining(name.length, qos, version, 0, null, size);
  const out = Buffer.alloc(headerBytes(remaining) + remaining, fill);
  const first = 0x30 | (qos << 1);
  const id = qos === 0 ? 0 : 5;
  writePublishHead(out, 0, first, remaining, name, id, version, none, 0, 0, null);
  return out;
}

/** Hands a body of FORWARDS to the node's router. */
function forward(to: Node, batch: Batch, counter: number, alike: boolean): void {
  const from = new Publisher("publisher", "", batch.version);
  const packets = batch.sizes.map((size, index) => publish(batch, size, index));
  const bytes = Buffer.concat([headOf(from), ...packets]);
  const number = batch.qos === 0 ? 0 : counter;
  const { router } = to.broker;
  const count = packets.length;
  const end = bytes.length;
  router.onForwards(peer, incarnation, number, count, alike, bytes, 0, end, to.receiver);
}

/** What each client has got, once nothing more comes. */
async function got({ clients }: Node): Promise<Record<string, unknown>> {
  const all: Record<string, unknown> = {};
  for (const [name, client] of clients) {
    client.raw([0xc0, 0x00]);
    await eventually(() => client.packets.some(({ cmd }) => cmd === "pingresp"), name);
    all[name] = client.packets.splice(0).map((packet) => {
      if (packet.cmd === "publish" && packet.qos === 1) client.ack("puback", packet.messageId ?? 0);
      return JSON.stringify(packet);
    });
  }
  return all;
}

test("clients get from a run what they get from its publishes one by one", async (t) => {
  const [together, alone] = [await node(t), await node(t)];
  const random = seededRandom(3);
  let counter = 1;
  for (let round = 0; round < 12; round++) {
    const many = 1 + Math.floor(random.fraction() * 20);
    const batch: Batch = {
      version: random.fraction() < 0.5 ? 4 : 5,
      qos: ([0, 1, 2] as const)[round % 3] ?? 0,
      topic: round % 2 === 0 ? "a/b" : "a/c",
      sizes: Array.from({ length: many }, () => Math.floor(random.fraction() * 100)),
    };
    forward(together, batch, counter, true);
    forward(alone, batch, counter, false);
    if (batch.qos > 0) counter += many;
    assert.deepEqual(await got(together), await got(alone), `round ${round}`);
    assert.equal(together.receiver.accepted, alone.receiver.accepted);
  }
  const { counters } = together.broker.router;
  assert.deepEqual(counters, alone.broker.router.counters);
  const { sentQos0, sentQos1, sentQos2 } = together.broker.frontEnd.sessions.counters;
  assert.ok(sentQos0 > 0 && sentQos1 > 0 && sentQos2 > 0);
  const others = alone.broker.frontEnd.sessions.counters;
  assert.deepEqual(
    [sentQos0, sentQos1, sentQos2],
    [others.sentQos0, others.sentQos1, others.sentQos2],
  );
});

test("packet ids go round within a run", async (t) => {
  const broker = await testBroker(t);
  const client = await MqttClient.connect(t, broker.port, { clientId: "c" });
  await client.subscribe("a/#", 1);
  const to: Node = { broker, receiver: new StreamReceiver(), clients: new Map([["c", client]]) };
  const batch = {
    version: 4,
    qos: 1,
    topic: "a/b",
    sizes: new Array<number>(1000).fill(1),
  } as const;
  const ids: number[] = [];
  for (let round = 0; round < 66; round++) {
    forward(to, batch, 1 + round * 1000, true);
    await eventually(() => client.packets.length === 1000, "a run");
    for (const packet of client.packets.splice(0)) {
      if (packet.cmd !== "publish") continue;
      ids.push(packet.messageId ?? 0);
      client.ack("puback", packet.messageId ?? 0);
    }
    await client.quiet();
  }
  assert.deepEqual(
    ids,
    ids.map((_, index) => (index % 65_535) + 1),
  );
});

test("a repeat of a run, whole or in part, is dropped", async (t) => {
  const to = await node(t);
  const batch = { version: 4, qos: 1, topic: "a/b", sizes: [1, 2, 3, 4] } as const;
  forward(to, batch, 10, true);
  forward(to, batch, 10, true);
  forward(to, batch, 12, true);
  assert.equal(to.receiver.accepted, 15);
  assert.equal(to.receiver.counters.duplicates, 6);
  const { "plain-1": plain } = await got(to);
  assert.equal(Array.isArray(plain) && plain.length, 4 + 2 + 1);
});
