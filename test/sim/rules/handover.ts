/** Rules of what a move waits for, and of who has what comes meanwhile (design, section 6, moves), broken on purpose. */
import { Barriers } from "../../../src/cluster/barrier.js";
import { Arrivals } from "../../../src/session/move/arrivals.js";
import { Incoming, type IncomingHost } from "../../../src/session/move/incoming.js";
import { Moves } from "../../../src/session/move/moves.js";
import { MovingIn } from "../../../src/session/move/moving-in.js";
import { Outgoing } from "../../../src/session/move/outgoing.js";
import type { SnapshotSubscription } from "../../../src/session/move/snapshot.js";
import { Session } from "../../../src/session/session.js";
import { OutgoingWindow } from "../../../src/session/window.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

type Method = (this: object, ...args: unknown[]) => unknown;

export const handoverRules: readonly Rule[] = [
  {
    section: 6,
    rule: "the old owner stops delivering",
    name: "a session goes on sending while it moves",
    kind: "moves",
    seed: 112,
    fault: /again, with QoS|never got|before under|open for|which nobody|unanswered/,
    plant: () => replace(OutgoingWindow.prototype, "hold", () => () => undefined),
  },
  {
    section: 6,
    rule: "the old owner keeps queueing until it is known where the session is",
    name: "the old owner drops what comes when the state has left",
    kind: "moves",
    seed: 44,
    fault: /never got/,
    plant: () =>
      replaceHidden(
        Outgoing.prototype,
        "give",
        (sound) =>
          function (this: Outgoing, ...args: unknown[]) {
            const { session } = this;
            const given = (sound as Method).apply(this, args);
            session.deliver = () => true;
            return given;
          },
      ),
  },
  {
    section: 6,
    rule: "messages up to the answered number belong to the old owner",
    name: "the old owner gives the state before all that is its own has come",
    kind: "moves",
    seed: 12,
    fault: /never got/,
    plant: () => replaceHidden(Outgoing.prototype, "missing", () => () => null),
  },
  {
    section: 6,
    rule: "the new owner's rows go out before it asks what the old one was sent alone",
    name: "the new owner asks what the old one was sent alone before its rows are out",
    kind: "moves",
    seed: 26,
    fault: /never got/,
    plant: () =>
      replaceHidden(
        Incoming.prototype,
        "hold",
        (sound) =>
          async function (this: Incoming, subscriptions: readonly SnapshotSubscription[]) {
            const { parts } = Reflect.get(this, "host") as IncomingHost;
            const { cluster, clock, sessions } = parts;
            const outcome = await cluster.barriers.reach(this.from, clock.monotonicMs() + 10_000);
            // Then the sound one finds that out, too.
            if ("missing" in outcome) return (sound as Method).call(this, subscriptions);
            const holder = new MovingIn(this.clientId, sessions, subscriptions);
            Reflect.set(this, "holder", holder);
            holder.subscribe();
            return outcome;
          },
      ),
  },
  {
    section: 6,
    // An old owner that is restarted asks the new one before it does anything: the epochs decide when it does not. Both are broken
    // here.
    rule: "the new owner commits at a higher epoch",
    name: "the new owner has the old one's epoch, and that does not ask after a restart",
    kind: "moves",
    seed: 57,
    fault: /never got|has one owner|session present|again, with/,
    plant: () => {
      const undo = replaceHidden(
        Incoming.prototype,
        "commit",
        (sound) =>
          function (this: Incoming, session: Session) {
            session.epoch--;
            return (sound as Method).call(this, session);
          },
      );
      const undoRestore = replace(Moves.prototype, "restoreOutgoing", () => () => undefined);
      return () => {
        undo();
        undoRestore();
      };
    },
  },
  {
    section: 6,
    rule: "a live session is attached again without resending",
    name: "what is in flight is sent again when a session has moved with its client",
    kind: "scenes",
    seed: 1,
    scene: "movesAlong",
    fault: /sends nothing again/,
    plant: () => {
      const undo = replace(
        Session.prototype,
        "attach",
        (sound) =>
          function (this: Session, { continues: _, ...attachment }) {
            sound.call(this, attachment);
          },
      );
      const undoContinue = replace(
        Arrivals.prototype,
        "continue",
        (sound) =>
          function (this: Arrivals, session, opening) {
            const { journal } = session;
            const go = (): void => sound.call(this, session, opening);
            if (journal === null) go();
            else void journal.journals.pages.loadWindow(journal).then(go);
          },
      );
      return () => {
        undo();
        undoContinue();
      };
    },
  },
  {
    section: 6,
    // Neither who is down is looked at nor the barrier, which all others must answer, is asked here.
    rule: "what members that are down hold for the old owner is not lost by a move",
    name: "a session moves as if all members were up",
    kind: "scenes",
    seed: 1,
    scene: "memberDown",
    fault: /members that are down/,
    plant: () => {
      const undo = replaceHidden(
        Incoming.prototype,
        "begin",
        (sound) =>
          function (this: Incoming) {
            const host = Reflect.get(this, "host") as IncomingHost;
            const cluster = Object.create(host.parts.cluster, { state: { value: () => "up" } });
            Reflect.set(this, "host", { ...host, parts: { ...host.parts, cluster } });
            const begun = (sound as Method).call(this);
            Reflect.set(this, "host", host);
            return begun;
          },
      );
      const undoBarrier = replace(
        Barriers.prototype,
        "reach",
        () => () => Promise.resolve({ positions: [], holds: () => true }),
      );
      return () => {
        undo();
        undoBarrier();
      };
    },
  },
];
