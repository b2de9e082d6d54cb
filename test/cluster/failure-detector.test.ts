/** Who is up: a table of histories, and how long each decision may take. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type DetectorEvent,
  FailureDetector,
  type PeerState,
} from "../../src/cluster/failure-detector.js";

const settings = { suspectAfterMs: 2500, confirmTimeoutMs: 500 };
const tickMs = 500;

/** A detector with its timer: what happens between two points in time is written down. */
class Watch {
  readonly detector = new FailureDetector(settings);
  readonly log: string[] = [];
  /** What others answer when they are asked: undefined is nothing. */
  others: (peer: string) => boolean | undefined = () => undefined;
  nowMs = 0;
  private nextTickMs = tickMs;

  /** Brings the peer up. */
  static up(): Watch {
    const watch = new Watch();
    watch.event("linked");
    watch.event("synced");
    assert.equal(watch.detector.state("b"), "up");
    watch.log.length = 0;
    return watch;
  }

  event(kind: Exclude<DetectorEvent["kind"], "tick" | "confirmed">, atMs = this.nowMs): void {
    this.runTo(atMs);
    this.step({ kind, peer: "b" });
  }

  confirmed(heard: boolean, atMs = this.nowMs): void {
    this.runTo(atMs);
    this.step({ kind: "confirmed", peer: "b", heard });
  }

  runTo(atMs: number): void {
    while (this.nextTickMs <= atMs) {
      this.nowMs = this.nextTickMs;
      this.nextTickMs += tickMs;
      this.step({ kind: "tick" });
    }
    this.nowMs = atMs;
  }

  get state(): PeerState {
    return this.detector.state("b");
  }

  private step(event: DetectorEvent): void {
    for (const effect of this.detector.step(event, this.nowMs)) {
      if (effect.kind === "state") this.log.push(`${this.nowMs} ${effect.after}`);
      else {
        this.log.push(`${this.nowMs} ask`);
        const heard = this.others(effect.peer);
        if (heard !== undefined) this.step({ kind: "confirmed", peer: effect.peer, heard });
      }
    }
  }
}

test("a peer never heard of is down; a link makes it joining, both rows make it up", () => {
  const watch = new Watch();
  assert.equal(watch.state, "down");
  assert.equal(watch.detector.silenceMs("b", 0), -1);
  watch.event("heard", 10);
  watch.event("gone", 20);
  assert.equal(watch.state, "down");
  watch.event("linked", 100);
  watch.event("synced", 130);
  assert.deepEqual(watch.log, ["100 joining", "130 up"]);
});

test("silence: suspect, others are asked, nobody hears it: down within 3.6 s", () => {
  const watch = Watch.up();
  watch.others = () => false;
  watch.runTo(10_000);
  assert.deepEqual(watch.log, ["2500 suspect", "2500 ask", "2500 down"]);
});

test("silence, and those who were asked do not answer: down within 3.6 s", () => {
  // The worst phase: the last sign of life comes just after a tick.
  const watch = Watch.up();
  watch.event("heard", 501);
  watch.runTo(10_000);
  assert.deepEqual(watch.log, ["3500 suspect", "3500 ask", "4000 down"]);
  assert.ok(4000 - 501 <= 3600);
});

test("others who heard it a moment ago are asked again, and it is down when they do not any more", () => {
  const watch = Watch.up();
  let asked = 0;
  watch.others = () => ++asked === 1;
  watch.event("heard", 1);
  watch.runTo(10_000);
  assert.deepEqual(watch.log, ["3000 suspect", "3000 ask", "3500 ask", "3500 down"]);
  assert.ok(3500 - 1 <= 3600);
});

test("a stall of 2 s goes unnoticed", () => {
  for (let phase = 0; phase < 500; phase += 50) {
    const watch = Watch.up();
    watch.event("heard", phase);
    watch.event("heard", phase + 2490);
    watch.runTo(phase + 2600);
    assert.deepEqual(watch.log, [], `phase ${phase}`);
  }
});

test("a peer that is heard again is up again at the next tick", () => {
  const watch = Watch.up();
  watch.others = () => true;
  watch.runTo(4000);
  watch.event("heard", 4100);
  watch.runTo(6000);
  assert.equal(watch.log.at(-1), "4500 up");
});

test("a pair that is cut while others hear the peer is given up after ten more seconds", () => {
  const watch = Watch.up();
  watch.others = () => true;
  watch.runTo(30_000);
  assert.equal(watch.log[0], "2500 suspect");
  assert.equal(watch.log.at(-1), "12500 down");
});

test("a closed link makes it suspect; a refused redial then makes it down at once", () => {
  const watch = Watch.up();
  watch.event("unlinked", 700);
  watch.event("gone", 703);
  assert.deepEqual(watch.log, ["700 suspect", "703 down"]);
});

test("a refused dial while there is a link means nothing: it goes to an address of long ago", () => {
  const watch = Watch.up();
  watch.event("gone", 700);
  assert.deepEqual(watch.log, []);
});

test("a closed link that is back soon: suspect until it is in step, never down", () => {
  const watch = Watch.up();
  watch.event("unlinked", 700);
  watch.event("linked", 900);
  watch.runTo(1400);
  assert.equal(watch.state, "suspect");
  watch.event("synced", 1450);
  assert.deepEqual(watch.log, ["700 suspect", "1450 up"]);
});

test("a link that closes while joining: down, and joining anew", () => {
  const watch = new Watch();
  watch.event("linked", 100);
  watch.event("unlinked", 200);
  watch.event("linked", 300);
  assert.deepEqual(watch.log, ["100 joining", "200 down", "300 joining"]);
});

test("joining and silent: down, without asking", () => {
  const watch = new Watch();
  watch.event("linked", 100);
  watch.runTo(5000);
  assert.deepEqual(watch.log, ["100 joining", "3000 down"]);
});

test("a late answer to an old question does not bring down a peer that is back", () => {
  const watch = Watch.up();
  watch.event("unlinked", 100);
  watch.runTo(2700);
  assert.deepEqual(watch.log, ["100 suspect", "2500 ask"]);
  watch.event("linked", 2800);
  watch.confirmed(false, 2850);
  assert.equal(watch.state, "suspect");
  watch.event("synced", 2900);
  assert.equal(watch.state, "up");
});

test("down stays down until a link is there; forgotten is as never heard of", () => {
  const watch = Watch.up();
  watch.others = () => false;
  watch.event("unlinked", 100);
  watch.runTo(5000);
  watch.event("heard", 5100);
  watch.event("synced", 5200);
  assert.equal(watch.state, "up", "in step means that there is a link");
  watch.event("forget", 5300);
  assert.equal(watch.state, "down");
  assert.equal(watch.detector.silenceMs("b", 5300), -1);
});

test("every peer is watched for itself", () => {
  const detector = new FailureDetector(settings);
  for (const peer of ["b", "c"]) {
    detector.step({ kind: "linked", peer }, 0);
    detector.step({ kind: "synced", peer }, 0);
  }
  detector.step({ kind: "heard", peer: "c" }, 2000);
  detector.step({ kind: "tick" }, 2500);
  assert.deepEqual([detector.state("b"), detector.state("c")], ["suspect", "up"]);
});
