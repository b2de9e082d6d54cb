/** Wills in the store: held for clients, fired once, whenever the node dies. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog } from "../../src/lib/log.js";
import type { WillPacket } from "../../src/protocol/packets.js";
import type { Qos } from "../../src/protocol/publish.js";
import { Message } from "../../src/routing/message.js";
import { TopicTable } from "../../src/routing/topic.js";
import { StoredWills } from "../../src/session/stored-wills.js";
import type { FiredWill, HeldWill, NotedWill } from "../../src/session/will-record.js";
import { Durable } from "../store/durable.js";

const topics = new TopicTable();

class Process {
  readonly wills: StoredWills;
  /** Payload and identity of what was published. */
  readonly published: string[] = [];
  readonly messages: Message[] = [];
  /** Those that it found fired, and of those what was accepted. */
  readonly found: string[] = [];
  readonly accepted: string[] = [];
  readonly noted: NotedWill[] = [];
  /** For each that was found fired: how much had been found noted of its client. */
  readonly foundFirst: number[] = [];

  constructor(
    readonly durable: Durable,
    nth: number,
    /** False: somebody has not accepted what is published. */
    accepts = true,
  ) {
    const { store, commits, clock } = durable;
    const parts = { store, commits, clock, log: createLog("error"), incarnation: () => nth };
    this.wills = new StoredWills(parts, {
      topics,
      onFound: (fired) => {
        this.found.push(inWords(fired));
        this.foundFirst.push(
          this.noted.filter((one) => one.clientId === fired.message.publisher).length,
        );
      },
      onAccepted: (fired) => this.accepted.push(inWords(fired)),
      onNoted: (noted) => this.noted.push(noted),
      publish: (message) => {
        const payload = message.bytes.toString("utf8", message.payloadStart, message.payloadEnd);
        const { origin, identity } = message;
        this.published.push(`${payload} ${origin?.name ?? ""} ${origin?.incarnation}/${identity}`);
        this.messages.push(message);
        message.pending = accepts ? 0 : 1;
      },
    });
  }

  fire(clientId: string, payload: string, qos: Qos = 1, owner = ""): Message {
    const bytes = Buffer.from(`pp${payload}`);
    const topic = topics.internName("will");
    const message = new Message(
      ...([topic, qos, false, clientId, bytes, 0, 2, 2] as const),
      bytes.length,
    );
    message.user = "user";
    this.wills.fire({ message, epoch: 1, owner });
    return message;
  }
}

const inWords = ({ message, epoch, owner }: FiredWill): string =>
  `${message.publisher} ${epoch} ${owner}`;

function held(clientId: string, dueAt = 0): HeldWill {
  const will: WillPacket = {
    topic: "will",
    payload: Buffer.from("gone"),
    qos: 2,
    retain: true,
    payloadIsText: true,
    properties: Buffer.from([1, 1]),
    delaySeconds: 5,
    expirySeconds: undefined,
  };
  const rules = [{ allow: true, action: "publish", filter: "will" }] as const;
  return { clientId, user: "user", rules, will, dueAt, epoch: 1, expiryMs: 7000 };
}

test("a will that is held is found again whole, and not when it was dropped", async () => {
  const durable = new Durable();
  const { wills } = new Process(durable, 1);
  const long = "long".repeat(1000);
  for (const id of ["a", "b", long]) wills.hold(held(id));
  wills.hold(held("a", 1234));
  await durable.settled();
  wills.drop("b", 1);
  wills.drop("never seen", 1);
  await durable.settled();
  durable.crash();
  const found = await new Process(durable, 2).wills.load();
  const byId = (one: HeldWill, other: HeldWill): number => (one.clientId < other.clientId ? -1 : 1);
  assert.deepEqual(found.sort(byId), [held("a", 1234), held(long)]);
});

test("a will is published when it is committed as fired, and forgotten when all have accepted it", async () => {
  const durable = new Durable();
  const first = new Process(durable, 7);
  first.wills.hold(held("a"));
  await durable.settled();
  durable.store.closeGate();
  const message = first.fire("a", "gone");
  await durable.clock.turn();
  assert.deepEqual(first.published, []);
  assert.equal(message.pending, 1);
  durable.store.openGate();
  await durable.settled();
  assert.deepEqual(first.published, ["gone /wills 7/1"]);
  await durable.settled();
  assert.deepEqual(await durable.store.partitions("will/"), []);
  assert.equal(first.wills.firing, 0);
});

test("killed while it fires, at any point: it is published once, or again under its identity", async () => {
  for (const point of ["before the commit", "under way", "published"]) {
    const durable = new Durable();
    const first = new Process(durable, 1, false);
    first.wills.hold(held("a"));
    await durable.settled();
    if (point === "under way") durable.store.closeGate();
    first.fire("a", "gone");
    if (point !== "before the commit") await durable.clock.turn();
    if (point === "published") await durable.settled();
    durable.crash();
    await durable.clock.turn();
    const second = new Process(durable, 2);
    const found = await second.wills.load();
    if (point === "published") {
      // Of a client that is connected elsewhere: it does not overtake.
      second.fire("b", "new");
      await durable.settled();
      assert.deepEqual(second.published, []);
    }
    second.wills.publishRecovered();
    await durable.settled();
    if (point === "before the commit") {
      assert.deepEqual(found, [held("a")], "it is due again");
      assert.deepEqual([first.published, second.published], [[], []]);
      continue;
    }
    assert.deepEqual(found, [], point);
    const newer = point === "published" ? ["new /wills 2/1"] : [];
    assert.deepEqual(second.published, ["gone /wills 1/1", ...newer], point);
    assert.deepEqual(await durable.store.partitions("will/"), [], point);
  }
});

test("wills are published in the order of their identities, after a crash too", async () => {
  const durable = new Durable();
  const first = new Process(durable, 1, false);
  for (let i = 0; i < 20; i++) first.fire(`c${i}`, `${i}`);
  await durable.settled();
  durable.crash();
  const second = new Process(durable, 2);
  await second.wills.load();
  // Of a node that is dead: whoever takes it takes none of an earlier process any more.
  second.fire("other", "younger");
  await durable.settled();
  second.wills.publishRecovered();
  assert.deepEqual([...first.published, "younger /wills 2/1"], second.published);
  assert.equal(second.published.length, 21);
  assert.equal(second.wills.counters.firedAgain, 20);
  assert.equal(second.messages[0]?.user, "user");
});

test("a will of QoS 0 is published once at most", async () => {
  const durable = new Durable();
  const first = new Process(durable, 1);
  first.wills.hold(held("a"));
  first.fire("a", "gone", 0);
  assert.deepEqual(first.published, []);
  await durable.settled();
  assert.equal(first.published.length, 1);
  durable.crash();
  const second = new Process(durable, 2);
  assert.deepEqual(await second.wills.load(), []);
  second.wills.publishRecovered();
  assert.deepEqual(second.published, []);
});

test("the will of the next connection stays when the one before is accepted late", async () => {
  const durable = new Durable();
  const first = new Process(durable, 1, false);
  first.wills.hold(held("a"));
  first.fire("a", "gone");
  first.wills.hold(held("a"));
  await durable.settled();
  const [message] = first.messages;
  assert.ok(message !== undefined);
  message.accept();
  await durable.settled();
  durable.crash();
  const second = new Process(durable, 2);
  assert.deepEqual(await second.wills.load(), [held("a")]);
  second.wills.publishRecovered();
  assert.deepEqual(second.published, []);
});

test("what is known of other nodes' wills is found again, after what was fired of them, until it is forgotten", async () => {
  const durable = new Durable();
  const first = new Process(durable, 1, false);
  const settled = { owner: "n2@h", clientId: "a", epoch: 1, by: "", process: 0 };
  const begun = { owner: "n2@h", clientId: "long".repeat(100), epoch: 7, by: "n3@h", process: 5 };
  const left = { owner: "n2@h", clientId: "a", epoch: 9, by: "n2@h", process: 3 };
  for (const noted of [settled, begun, left, { ...settled, epoch: 2 }]) first.wills.note(noted);
  first.wills.hold(held("a"));
  first.fire("a", "gone", 1, "n2@h");
  await durable.settled();
  first.wills.forgetNote({ ...settled, epoch: 2 });
  await durable.settled();
  durable.crash();
  const second = new Process(durable, 2, false);
  await second.wills.load();
  const byEpoch = second.noted.sort((one, other) => one.epoch - other.epoch);
  assert.deepEqual([byEpoch, second.found], [[settled, begun, left], ["a 1 n2@h"]]);
  assert.deepEqual(second.foundFirst, [0], "what was fired comes before what is noted of it");
});

test("one will of a client is not held in place of a younger one", async () => {
  const durable = new Durable();
  const first = new Process(durable, 1);
  const younger = { ...held("a"), epoch: 2 };
  first.wills.hold(younger);
  first.wills.hold(held("a"));
  await durable.settled();
  durable.crash();
  assert.deepEqual(await new Process(durable, 2).wills.load(), [younger]);
});

test("damaged records are left out and counted", async () => {
  const durable = new Durable();
  const first = new Process(durable, 1, false);
  first.wills.hold(held("a"));
  first.fire("b", "gone");
  await durable.settled();
  for (const partition of await durable.store.partitions("will/")) {
    for (const [key, value] of await durable.store.read(partition)) {
      const damaged = value.subarray(0, value.length - 2);
      await durable.store.write([
        { partition, operations: [{ kind: "put", key, value: damaged }] },
      ]);
    }
  }
  durable.crash();
  const second = new Process(durable, 2);
  assert.deepEqual(await second.wills.load(), []);
  second.wills.publishRecovered();
  assert.deepEqual(second.published, []);
  assert.equal(second.wills.counters.damaged, 2);
});

test("for whom a will was fired is known after a crash, and when all have accepted it", async () => {
  const durable = new Durable();
  new Process(durable, 1, false).fire("a", "gone", 2, "n2@h");
  await durable.settled();
  durable.crash();
  await durable.clock.turn();
  const second = new Process(durable, 2, false);
  await second.wills.load();
  assert.deepEqual([second.found, second.accepted], [["a 1 n2@h"], []]);
  second.wills.publishRecovered();
  await durable.settled();
  assert.deepEqual(second.accepted, []);
  const [message] = second.messages;
  assert.ok(message !== undefined);
  message.pending = 0;
  message.sink?.onAccepted(message);
  assert.deepEqual(second.accepted, ["a 1 n2@h"]);
});
