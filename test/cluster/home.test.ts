/** The home of client ids: what it grants, to whom it listens, and what it forgets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DirectoryEntry } from "../../src/cluster/directory-types.js";
import { type ClaimReply, Home } from "../../src/cluster/home.js";

/** Four members; the others' answers to `entry` are given by the test. */
class Scene {
  members = ["a@h", "b@h", "c@h"];
  list = 1;
  epoch = 100;
  readonly displaced: string[] = [];
  readonly questions: {
    node: string;
    answer: (entry: DirectoryEntry | null | undefined) => void;
  }[] = [];
  /** What a grant waits for; null: nothing. */
  settling: ((isKnown: boolean) => void)[] | null = null;
  readonly home = new Home({
    members: () => this.members,
    list: () => this.list,
    isHome: () => true,
    nextEpoch: () => ++this.epoch,
    observeEpoch: (epoch) => {
      this.epoch = Math.max(this.epoch, epoch);
    },
    entryAt: (node, _clientId, answer) => void this.questions.push({ node, answer }),
    supersedeAt: () => undefined,
    beforeGrant: (_clientId, done) => {
      if (this.settling === null) done(true);
      else this.settling.push(done);
    },
    displaceAt: (node, clientId, epoch) => void this.displaced.push(`${clientId} ${node} ${epoch}`),
  });

  /** All members have announced: with these entries of one of them. */
  static complete(node = "a@h", entries: readonly DirectoryEntry[] = []): Scene {
    const scene = new Scene();
    for (const member of scene.members) {
      scene.announce(member, member === node ? entries : []);
    }
    return scene;
  }

  announce(node: string, entries: readonly DirectoryEntry[], list = this.list): void {
    this.home.announce(node, { list, entries: [...entries] });
  }

  claim(node: string, user = "u", list = this.list): ClaimReply[] {
    const replies: ClaimReply[] = [];
    this.home.claim(node, { clientId: "x", user, list }, (reply) => void replies.push(reply));
    return replies;
  }

  granted(node: string, user = "u") {
    const [reply] = this.claim(node, user);
    assert.ok(reply !== undefined && "epoch" in reply, JSON.stringify(reply));
    return reply;
  }

  get places(): string {
    const { connections = [], sessions = [] } = this.home.lookup("x") ?? {};
    const texts = (all: readonly { node: string; epoch: number }[]): string =>
      all.map(({ node, epoch }) => `${node} ${epoch}`).join(", ");
    return `${texts(connections)} | ${texts(sessions)}`;
  }
}

const entry = (epoch: number, session: number | null = null): DirectoryEntry => {
  return { clientId: "x", user: "u", connection: epoch, session };
};
const session = (epoch: number): DirectoryEntry => {
  return { clientId: "x", user: "u", connection: null, session: epoch };
};

test("each claim gets a higher epoch, and the connections before it", () => {
  const scene = Scene.complete();
  assert.deepEqual(scene.granted("a@h"), { epoch: 101, connections: [], session: null });
  const second = scene.granted("b@h");
  assert.deepEqual(second, {
    epoch: 102,
    connections: [{ node: "a@h", epoch: 101 }],
    // What came of that claim was not said yet: a session, maybe, and its node may be out of reach when it is asked.
    session: { node: "a@h", isUp: true },
  });
  scene.home.holds("a@h", { clientId: "x", epoch: 101, entry: null });
  assert.equal(scene.places, "b@h 102 | ");
  assert.deepEqual(scene.granted("b@h").connections, [{ node: "b@h", epoch: 102 }]);
});

test("of a connection that was told without a session none is named", () => {
  const scene = Scene.complete();
  scene.granted("a@h");
  scene.home.holds("a@h", { clientId: "x", epoch: 101, entry: entry(101) });
  assert.equal(scene.granted("b@h").session, null);
});

test("an epoch is higher than any that an owner knows", () => {
  const scene = Scene.complete("b@h", [entry(5000)]);
  assert.equal(scene.granted("a@h").epoch, 5001);
});

test("another list of members is answered so, and nothing is granted", () => {
  const scene = Scene.complete();
  assert.deepEqual(scene.claim("b@h", "u", 2), [{ refused: "other-list" }]);
  assert.equal(scene.home.lookup("x"), undefined);
});

test("another user's connection or session refuses; a claim that nobody granted does not", () => {
  assert.deepEqual(Scene.complete("b@h", [entry(5)]).claim("a@h", "v"), [
    { refused: "other-user" },
  ]);
  assert.deepEqual(Scene.complete("b@h", [session(5)]).claim("a@h", "v"), [
    { refused: "other-user" },
  ]);
  assert.equal(Scene.complete("b@h", [entry(0)]).granted("a@h", "v").connections.length, 1);
});

test("a session without a connection is named, the latest of several", () => {
  const scene = Scene.complete("b@h", [session(7)]);
  scene.announce("c@h", [session(6)]);
  assert.deepEqual(scene.granted("a@h").session, { node: "b@h", isUp: true });
});

test("until all have announced for the list, all are asked before the grant, once for all who wait", () => {
  const scene = new Scene();
  scene.announce("a@h", []);
  const first = scene.claim("a@h");
  const second = scene.claim("b@h");
  assert.deepEqual(
    scene.questions.map(({ node }) => node),
    scene.members,
  );
  const [, b, c] = scene.questions;
  scene.questions[0]?.answer(null);
  b?.answer(entry(7));
  assert.deepEqual([first, second], [[], []]);
  c?.answer(session(3));
  assert.deepEqual(first, [
    {
      epoch: 101,
      connections: [{ node: "b@h", epoch: 7 }],
      session: { node: "c@h", isUp: true },
    },
  ]);
  const [reply] = second;
  assert.ok(reply !== undefined && "epoch" in reply);
  assert.deepEqual(reply.connections, [
    { node: "b@h", epoch: 7 },
    { node: "a@h", epoch: 101 },
  ]);
  assert.equal(scene.home.counters.askedAll, 1);
});

test("when the list changes while members are asked, the claimant has to come again", () => {
  const scene = new Scene();
  const replies = scene.claim("a@h");
  scene.list = 2;
  for (const { answer } of scene.questions) answer(null);
  assert.deepEqual(replies, [{ refused: "other-list" }]);
});

test("a member that could not be asked may have something: the claimant has to come again", () => {
  const scene = new Scene();
  const replies = scene.claim("a@h");
  const [a, b, c] = scene.questions;
  a?.answer(null);
  b?.answer(undefined);
  c?.answer(session(3));
  assert.deepEqual(replies, [{ refused: "other-list" }]);
});

test("a member that was away in between, and is back, has not said what it has", () => {
  for (const scene of [new Scene(), Scene.complete()]) {
    scene.settling = [];
    const replies = scene.claim("a@h");
    for (const { answer } of scene.questions) answer(null);
    assert.equal(scene.settling.length, 1);
    for (const list of [2, 1]) {
      scene.list = list;
      scene.home.onListChanged();
    }
    for (const done of scene.settling) done(true);
    assert.deepEqual(replies, [{ refused: "other-list" }]);
  }
});

test("while nobody can tell whether there is a session, nothing is granted", () => {
  const scene = Scene.complete();
  scene.settling = [];
  const replies = scene.claim("a@h");
  scene.settling[0]?.(false);
  assert.deepEqual(replies, [{ refused: "other-list" }]);
  assert.equal(scene.home.size, 0);
});

test("an announcement for another list counts when that is ours", () => {
  const scene = Scene.complete();
  scene.announce("b@h", [], 2);
  scene.claim("a@h");
  assert.equal(scene.questions.length, 3, "not all have announced for the present list");
  for (const { answer } of scene.questions.splice(0)) answer(null);
  scene.list = 2;
  for (const node of ["a@h", "c@h"]) scene.announce(node, []);
  scene.granted("c@h");
  assert.equal(scene.questions.length, 0);
});

test("an announcement replaces all that was known of that node, and nothing else", () => {
  const scene = Scene.complete("b@h", [entry(7)]);
  scene.granted("c@h");
  scene.announce("b@h", []);
  assert.equal(scene.places, "c@h 101 | ");
  scene.announce("c@h", [entry(101)]);
  assert.equal(scene.places, "c@h 101 | ");
  scene.home.forget("c@h");
  assert.equal(scene.home.size, 0);
});

test("two halves of a cluster served one id: the lower epoch is displaced; of equal ones the lower name", () => {
  const scene = Scene.complete("b@h", [entry(7)]);
  scene.announce("c@h", [entry(9)]);
  assert.deepEqual(scene.displaced, ["x b@h 9"]);
  const equal = Scene.complete("b@h", [entry(7)]);
  equal.announce("c@h", [entry(7)]);
  assert.deepEqual(equal.displaced, ["x b@h 8"]);
});

test("a claim that nobody granted is in nobody's way", () => {
  const scene = Scene.complete("b@h", [entry(7)]);
  scene.announce("c@h", [entry(0)]);
  assert.deepEqual(scene.displaced, []);
  assert.deepEqual(scene.granted("a@h").connections, [
    { node: "b@h", epoch: 7 },
    { node: "c@h", epoch: 0 },
  ]);
  scene.home.holds("c@h", { clientId: "x", epoch: 0, entry: null });
  assert.equal(scene.places, "b@h 7, a@h 101 | ");
});

test("a conflict that came while another node was the home is settled when the list changes", () => {
  let isHome = false;
  const displaced: string[] = [];
  const home = new Home({
    ...{ members: () => ["a@h", "b@h"], list: () => 1, nextEpoch: () => 1, isHome: () => isHome },
    ...{ observeEpoch: () => undefined, entryAt: () => undefined },
    supersedeAt: () => undefined,
    beforeGrant: (_clientId, done) => done(true),
    displaceAt: (node) => void displaced.push(node),
  });
  home.announce("a@h", { list: 2, entries: [entry(3)] });
  home.announce("b@h", { list: 2, entries: [entry(4)] });
  assert.deepEqual(displaced, []);
  isHome = true;
  home.onListChanged();
  assert.deepEqual(displaced, ["a@h"]);
});

test("reports: a connection that became a session, came back, and ended", () => {
  const scene = Scene.complete();
  const { epoch } = scene.granted("b@h");
  scene.home.holds("b@h", { clientId: "x", epoch, entry: entry(epoch, epoch) });
  assert.equal(scene.places, `b@h ${epoch} | b@h ${epoch}`);
  scene.home.holds("b@h", { clientId: "x", epoch, entry: session(epoch) });
  assert.equal(scene.places, ` | b@h ${epoch}`);
  const next = scene.granted("b@h");
  assert.deepEqual(next.session, { node: "b@h", isUp: true });
  scene.home.holds("b@h", { clientId: "x", epoch: next.epoch, entry: entry(next.epoch) });
  assert.equal(scene.places, `b@h ${next.epoch} | `);
  scene.home.holds("b@h", { clientId: "x", epoch: next.epoch, entry: null });
  assert.equal(scene.home.size, 0);
});

test("a late report does not touch what is newer", () => {
  const scene = Scene.complete();
  const old = scene.granted("b@h").epoch;
  const { epoch } = scene.granted("b@h");
  scene.home.holds("b@h", { clientId: "x", epoch: old, entry: null });
  assert.equal(scene.places, `b@h ${epoch} | `);
});

test("a report for another id than it says changes nothing", () => {
  const scene = Scene.complete();
  scene.home.holds("b@h", { clientId: "x", epoch: 1, entry: { ...entry(1), clientId: "y" } });
  assert.equal(scene.home.size, 0);
});

test("connection and session at two nodes: each reports its own, and neither touches the other's", () => {
  const scene = Scene.complete("b@h", [session(7)]);
  const { epoch, session: place } = scene.granted("c@h");
  assert.deepEqual(place, { node: "b@h", isUp: true });
  scene.home.holds("c@h", { clientId: "x", epoch, entry: entry(epoch) });
  scene.home.holds("b@h", { clientId: "x", epoch, entry: session(epoch) });
  assert.equal(scene.places, `c@h ${epoch} | b@h ${epoch}`);
  scene.home.holds("c@h", { clientId: "x", epoch, entry: null });
  assert.equal(scene.places, ` | b@h ${epoch}`);
});

test("a node that is down keeps its sessions there, until it announces or is no member any more", () => {
  const scene = Scene.complete("b@h", [session(7), { ...entry(8), clientId: "y" }]);
  scene.home.onDown("b@h");
  scene.members = ["a@h", "c@h"];
  assert.equal(scene.home.lookup("y"), undefined, "its connections are no more");
  assert.equal(scene.places, " | b@h 7");
  scene.announce("a@h", []);
  assert.deepEqual(scene.granted("a@h").session, { node: "b@h", isUp: false });
  scene.announce("b@h", []);
  assert.equal(scene.places, "a@h 101 | ");
  scene.announce("b@h", [session(7)]);
  scene.home.forget("b@h");
  assert.equal(scene.places, "a@h 101 | ");
});

for (const how of ["says what came of it", "announces anew"]) {
  test(`of two connections the older is closed when the node of a newer claim ${how}: nothing`, () => {
    const scene = Scene.complete("a@h", [entry(5)]);
    const { epoch } = scene.granted("c@h");
    scene.announce("b@h", [entry(8)]);
    // Until then its node has them both closed.
    assert.deepEqual(scene.displaced, []);
    if (how === "announces anew") scene.announce("c@h", []);
    else scene.home.holds("c@h", { clientId: "x", epoch, entry: null });
    assert.equal(scene.places, "a@h 5, b@h 8 | ");
    assert.deepEqual(scene.displaced, ["x a@h 8"]);
  });
}
