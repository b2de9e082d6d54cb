/** Strangers and broken peers on the link port: they are closed and counted, and the node stays up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AcceptorHandshake,
  DialerHandshake,
  type Identity,
  Purpose,
  type PurposeCode,
} from "../../src/cluster/handshake.js";
import type { Pipe } from "../../src/cluster/transport.js";
import { frame, FrameReader, FrameType } from "../../src/cluster/wire/frames.js";
import { encode } from "../../src/cluster/wire/messages.js";
import { ClusterNode, startCluster } from "./cluster-node.js";
import type { Life } from "./world/node.js";
import { World } from "./world/world.js";

const cookie = "the cookie of the world";

/** A connection of somebody who is no node of ours. */
class Stranger {
  closed = false;
  openedMs = 0;
  closedMs = 0;
  readonly got: Buffer[] = [];
  /** Frames that came after the handshake, by type: the last of each. */
  readonly frames = new Map<number, Buffer>();
  private handshake: DialerHandshake | null = null;
  private answer = "";
  private readonly reader = new FrameReader((type, bytes, start, end) =>
    this.onFrame(type, Buffer.from(bytes.subarray(start, end))),
  );

  private constructor(
    readonly pipe: Pipe,
    private readonly life: Life,
  ) {
    this.openedMs = life.clock.monotonicMs();
    pipe.onData = (bytes) => {
      this.got.push(bytes);
      this.reader.push(bytes);
    };
    pipe.onClose = () => {
      this.closed = true;
      this.closedMs = life.clock.monotonicMs();
    };
  }

  get livedMs(): number {
    return this.closedMs - this.openedMs;
  }

  static async dial(world: World, life: Life, port = 4370): Promise<Stranger> {
    let stranger: Stranger | undefined;
    life.transport.dial("ha", port, (result) => {
      if (typeof result === "object") stranger = new Stranger(result, life);
    });
    await world.until(() => stranger !== undefined, 3000, "dialled");
    assert.ok(stranger !== undefined);
    return stranger;
  }

  /** Proves the cookie as a node that `identity` describes. */
  async prove(world: World, identity: Identity, purpose: PurposeCode): Promise<void> {
    this.handshake = new DialerHandshake(cookie, identity, purpose, this.life.random);
    this.pipe.write(this.handshake.first());
    await world.until(() => this.answer !== "", 3000, "an answer");
    assert.equal(this.answer, "welcome");
  }

  private onFrame(type: number, body: Buffer): void {
    if (this.handshake === null || this.answer !== "") {
      this.frames.set(type, body);
      return;
    }
    const step = this.handshake.take(type, body);
    if (Buffer.isBuffer(step)) this.pipe.write(step);
    else this.answer = step.kind === "refused" ? `refused ${step.answer.code}` : step.kind;
  }
}

interface Scene {
  readonly world: World;
  readonly a: ClusterNode;
  readonly b: ClusterNode;
  /** The machine of a stranger. */
  readonly life: Life;
}

async function scene(seed: number): Promise<Scene> {
  const world = new World(seed);
  const [a, b] = await startCluster(world, 2);
  assert.ok(a !== undefined && b !== undefined);
  return { world, a, b, life: world.node("stranger@hs").boot() };
}

/** The cluster works as before. */
async function works({ world, a, b }: Scene): Promise<void> {
  assert.deepEqual([a.state(b), b.state(a)], ["up", "up"]);
  const subscriber = await b.subscribe("works", "works");
  const sent = a.publish("works", "yes");
  await world.until(() => sent.pending === 0, 2000, "PUBACK");
  assert.equal(subscriber.payloads.at(-1), "yes");
}

const mqttConnect = Buffer.from([16, 16, 0, 4, 77, 81, 84, 84, 5, 2, 0, 60, 0, 0, 3, 97, 98, 99]);
const withLength = (length: number, type = 1): Buffer => {
  const bytes = Buffer.alloc(64);
  bytes.writeUInt32BE(length, 0);
  bytes[4] = type;
  return bytes;
};

const firstBytes: readonly [string, Buffer][] = [
  ["an MQTT CONNECT", mqttConnect],
  ["an HTTP request", Buffer.from("GET / HTTP/1.1\r\nHost: ha\r\n\r\n")],
  ["a length of 4 GiB", withLength(0xffff_ffff)],
  ["a length just over the limit", withLength(1025)],
  ["a frame of no length", withLength(0)],
  ["a frame of another type", withLength(40, FrameType.forward)],
  ["a proof before HELLO", withLength(40, FrameType.proof)],
  ["a HELLO with another magic", withLength(40, FrameType.hello)],
];

for (const [what, bytes] of firstBytes) {
  test(`${what} on the link port is closed and counted`, async () => {
    const all = await scene(1);
    const stranger = await Stranger.dial(all.world, all.life);
    stranger.pipe.write(bytes);
    await all.world.until(() => stranger.closed, 1000, "closed");
    assert.equal(all.a.cluster.acceptor.counters.garbage, 1);
    assert.ok(all.a.complained("link port: closed a stranger"));
    assert.equal(stranger.got.length, 0, "not a byte is answered");
    await works(all);
  });
}

test("random bytes on the link port never do more than close their connection", async () => {
  const all = await scene(2);
  const { world, life, a } = all;
  for (let i = 0; i < 200; i++) {
    const stranger = await Stranger.dial(world, life);
    const bytes = world.dice.bytes(1 + world.dice.integer(2000));
    // Half of them with a length that is let through.
    if (i % 2 === 0) bytes.writeUInt16BE(0, 0);
    stranger.pipe.write(bytes);
    await world.until(() => stranger.closed, 6000, "closed");
  }
  const { garbage, late, accepted } = a.cluster.acceptor.counters;
  assert.equal(garbage + late, 200);
  assert.ok(accepted < 10);
  await works(all);
});

test("a stranger that says nothing, or stops half-way, is closed after 5 s", async () => {
  const all = await scene(3);
  const { world, life, a } = all;
  const hello = new DialerHandshake(
    cookie,
    a.cluster.context.identity(),
    Purpose.control,
    life.random,
  );
  for (const bytes of [Buffer.alloc(0), hello.first().subarray(0, 20), hello.first()]) {
    const stranger = await Stranger.dial(world, life);
    if (bytes.length > 0) stranger.pipe.write(bytes);
    await world.until(() => stranger.closed, 6000, "closed");
    assert.ok(stranger.livedMs >= 4900 && stranger.livedMs < 5300, `${stranger.livedMs}`);
  }
  assert.equal(a.cluster.acceptor.counters.late, 3);
  await works(all);
});

test("of many strangers at once 64 are heard, the others closed and counted; then there is room again", async () => {
  const all = await scene(4);
  const { world, life, a } = all;
  const strangers: Stranger[] = [];
  for (let i = 0; i < 100; i++) strangers.push(await Stranger.dial(world, life));
  await world.run(200);
  assert.equal(strangers.filter(({ closed }) => closed).length, 36);
  assert.equal(a.cluster.acceptor.counters.tooMany, 36);
  await world.until(() => strangers.every(({ closed }) => closed), 7000, "closed");
  await works(all);
  const c = new ClusterNode(world, "c@hc");
  await c.start();
  await c.join(a);
});

/** Who this member says it is, from a machine of its own. */
function memberIdentity(scene: Scene, token?: Buffer): Identity {
  return scene.b.cluster.context.identity(token);
}

const brokenFrames: readonly [string, Buffer][] = [
  ["random bytes", Buffer.from("8f3a1c00ffee00112233445566778899aabbccddeeff", "hex")],
  ["a frame beyond the limit", withLength(64 * 1024 * 1024, FrameType.heartbeat)],
  ["a frame of an unknown type", frame(99, Buffer.from("x"))],
  ["a handshake frame", frame(FrameType.hello, Buffer.alloc(39))],
  ["a body that is not msgpack", frame(FrameType.members, Buffer.from([0xc1, 0xc1, 0xc1]))],
  [
    "a member list of wrong fields",
    frame(FrameType.members, Buffer.from([0x81, 0xa1, 0x61, 0x01])),
  ],
  ["rows outside a snapshot", encode("rowsPart", ["a", 8])],
  [
    "a snapshot whose end does not fit",
    Buffer.concat([
      encode("rowsBegin", { seq: 1 }),
      encode("rowsEnd", { seq: 1, count: 3, hash: 1 }),
    ]),
  ],
  [
    "a row of an impossible value",
    Buffer.concat([
      encode("rowsBegin", { seq: 1 }),
      encode("rowsPart", ["a", 3, "b"]),
      encode("rowsEnd", { seq: 1, count: 1, hash: 1 }),
    ]),
  ],
  ["a reply to nothing", encode("reply", { id: 77, body: {} })],
  ["a call of an unknown verb", encode("call", { id: 1, verb: "shutdown", body: {} })],
  ["a call with a wrong body", encode("call", { id: 1, verb: "claim", body: { clientId: 7 } })],
  ["join on a link", encode("call", { id: 1, verb: "join", body: { members: [] } })],
  ["a forward that is cut off", frame(FrameType.forward, Buffer.alloc(7))],
  ["a forward of a group that is cut off", frame(FrameType.forwardAlone, Buffer.alloc(7))],
  ["forwards of a group that are cut off", frame(FrameType.forwardsSpread, Buffer.alloc(20))],
  ["a STREAM_TAKEN that is cut off", frame(FrameType.streamTaken, Buffer.alloc(7))],
];

for (const [what, bytes] of brokenFrames) {
  test(`${what} from a peer that proved the cookie: the link closes and is counted`, async () => {
    const all = await scene(5);
    const { world, life, a, b } = all;
    const identity = memberIdentity(all);
    b.crash();
    await world.until(() => a.state(b) === "down", 5000, "b is down");
    const before = a.cluster.counters.linkFaults;
    const { control, data } = await linkAs(world, life, identity);
    const made = a.cluster.counters.linksMade;
    control.pipe.write(bytes);
    await world.until(() => control.closed && data.closed, 3000, "closed");
    assert.ok(made > 0);
    assert.equal(a.cluster.counters.linkFaults, before + 1);
    await b.start();
    await world.until(() => a.state(b) === "up" && b.state(a) === "up", 15_000, "b is back");
    await works(all);
  });
}

/** Links with node a as its member b. The lower name, a, activates. */
async function linkAs(world: World, life: Life, identity: Identity) {
  const control = await Stranger.dial(world, life);
  const later = { ...identity, incarnation: identity.incarnation + 1 };
  await control.prove(world, later, Purpose.control);
  await world.until(() => control.frames.has(FrameType.activate), 3000, "ACTIVATE");
  // {token: bin8 of 16 bytes}: the token is the end of it.
  const token = control.frames.get(FrameType.activate)?.subarray(-16);
  assert.ok(token !== undefined);
  const data = await Stranger.dial(world, life);
  await data.prove(world, { ...later, token }, Purpose.data);
  return { control, data };
}

test("a message that cannot be decoded is counted and acknowledged: it would come back for ever", async () => {
  const all = await scene(6);
  const { world, life, a, b } = all;
  const identity = memberIdentity(all);
  b.crash();
  await world.until(() => a.state(b) === "down", 5000, "b is down");
  const { control, data } = await linkAs(world, life, identity);
  await world.until(() => control.frames.has(FrameType.streamAck), 1000, "where it stands");
  control.frames.clear();
  const number = Buffer.alloc(16);
  number.writeDoubleBE(identity.incarnation + 1, 0);
  number.writeDoubleBE(1, 8);
  data.pipe.write(frame(FrameType.forward, Buffer.concat([number, Buffer.from("nonsense")])));
  await world.until(() => control.frames.has(FrameType.streamAck), 1000, "STREAM_ACK");
  assert.equal(a.router.counters.undecodable, 1);
  assert.ok(!control.closed);
});

test("tells that make no sense are counted, and the link stays", async () => {
  const all = await scene(7);
  const { world, a, b } = all;
  const bodies = [
    Buffer.alloc(0),
    Buffer.from([9]),
    Buffer.from([1, 2, 3]),
    Buffer.from([2, 255, 255, 255]),
  ];
  const index = a.cluster.peer(b.name)?.index ?? -1;
  for (const body of bodies) a.cluster.tell(index, body);
  await world.run(500);
  assert.equal(b.router.counters.undecodable, bodies.length);
  await works(all);
});

test("a data connection with a token that nobody gave is closed in the end", async () => {
  const all = await scene(8);
  const { world, life } = all;
  const stranger = await Stranger.dial(world, life);
  const token = Buffer.alloc(16, 7);
  await stranger.prove(world, memberIdentity(all, token), Purpose.data);
  await world.until(() => stranger.closed, 6000, "closed");
  await works(all);
});

test("a joiner that asks nothing, or something else, is closed", async () => {
  const all = await scene(9);
  const { world, life, a } = all;
  const identity = { ...memberIdentity(all), name: "x@hs", id: "0".repeat(32) };
  const silent = await Stranger.dial(world, life);
  await silent.prove(world, identity, Purpose.join);
  const wrong = await Stranger.dial(world, life);
  await wrong.prove(world, identity, Purpose.join);
  wrong.pipe.write(encode("rowsResync", {}));
  await world.until(() => wrong.closed, 1000, "closed at once");
  await world.until(() => silent.closed, 11_000, "closed after 10 s");
  assert.equal(a.cluster.members.all().length, 2);
});

test("what a stranger sends before it is proved is bounded, whatever it claims to come", async () => {
  const all = await scene(10);
  const { world, life, a } = all;
  const stranger = await Stranger.dial(world, life);
  const acceptor = new AcceptorHandshake(cookie, life.random);
  assert.throws(() => acceptor.take(FrameType.proof, Buffer.alloc(100)), /in the handshake/);
  stranger.pipe.write(withLength(1000));
  for (let i = 0; i < 50; i++) stranger.pipe.write(Buffer.alloc(60_000));
  await world.until(() => stranger.closed, 1000, "closed");
  assert.equal(a.cluster.acceptor.counters.garbage, 1);
});
