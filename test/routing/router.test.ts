/** The router between its subscribers and a cluster that the test plays: who gets what, and who waits for whom. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterPort, Receipt } from "../../src/cluster/ports.js";
import { forwardHeaderBytes, WireError } from "../../src/cluster/wire/frames.js";
import { realClock } from "../../src/lib/clock.js";
import type { Qos } from "../../src/protocol/publish.js";
import { ReasonCode } from "../../src/protocol/reason-codes.js";
import { decodeForward, encodeForward } from "../../src/routing/forward.js";
import { Message } from "../../src/routing/message.js";
import { deliveryQos, Router } from "../../src/routing/router.js";
import type { SubscriptionOptions } from "../../src/routing/targets.js";
import { TopicTable } from "../../src/routing/topic.js";
import { replacePeerRows } from "./recording-cluster.js";
import { FakeSubscriber } from "../sim/fakes.js";

interface Sent {
  readonly peer: number;
  readonly counter: number;
  readonly durable: boolean;
  readonly message: Message;
  readonly receipt: Receipt | null;
}

/** Peers 1 and 2; nothing leaves this process. */
class PlayedCluster implements ClusterPort {
  readonly sent: Sent[] = [];
  readonly rows = new Map<string, number>();
  readonly accepted: string[] = [];
  readonly told: number[] = [];
  room = true;
  down = false;
  slow = false;
  private counter = 0;
  private stamp = 1000;

  nextCounter(): number {
    return ++this.counter;
  }
  nextStamp(): number {
    return ++this.stamp;
  }
  observeStamp(stamp: number): void {
    this.stamp = Math.max(this.stamp, stamp);
  }
  send(peer: number, frame: Buffer): boolean {
    if (this.slow) return false;
    this.sent.push({ peer, counter: 0, durable: false, message: read(frame), receipt: null });
    return true;
  }
  sendNumbered(
    peer: number,
    counter: number,
    frame: Buffer,
    durable: boolean,
    receipt: Receipt,
  ): boolean {
    this.sent.push({ peer, counter, durable, message: read(frame), receipt });
    return !this.down;
  }
  sendPart(): boolean {
    assert.fail("no message here is as it came from a connection");
  }
  hasRoom(): boolean {
    return this.room;
  }
  livePeers(): readonly number[] {
    return [1, 2];
  }
  setRow(key: string, value: number): void {
    if (value === 0) this.rows.delete(key);
    else this.rows.set(key, value);
  }
  whenSynced(done: () => void): void {
    done();
  }
  tell(peer: number): void {
    this.told.push(peer);
  }
  nameOf(peer: number): string {
    return `p${peer}@h`;
  }
  tellBacklog(): number {
    return 0;
  }
  forwardAccepted(peer: number, incarnation: number, counter: number): void {
    this.accepted.push(`${peer} ${incarnation} ${counter}`);
  }
}

const read = (frame: Buffer): Message =>
  decodeForward(new TopicTable(), frame, forwardHeaderBytes, frame.length, realClock);
const plain: SubscriptionOptions = {
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  subscriptionId: 0,
};

class Scene {
  readonly cluster = new PlayedCluster();
  readonly router = new Router(
    this.cluster,
    { messages: 2, bytes: 1000, forgetAfterMs: 1000, ttlMs: 0 },
    realClock,
  );
  readonly accepted: Message[] = [];

  subscribe(
    clientId: string,
    filter: string,
    options: Partial<SubscriptionOptions> = {},
    durable = false,
  ) {
    const subscriber = new FakeSubscriber(clientId);
    this.router.subscribe(subscriber, filter, { ...plain, ...options }, durable);
    return subscriber;
  }

  message(topic: string, payload: string, qos: Qos, retain = false, publisher = "p"): Message {
    const bytes = Buffer.from(payload);
    const interned = this.router.topics.internName(topic);
    return new Message(interned, qos, retain, publisher, bytes, 0, 0, 0, bytes.length);
  }

  publish(topic: string, payload: string, qos: Qos, retain = false): Message {
    const message = this.message(topic, payload, qos, retain);
    message.sink = {
      onAccepted: (accepted) => void this.accepted.push(accepted),
      tellsRefusal: message.qos > 0,
    };
    this.router.publish(message);
    return message;
  }

  /** A forward from peer 1 of its incarnation 50. */
  receive(topic: string, payload: string, counter: number, retain = false): boolean {
    const bytes = Buffer.alloc(200);
    const message = this.message(topic, payload, counter === 0 ? 0 : 1, retain, "far");
    message.stamp = retain ? 5000 : 0;
    const body = encodeForward(message, message.qos, realClock).subarray(forwardHeaderBytes);
    body.copy(bytes, 10);
    return this.router.onForward(1, 50, counter, bytes, 10, 10 + body.length);
  }

  get sentWords(): string[] {
    return this.cluster.sent.map(
      ({ peer, counter, message }) =>
        `${peer} ${counter === 0 ? "plain" : "numbered"} ${message.qos}`,
    );
  }
}

test("no subscriber: nothing is sent, and it is said so", () => {
  const scene = new Scene();
  const message = scene.publish("t", "x", 1);
  assert.deepEqual([message.matched, message.pending, scene.cluster.sent.length], [0, 0, 0]);
  assert.equal(scene.router.counters.unmatched, 1);
});

test("each peer that subscribed gets one copy, at the QoS that its subscribers can use", () => {
  const scene = new Scene();
  scene.router.setPeerRow(1, "t/#", 8 + 2);
  scene.router.setPeerRow(1, "t/a", 8 + 4 + 1);
  scene.router.setPeerRow(2, "t/+", 8);
  const message = scene.publish("t/a", "x", 2);
  assert.deepEqual(scene.sentWords.sort(), ["1 numbered 2", "2 plain 0"]);
  const [first] = scene.cluster.sent.filter(({ peer }) => peer === 1);
  assert.ok(first?.durable);
  assert.deepEqual([message.matched, message.pending], [2, 1]);
  first.receipt?.accept();
  assert.deepEqual(scene.accepted, [message]);
});

test("a row with value 0 is gone; an impossible value is refused", () => {
  const scene = new Scene();
  assert.equal(scene.router.setPeerRow(1, "t", 9), 0);
  assert.equal(scene.router.setPeerRow(1, "t", 0), 9);
  assert.equal(scene.publish("t", "x", 1).matched, 0);
  for (const value of [1, 7, 11, 15, 16, -8, 8.5, Number.NaN]) {
    assert.throws(() => scene.router.setPeerRow(1, "t", value), WireError);
  }
});

test("a snapshot replaces all rows of that peer and of no other", () => {
  const scene = new Scene();
  for (const peer of [1, 2])
    for (const filter of ["a", "b/+"]) scene.router.setPeerRow(peer, filter, 9);
  replacePeerRows(
    scene.router,
    1,
    new Map([
      ["b/+", 10],
      ["c", 8],
    ]),
  );
  assert.deepEqual(Object.fromEntries(scene.router.index.peerRows(1)), { "b/+": 10, c: 8 });
  assert.deepEqual(Object.fromEntries(scene.router.index.peerRows(2)), { a: 9, "b/+": 9 });
});

test("numbers grow by one with every QoS 1 or 2 publish, wherever it goes", () => {
  const scene = new Scene();
  scene.router.setPeerRow(1, "t", 9);
  for (const [topic, qos] of [
    ["t", 1],
    ["u", 1],
    ["t", 0],
    ["t", 2],
  ] as const) {
    scene.publish(topic, "x", qos);
  }
  assert.deepEqual(
    scene.cluster.sent.map(({ counter }) => counter),
    [1, 0, 3],
  );
});

test("accepted means by all: here, and at every peer that has to say so", () => {
  const scene = new Scene();
  const slow = scene.subscribe("slow", "t");
  scene.subscribe("fast", "t");
  slow.accepting = false;
  for (const peer of [1, 2]) scene.router.setPeerRow(peer, "t", 9);
  const message = scene.publish("t", "x", 1);
  assert.deepEqual([message.matched, message.pending], [4, 3]);
  for (const { receipt } of scene.cluster.sent) receipt?.accept();
  assert.deepEqual(scene.accepted, []);
  slow.acceptAll();
  assert.deepEqual(scene.accepted, [message]);
});

test("a peer that is down is nobody to wait for", () => {
  const scene = new Scene();
  scene.cluster.down = true;
  scene.router.setPeerRow(1, "t", 13);
  const message = scene.publish("t", "x", 1);
  assert.deepEqual([message.matched, message.pending], [1, 0]);
});

test("no room in an outbox: refused before anybody gets it", () => {
  const scene = new Scene();
  scene.cluster.room = false;
  const here = scene.subscribe("here", "#");
  scene.router.setPeerRow(1, "durable", 13);
  scene.router.setPeerRow(1, "not", 9);
  const refused = scene.publish("durable", "x", 1);
  assert.deepEqual([refused.refused, refused.pending], [ReasonCode.QuotaExceeded, 0]);
  assert.deepEqual([here.received.length, scene.cluster.sent.length], [0, 0]);
  assert.equal(scene.publish("not", "x", 1).refused, 0);
  assert.equal(scene.publish("durable", "x", 0).refused, 0);
});

test("not to the publisher itself where it asked so [MQTT-3.8.3-3]", () => {
  const scene = new Scene();
  const own = scene.subscribe("p", "t", { noLocal: true });
  const other = scene.subscribe("q", "t", { noLocal: true });
  scene.publish("t", "x", 1);
  assert.deepEqual([own.received.length, other.received.length], [0, 1]);
});

test("rows follow the subscriptions: highest QoS, durable, gone with the last", () => {
  const scene = new Scene();
  const one = scene.subscribe("one", "t", { qos: 0 }, true);
  assert.deepEqual([...scene.cluster.rows], [["t", 8]]);
  const two = scene.subscribe("two", "t", { qos: 2 }, true);
  assert.deepEqual([...scene.cluster.rows], [["t", 14]]);
  assert.ok(scene.router.unsubscribe(two, "t"));
  assert.deepEqual([...scene.cluster.rows], [["t", 8]]);
  assert.ok(!scene.router.unsubscribe(two, "t"));
  assert.ok(scene.router.unsubscribe(one, "t"));
  assert.deepEqual([...scene.cluster.rows], []);
});

test("a match is remembered until a route changes that may concern the topic", () => {
  const scene = new Scene();
  const topic = scene.router.topics.internName("t");
  const first = scene.subscribe("first", "t");
  const before = scene.router.targetsOf(topic);
  scene.router.setPeerRow(1, "other", 9);
  scene.router.setPeerRow(1, "+/t", 9);
  assert.equal(scene.router.targetsOf(topic), before);
  scene.router.setPeerRow(1, "+", 9);
  assert.equal(scene.router.targetsOf(topic).peers.length, 1);
  assert.ok(scene.router.unsubscribe(first, "t"));
  scene.subscribe("s", "t");
  assert.equal(scene.router.targetsOf(topic).local.length, 1);
});

test("a forward goes to our own subscribers alone: one hop", () => {
  const scene = new Scene();
  const here = scene.subscribe("here", "t");
  scene.router.setPeerRow(2, "t", 9);
  assert.ok(scene.receive("t", "from afar", 7));
  assert.deepEqual(here.payloads, ["from afar"]);
  assert.deepEqual(scene.cluster.sent, []);
});

test("a forward that has to wait is accepted later, under its number", () => {
  const scene = new Scene();
  const slow = scene.subscribe("slow", "t");
  slow.accepting = false;
  assert.ok(!scene.receive("t", "x", 7));
  assert.ok(!scene.receive("t", "y", 8));
  slow.acceptAll();
  assert.deepEqual(scene.cluster.accepted, ["1 50 7", "1 50 8"]);
  assert.ok(scene.receive("nobody", "z", 9));
});

test("bytes that make no sense are counted, and accepted: they would come again for ever", () => {
  const scene = new Scene();
  assert.ok(scene.router.onForward(1, 50, 3, Buffer.from("nonsense"), 0, 8));
  scene.router.onTold(1, Buffer.from("nonsense"));
  assert.equal(scene.router.counters.undecodable, 2);
});

test("a delivery that makes one publish at once: the first keeps its place and its number", () => {
  const scene = new Scene();
  scene.router.setPeerRow(1, "#", 9);
  scene.router.subscribe(
    {
      clientId: "chatty",
      deliver: () => {
        scene.publish("will", "second", 1);
        return true;
      },
    },
    "t",
    plain,
    false,
  );
  scene.publish("t", "first", 1);
  assert.deepEqual(
    scene.cluster.sent.map(({ counter, message }) => `${counter} ${message.topic.name}`),
    ["1 t", "2 will"],
  );
});

test("a retained message goes to every live peer, and says so to nobody twice", () => {
  const scene = new Scene();
  scene.router.setPeerRow(2, "t", 13);
  const message = scene.publish("t", "x", 1, true);
  assert.deepEqual(scene.sentWords.sort(), ["1 numbered 1", "2 numbered 1"]);
  assert.deepEqual(scene.cluster.sent.map(({ durable }) => durable).sort(), [false, true]);
  assert.equal(message.pending, 2);
  assert.ok(
    scene.cluster.sent.every(({ message: sent }) => sent.retain && sent.stamp === message.stamp),
  );
  assert.deepEqual([...scene.router.retained.matching("#")].length, 1);
});

test("a peer that was too slow for a retained QoS 0 is asked later what it lacks", () => {
  const scene = new Scene();
  scene.cluster.slow = true;
  scene.publish("t", "x", 0, true);
  scene.router.onPeerReady(1);
  scene.router.onPeerReady(1);
  assert.deepEqual(scene.cluster.told, [1]);
});

test("when a peer goes down, what the others have of it is compared: it may have told only some", () => {
  const scene = new Scene();
  scene.router.onPeerState(3, "down");
  assert.deepEqual(scene.cluster.told, [1, 1, 2, 2]);
});

test("with the store full a retained message is refused at QoS 1, at QoS 0 delivered and not kept", () => {
  const scene = new Scene();
  const here = scene.subscribe("here", "#");
  for (const topic of ["a", "b"]) scene.publish(topic, "x", 1, true);
  assert.equal(scene.publish("c", "refused", 1, true).refused, ReasonCode.QuotaExceeded);
  scene.publish("d", "passes", 0, true);
  assert.deepEqual(here.payloads, ["x", "x", "passes"]);
  assert.equal(scene.router.retained.size, 2);
});

test("a retained forward is stored and delivered, an older one delivered alone", () => {
  const scene = new Scene();
  const here = scene.subscribe("here", "t");
  scene.receive("t", "stored", 1, true);
  assert.equal(scene.router.retained.get("t")?.stamp, 5000);
  const later = scene.publish("t", "ours", 1, true);
  assert.ok(later.stamp > 5000, "a stamp from a peer is taken note of");
  scene.receive("t", "late", 2, true);
  assert.equal(scene.router.retained.get("t")?.stamp, later.stamp);
  assert.deepEqual(here.payloads, ["stored", "ours", "late"]);
});

test("a delivery leaves at the lower of both QoS", () => {
  const scene = new Scene();
  for (const [publish, granted, expected] of [
    [0, 2, 0],
    [2, 1, 1],
    [1, 2, 1],
    [2, 2, 2],
  ] as const) {
    scene.subscribe("s", "t", { qos: granted });
    const message = scene.message("t", "x", publish);
    const [delivery] = scene.router.targetsOf(message.topic).local.slice(-1);
    assert.ok(delivery !== undefined);
    assert.equal(deliveryQos(message, delivery), expected);
  }
});
