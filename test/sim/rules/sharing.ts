/** Rules of shared subscriptions, retained messages and wills (design, section 8), broken on purpose. */
import { Sides } from "../../../src/cluster/sides.js";
import { Group } from "../../../src/routing/group.js";
import { RetainedStore } from "../../../src/routing/retained.js";
import { RetainedSync } from "../../../src/routing/retained-sync.js";
import { ClientWills } from "../../../src/session/client-wills.js";
import { Places } from "../../../src/session/places.js";
import { Sessions } from "../../../src/session/sessions.js";
import { InheritedWills } from "../../../src/session/inherited-wills.js";
import { WillHolders } from "../../../src/session/will-holders.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

export const sharingRules: readonly Rule[] = [
  {
    section: 8,
    rule: "connected members come before those that are away",
    name: "members that are away are chosen first",
    kind: "scenes",
    seed: 1,
    scene: "away",
    fault: /away/,
    plant: () =>
      replaceHidden(
        Group.prototype,
        "choose",
        (sound) =>
          function (this: Group, tier: number, ...rest: unknown[]) {
            const swapped = tier === 0 ? 1 : tier === 1 ? 0 : tier;
            return (sound as (this: Group, ...args: unknown[]) => unknown).call(
              this,
              swapped,
              ...rest,
            );
          },
      ),
  },
  {
    section: 8,
    rule: "of two retained messages the higher stamp stays",
    name: "the retained message that came last stays",
    kind: "cluster",
    seed: 2,
    fault: /retained/,
    plant: () =>
      replace(
        RetainedStore.prototype,
        "set",
        (sound) =>
          function (this: RetainedStore, message, durably) {
            const before = this.get(message.topic.name);
            const { stamp } = message;
            if (before !== undefined) message.stamp = Math.max(stamp, before.stamp + 1);
            const outcome = sound.call(this, message, durably);
            message.stamp = stamp;
            return outcome;
          },
      ),
  },
  {
    section: 8,
    rule: "a deleted retained message leaves a tombstone",
    name: "a deleted retained message is forgotten",
    kind: "cluster",
    seed: 1,
    fault: /retained/,
    plant: () =>
      replaceHidden(
        RetainedStore.prototype,
        "bury",
        (sound) =>
          function (this: RetainedStore, topic: string, ...rest: unknown[]) {
            (sound as (this: RetainedStore, ...args: unknown[]) => void).call(this, topic, ...rest);
            const tombstone = this.get(topic);
            if (tombstone === undefined) return;
            const forget = Reflect.get(this, "forget") as (
              this: RetainedStore,
              entry: object,
            ) => void;
            forget.call(this, tombstone);
          },
      ),
  },
  {
    section: 8,
    rule: "digests of retained messages are compared when a link comes up",
    name: "nobody compares retained messages at link-up",
    kind: "cluster",
    seed: 5,
    fault: /retained/,
    plant: () => {
      const undos = [
        replace(RetainedSync.prototype, "start", () => () => undefined),
        replace(RetainedSync.prototype, "catchUp", () => () => undefined),
        replace(RetainedSync.prototype, "onDown", () => () => undefined),
      ];
      return () => {
        for (const undo of undos) undo();
      };
    },
  },
  {
    section: 8,
    rule: "two other nodes hold a client's will",
    name: "nobody else holds a will",
    kind: "scenes",
    scene: "heirs",
    seed: 1,
    fault: /the will of a dead node/,
    plant: () =>
      replace(WillHolders.prototype, "hold", () => (_clientId, _epoch, _will, done) => done()),
  },
  {
    section: 8,
    rule: "a will is let go of at its holders before its node publishes it",
    name: "a node publishes a will while others hold it",
    kind: "wills",
    seed: 9,
    fault: /[2-9] times|not due/,
    plant: () =>
      replace(WillHolders.prototype, "due", () => (_clientId, _epoch, done) => done(true)),
  },
  {
    section: 8,
    rule: "a will of a dead node is noted at both holders before it is published",
    name: "nobody notes that a will was published",
    kind: "wills",
    seed: 1,
    fault: /[2-9] times|not due|online/,
    plant: () => {
      const undo = replaceHidden(
        InheritedWills.prototype,
        "note",
        () => () => Promise.resolve("noted"),
      );
      return undo;
    },
  },
  {
    section: 8,
    rule: "an owner that starts again asks who has published its wills",
    name: "an owner that starts again asks nobody about its wills",
    kind: "wills",
    seed: 6,
    fault: /[2-9] times|not due/,
    plant: () => {
      const undos = [
        replace(WillHolders.prototype, "settledOf", () => () => Promise.resolve(new Set())),
        replaceHidden(WillHolders.prototype, "tellSettled", () => () => Promise.resolve(true)),
      ];
      return () => {
        for (const undo of undos) undo();
      };
    },
  },
  {
    section: 8,
    rule: "of a cluster that is cut in two only the larger side publishes wills of silent nodes",
    name: "both sides of a cut publish wills",
    kind: "wills",
    seed: 1,
    fault: /[2-9] times/,
    plant: () => replace(Sides.prototype, "isLarger", () => () => true),
  },
  {
    section: 8,
    rule: "of a cluster that is cut in two only the larger side publishes wills of silent nodes",
    name: "dead nodes are never on the other side",
    kind: "scenes",
    scene: "otherSide",
    seed: 1,
    fault: /one side of a cut/,
    plant: () => {
      const undoDown = replace(Sides.prototype, "onDown", () => () => undefined);
      const undoUnreachable = replace(Sides.prototype, "onUnreachable", () => () => undefined);
      return () => {
        undoDown();
        undoUnreachable();
      };
    },
  },
  {
    section: 8,
    rule: "the home settles the will of a dead connection before it grants the next claim",
    name: "a home grants while a dead connection's will is open",
    kind: "wills",
    seed: 6,
    fault: /came after|not due/,
    // A will that waits is also void once its client is back anywhere, at whatever home.
    plant: () => {
      const undoGrant = replace(WillHolders.prototype, "beforeGrant", () => (_, done) => done());
      const undoVoid = replace(InheritedWills.prototype, "voidBefore", () => () => undefined);
      const undoBack = replace(ClientWills.prototype, "isBack", () => () => false);
      return () => {
        undoGrant();
        undoVoid();
        undoBack();
      };
    },
  },
  {
    section: 8,
    rule: "a displaced connection's will is accepted before its close is confirmed",
    name: "a displaced connection's close is confirmed before its will is accepted",
    kind: "wills",
    seed: 7,
    fault: /came after/,
    plant: () => replace(ClientWills.prototype, "whenAccepted", () => (_will, done) => done()),
  },
  {
    section: 8,
    rule: "a displaced connection's close waits for its will at the session's node",
    name: "a connection is displaced before its session has heard of it",
    kind: "wills",
    seed: 1,
    fault: /came after|not due/,
    // The session's node, too, lets nobody else have it before the will of an older connection is accepted.
    plant: () => {
      const undoNone = replace(ClientWills.prototype, "whenNoneIsOpen", () => (_, done) => done());
      const undoOwn = replace(Sessions.prototype, "whenWillAccepted", () => (done) => done());
      const undoNear = replaceHidden(
        Places.prototype,
        "displaceNear",
        (sound) =>
          function (
            this: Places,
            near: { sessionAt: string },
            epoch: number,
            done: (at: string) => void,
          ) {
            const call = sound as (this: Places, ...args: unknown[]) => void;
            call.call(this, near, epoch, () => undefined);
            done(near.sessionAt);
          },
      );
      return () => {
        undoNone();
        undoOwn();
        undoNear();
      };
    },
  },
];
