/** Rules of retained messages (design, section 8), broken on purpose. */
import { Cluster } from "../../../src/cluster/cluster.js";
import type { Identity } from "../../../src/cluster/handshake.js";
import { StampKeeper } from "../../../src/cluster/stamp-keeper.js";
import type { Clock } from "../../../src/lib/clock.js";
import type { Message } from "../../../src/routing/message.js";
import type { RetainedEntry } from "../../../src/routing/retained-entry.js";
import type { RetainedWalk } from "../../../src/routing/retained-tree.js";
import { RetainedStore } from "../../../src/routing/retained.js";
import { RetainedAbsence } from "../../../src/routing/retained-absence.js";
import { Router } from "../../../src/routing/router.js";
import type { Targets } from "../../../src/routing/targets.js";
import { type Replay, Replays } from "../../../src/session/replays.js";
import { Session } from "../../../src/session/session.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

type Storing = (message: Message, durably?: boolean) => unknown;

const clockOf = (router: object): Clock => Reflect.get(router, "clock") as Clock;

/** Walks over what there was when it was made. */
function frozen(walk: RetainedWalk): RetainedWalk {
  const entries: object[] = [];
  while (!walk.done) {
    const entry = walk.step();
    if (entry !== null) entries.push({ qos: entry.qos, message: entry.message });
  }
  const still = {
    get done(): boolean {
      return entries.length === 0;
    },
    // What a replay reads of it.
    step: () => (entries.shift() ?? null) as RetainedEntry | null,
  };
  return still as unknown as RetainedWalk;
}

export const retainedRules: readonly Rule[] = [
  {
    section: 8,
    rule: "a retained PUBLISH goes to every peer",
    name: "a retained message goes to nodes with subscribers only",
    kind: "scenes",
    scene: "everywhere",
    seed: 1,
    fault: /at every node/,
    plant: () => replace(Cluster.prototype, "livePeers", () => () => []),
  },
  {
    section: 8,
    rule: "a retained PUBLISH goes to each peer as one frame",
    name: "a retained message goes to subscribers in a frame of its own",
    kind: "scenes",
    scene: "oneFrame",
    seed: 1,
    fault: /in one frame/,
    plant: () =>
      replaceHidden(
        Router.prototype,
        "publishRetained",
        (sound) =>
          function (this: Router, message: Message, targets: Targets) {
            const call = sound as (this: Router, message: Message, targets: Targets) => void;
            call.call(this, message, targets);
            const forward = Reflect.get(this, "forward") as (...args: unknown[]) => void;
            message.counter = (Reflect.get(this, "cluster") as Cluster).nextCounter();
            forward.call(this, message, targets.peers);
          },
      ),
  },
  {
    section: 8,
    rule: "the receiver stores it and delivers it in one turn",
    name: "a receiver delivers a retained message before it stores it",
    kind: "scenes",
    scene: "oneTurn",
    seed: 1,
    fault: /delivered at once/,
    plant: () =>
      replaceHidden(
        Router.prototype,
        "storeRetained",
        (sound) =>
          function (this: Router, message: Message, durably?: boolean) {
            const store = (): unknown => (sound as Storing).call(this, message, durably);
            if (durably !== undefined) return store();
            message.own();
            clockOf(this).setTimer(20, store);
            return "stored";
          },
      ),
  },
  {
    section: 8,
    rule: "SUBSCRIBE inserts the subscription and starts the retained read in one turn",
    name: "SUBSCRIBE inserts the subscription after the retained messages were read",
    kind: "scenes",
    scene: "newest",
    seed: 1,
    fault: /who subscribes/,
    plant: () =>
      replace(
        Session.prototype,
        "subscribe",
        (sound) =>
          function (this: Session, filter, options) {
            const clock = clockOf(this.host.router);
            clock.setTimer(20, () => sound.call(this, filter, options));
            this.subscriptions.set(filter, options);
          },
      ),
  },
  {
    section: 8,
    rule: "replay reads each value when it sends it",
    name: "replay sends what there was when it began",
    kind: "scenes",
    scene: "asItIs",
    seed: 1,
    fault: /a replay sends/,
    plant: () =>
      replace(
        Replays.prototype,
        "add",
        (sound) =>
          function (this: Replays, replay: Replay) {
            sound.call(this, { ...replay, walk: frozen(replay.walk) });
          },
      ),
  },
  {
    section: 8,
    rule: "replay is paced",
    name: "replay does not ask what its client has taken",
    kind: "scenes",
    scene: "paced",
    seed: 1,
    fault: /at the pace/,
    plant: () => replaceHidden(Replays.prototype, "mayGoOn", () => () => true),
  },
  {
    section: 8,
    rule: "clocks start at the highest stored stamp",
    name: "a clock starts at the time of its machine",
    kind: "scenes",
    scene: "clockSetBack",
    seed: 1,
    fault: /a clock starts/,
    plant: () => {
      const undo = replace(StampKeeper.prototype, "load", () => () => Promise.resolve());
      return undo;
    },
  },
  {
    section: 8,
    rule: "peers more than 60 s apart are refused with a sentence",
    name: "nobody compares clocks",
    kind: "scenes",
    scene: "clocksApart",
    seed: 1,
    fault: /Missing expected rejection|clocks that are apart/,
    plant: () =>
      replaceHidden(
        Cluster.prototype,
        "admit",
        (sound) =>
          function (this: Cluster, peer: Identity, purpose: unknown) {
            const call = sound as (this: Cluster, peer: Identity, purpose: unknown) => unknown;
            return call.call(this, { ...peer, wallMs: this.context.clock.wallMs() }, purpose);
          },
      ),
  },
  {
    section: 8,
    rule: "tombstones are kept for forget_after",
    name: "tombstones are swept at once",
    kind: "scenes",
    scene: "sixDaysAway",
    seed: 1,
    fault: /deleted is deleted/,
    plant: () =>
      replace(
        RetainedStore.prototype,
        "sweep",
        (sound) =>
          function (this: RetainedStore) {
            return sound.call(this, Number.MAX_SAFE_INTEGER);
          },
      ),
  },
  {
    section: 8,
    rule: "a node away longer than forget_after takes the cluster's set",
    name: "a node that was away for too long brings back what was deleted",
    kind: "scenes",
    scene: "longAway",
    seed: 1,
    fault: /takes? the others' set/,
    plant: () => replace(RetainedAbsence.prototype, "isOutdatedFor", () => () => false),
  },
  {
    section: 8,
    rule: "a node away longer than forget_after takes the cluster's set",
    name: "a node that was away for too long forgets what it took when it was alone",
    kind: "scenes",
    scene: "longAway",
    seed: 1,
    fault: /takes? the others' set/,
    plant: () =>
      replace(
        RetainedStore.prototype,
        "noteAlive",
        (sound) =>
          function (this: RetainedStore, alive) {
            sound.call(this, { ...alive, linkedMs: alive.aliveMs });
          },
      ),
  },
  {
    section: 8,
    rule: "a node away longer than forget_after takes the cluster's set",
    name: "nodes that were all away for too long take each other's sets",
    kind: "scenes",
    scene: "allAway",
    seed: 1,
    fault: /lose nothing/,
    plant: () => replace(RetainedAbsence.prototype, "meet", () => () => false),
  },
  {
    section: 8,
    rule: "a node away longer than forget_after takes the cluster's set",
    name: "a node that was away for too long takes the set of a newcomer",
    kind: "scenes",
    scene: "newcomer",
    seed: 1,
    fault: /joining loses nothing/,
    plant: () =>
      replace(
        RetainedAbsence.prototype,
        "isOutdatedFor",
        () =>
          function (this: RetainedAbsence) {
            return Reflect.get(this, "away") !== null;
          },
      ),
  },
];
