/** Rules of moves, broken on purpose. */
import { Barriers } from "../../../src/cluster/barrier.js";
import { Marks } from "../../../src/session/journal/marks.js";
import { Incoming } from "../../../src/session/move/incoming.js";
import { SessionImport } from "../../../src/session/move/import.js";
import { Leftovers } from "../../../src/session/move/leftovers.js";
import { Moves } from "../../../src/session/move/moves.js";
import { MovingIn } from "../../../src/session/move/moving-in.js";
import { Outgoing } from "../../../src/session/move/outgoing.js";
import { Connection } from "../../../src/net/connection.js";
import { Stubs } from "../../../src/session/move/stubs.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

export const moveRules: readonly Rule[] = [
  {
    section: 6,
    rule: "the new owner takes only what came after its rows were known",
    name: "the new owner does not ask what the old one was sent alone",
    kind: "moves",
    seed: 6,
    fault: /never got/,
    plant: () =>
      replace(
        Barriers.prototype,
        "reach",
        () => () => Promise.resolve({ positions: [], holds: () => true }),
      ),
  },
  {
    section: 6,
    rule: "the new owner holds what comes until the old one is done",
    name: "the new owner does not hold what comes meanwhile",
    kind: "moves",
    seed: 5,
    fault: /never got/,
    plant: () => replace(MovingIn.prototype, "deliver", () => () => true),
  },
  {
    section: 6,
    rule: "marks move with the session",
    name: "the snapshot has no marks",
    kind: "moves",
    seed: 3,
    fault: /again, with QoS|before under/,
    plant: () => replaceHidden(SessionImport.prototype, "restoreMarks", () => () => undefined),
  },
  {
    section: 6,
    rule: "the commit at the new owner is the switch",
    name: "the session is here before its write is durable",
    kind: "moves",
    seed: 499,
    fault: /never got|session present|has one owner/,
    plant: () =>
      replaceHidden(
        Incoming.prototype,
        "commit",
        () =>
          function (this: { isCommitting: boolean }) {
            this.isCommitting = true;
            return Promise.resolve();
          },
      ),
  },
  {
    section: 6,
    rule: "the old owner keeps a stub until every member, down ones included, has the new owner's rows",
    name: "the old owner keeps no rows for members that are down",
    kind: "moves",
    seed: 499,
    fault: /never got/,
    plant: () => replace(Stubs.prototype, "add", () => () => undefined),
  },
  {
    section: 6,
    rule: "what a member that was down has for the old owner goes to the new one",
    name: "the new owner does not ask members that were down",
    kind: "moves",
    seed: 499,
    fault: /never got/,
    plant: () => replaceHidden(Leftovers.prototype, "pull", () => () => Promise.resolve(0)),
  },
  {
    section: 6,
    rule: "the new owner holds what a member sends that was down until the old one is done with it",
    name: "the stream of a member that was down is not held",
    kind: "moves",
    seed: 675,
    fault: /never got|order/,
    plant: () => replace(Leftovers.prototype, "isAwaited", () => () => false),
  },
  {
    section: 6,
    rule: "an old owner that did not hear the outcome asks, and waits",
    name: "an old owner that did not hear the outcome does not ask",
    kind: "moves",
    seed: 2,
    fault: /has one owner/,
    plant: () => replace(Outgoing.prototype, "watch", () => () => Promise.resolve()),
  },
  {
    section: 6,
    rule: "an old owner that was restarted treats the session as moved until it knows",
    name: "an old owner that starts again goes on as if nothing had left",
    kind: "moves",
    seed: 57,
    fault: /has one owner|never got|again, with QoS|before under/,
    plant: () => replace(Moves.prototype, "restoreOutgoing", () => () => undefined),
  },
  {
    section: 6,
    rule: "a live session is detached, moved and attached again without resending",
    name: "a connection is read while its session moves",
    kind: "moves",
    seed: 472,
    fault: /again, with QoS|never got|unanswered|before under/,
    plant: () => replace(Connection.prototype, "hold", () => (done: () => void) => done()),
  },
  {
    section: 6,
    rule: "repeats after any crash do no harm, wherever the session lives: what was due to a moved session's groups, too",
    name: "what an old owner gives again to members of a group is taken again",
    kind: "scenes",
    seed: 1,
    scene: "lateOnce",
    fault: /given once/,
    plant: () => replace(Marks.prototype, "hasShared", () => () => false),
  },
];
