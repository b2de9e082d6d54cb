/** Which connections become a link, whatever arrives first. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterContext } from "../../src/cluster/context.js";
import type { Identity } from "../../src/cluster/handshake.js";
import type { Link } from "../../src/cluster/link.js";
import { LinkMaker } from "../../src/cluster/link-maker.js";
import type { Pipe } from "../../src/cluster/transport.js";
import { FrameReader, FrameType } from "../../src/cluster/wire/frames.js";
import { decode, encode } from "../../src/cluster/wire/messages.js";
import { Wire } from "../../src/cluster/wire/wire.js";
import { clusterSettings } from "../sim/cluster-node.js";
import { World } from "../sim/world/world.js";

class FakePipe implements Pipe {
  readonly remote = "somewhere";
  readonly bufferedBytes = 0;
  onData: (bytes: Buffer) => void = () => undefined;
  onClose: () => void = () => undefined;
  ended = false;
  /** What was written before may be lost. */
  destroyed = false;
  readonly written: Buffer[] = [];
  write(bytes: Buffer): boolean {
    this.written.push(bytes);
    return false;
  }
  close(): void {
    this.ended = true;
  }
  destroy(): void {
    this.ended = true;
    this.destroyed = true;
  }
}

const token = Buffer.alloc(16, 7);
const identity = (name: string, more: Partial<Identity> = {}): Identity => ({
  ...{ incarnation: 5, wallMs: 0, id: "0".repeat(32), token: Buffer.alloc(16), name },
  ...{ host: "h", port: 1 },
  ...more,
});

/** A link maker of node m, with a peer of a lower (a@h) or higher (z@h) name. */
function scene() {
  const world = new World(1);
  const { clock, random, log, transport } = world.node("m@h").boot();
  const self = identity("m@h");
  const context: ClusterContext = {
    ...{ name: "m@h", cookie: "c", settings: clusterSettings, clock, random, log, transport },
    commits: null,
    identity: () => self,
  };
  const links: Link[] = [];
  const state = { fresh: false };
  const maker = new LinkMaker(context, {
    hasFreshLink: () => state.fresh,
    onLink: (link) => void links.push(link),
  });
  const pipe = (): { pipe: FakePipe; wire: Wire } => {
    const fake = new FakePipe();
    return { pipe: fake, wire: new Wire(fake) };
  };
  return { world, maker, links, pipe, state };
}

function tokenIn(pipe: FakePipe): Buffer {
  let found: Buffer | undefined;
  const reader = new FrameReader((type, bytes, start, end) => {
    assert.equal(type, FrameType.activate);
    found = Buffer.from(decode("activate", bytes, start, end).token);
  });
  for (const bytes of pipe.written) reader.push(bytes);
  assert.ok(found !== undefined, "no ACTIVATE was sent");
  return found;
}

test("the lower name decides: its peer's ACTIVATE, then the data connection, make the link", () => {
  const { maker, links, pipe } = scene();
  const [control, data] = [pipe(), pipe()];
  maker.onControl(control.wire, identity("a@h"), null);
  control.pipe.onData(encode("activate", { token }));
  assert.equal(links.length, 0);
  maker.onData(data.wire, identity("a@h", { token }));
  assert.equal(links.length, 1);
  assert.equal(links[0]?.peer.name, "a@h");
  assert.ok(!control.pipe.ended && !data.pipe.ended);
});

test("a data connection that overtakes its ACTIVATE waits for it", () => {
  const { maker, links, pipe } = scene();
  const [control, data] = [pipe(), pipe()];
  maker.onControl(control.wire, identity("a@h"), null);
  maker.onData(data.wire, identity("a@h", { token }));
  assert.ok(!data.pipe.ended);
  control.pipe.onData(encode("activate", { token }));
  assert.equal(links.length, 1);
});

test("one whose ACTIVATE never comes is given up after 5 s, and so is the other half", async () => {
  const { world, maker, links, pipe } = scene();
  const [control, data, other] = [pipe(), pipe(), pipe()];
  maker.onControl(control.wire, identity("a@h"), null);
  maker.onData(data.wire, identity("a@h", { token }));
  maker.onControl(other.wire, identity("z@h"), null);
  await world.run(4_900);
  assert.ok(!control.pipe.ended && !data.pipe.ended && !other.pipe.ended);
  await world.run(200);
  assert.ok(control.pipe.ended && data.pipe.ended && other.pipe.ended);
  assert.equal(links.length, 0);
});

test("with the lower name we decide: one control connection at a time, none while a link is fresh", () => {
  const { maker, links, pipe, state } = scene();
  const [first, second, data] = [pipe(), pipe(), pipe()];
  maker.onControl(first.wire, identity("z@h"), null);
  maker.onControl(second.wire, identity("z@h"), null);
  assert.ok(!first.pipe.ended && second.pipe.ended);
  maker.onData(data.wire, identity("z@h", { token: tokenIn(first.pipe) }));
  assert.equal(links.length, 1);
  state.fresh = true;
  const third = pipe();
  maker.onControl(third.wire, identity("z@h"), null);
  assert.ok(third.pipe.ended);
  const diallersHearThatTheyAreIn = !second.pipe.destroyed && !third.pipe.destroyed;
  assert.ok(diallersHearThatTheyAreIn, "theirs was no dial in vain");
});

test("a later start of the peer does not wait for the connection of the earlier one", () => {
  const { maker, pipe } = scene();
  const [first, second] = [pipe(), pipe()];
  maker.onControl(first.wire, identity("z@h"), null);
  maker.onControl(second.wire, identity("z@h", { incarnation: 6 }), null);
  assert.ok(!second.pipe.ended);
});

test("halves of two nodes, or of two starts of one, are no link", () => {
  for (const wrong of [identity("b@h"), identity("a@h", { incarnation: 6 })]) {
    const { maker, links, pipe } = scene();
    const [control, data] = [pipe(), pipe()];
    maker.onControl(control.wire, identity("a@h"), null);
    control.pipe.onData(encode("activate", { token }));
    maker.onData(data.wire, { ...wrong, token });
    assert.ok(control.pipe.ended && data.pipe.ended);
    assert.equal(links.length, 0);
  }
});

test("anything but ACTIVATE first, or a wrong one, closes the connection", () => {
  const { maker, pipe } = scene();
  const bodies = [encode("rowsResync", {}), encode("activate", { token: Buffer.alloc(3) })];
  for (const bytes of bodies) {
    const control = pipe();
    maker.onControl(control.wire, identity("a@h"), null);
    control.pipe.onData(bytes);
    assert.ok(control.pipe.ended);
  }
});

test("frames right behind ACTIVATE are the link's", () => {
  const { maker, links, pipe } = scene();
  const [control, data] = [pipe(), pipe()];
  maker.onControl(control.wire, identity("a@h"), null);
  const behind = encode("rowsResync", {});
  control.pipe.onData(Buffer.concat([encode("activate", { token }), behind]));
  maker.onData(data.wire, identity("a@h", { token }));
  const got: number[] = [];
  links[0]?.start({
    onFrame: (type) => void got.push(type),
    onCall: () => undefined,
    onClose: () => undefined,
    beforeData: () => undefined,
    beforeControl: () => undefined,
  });
  assert.deepEqual(got, [FrameType.rowsResync]);
});

test("a control connection that ends takes its half with it; close() ends all", () => {
  const { maker, links, pipe } = scene();
  const [control, data, left] = [pipe(), pipe(), pipe()];
  maker.onControl(control.wire, identity("a@h"), null);
  control.pipe.onData(encode("activate", { token }));
  control.pipe.onClose();
  maker.onData(data.wire, identity("a@h", { token }));
  assert.equal(links.length, 0);
  maker.onControl(left.wire, identity("z@h"), null);
  maker.close();
  assert.ok(data.pipe.ended && left.pipe.ended);
});
