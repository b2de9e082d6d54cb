/**
 * Rules of share groups (design, section 8), broken on purpose. That a message which was accepted lives with its node, and comes
 * back with it, is the rule of section 4 that accepted means committed: nothing else keeps it there.
 */
import type { PeerState } from "../../../src/cluster/failure-detector.js";
import { type Choice, Group, type PeerStates, Tier } from "../../../src/routing/group.js";
import type { Message } from "../../../src/routing/message.js";
import { Router } from "../../../src/routing/router.js";
import {
  SharedGroups,
  type SharedHost,
  SharedReceipt,
  type SharedStrategy,
} from "../../../src/routing/shared.js";
import { ack } from "../../../src/protocol/acks.js";
import type { Qos } from "../../../src/protocol/publish.js";
import { sharedRow, sharedRowValue } from "../../../src/routing/shared-row.js";
import { Session } from "../../../src/session/session.js";
import { Sessions } from "../../../src/session/sessions.js";
import { Awaiting, OutgoingWindow } from "../../../src/session/window.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

type Choosing = (this: Group, tier: Tier, stateOf: PeerStates) => Choice | null;

/** `of`: what is chosen from instead. */
const choosing = (
  of: (group: Group, tier: Tier, stateOf: PeerStates, sound: Choosing) => Choice | null,
) =>
  replaceHidden(
    Group.prototype,
    "choose",
    // It is one (group.ts).
    (sound) =>
      function (this: Group, tier: Tier, stateOf: PeerStates) {
        return of(this, tier, stateOf, sound as unknown as Choosing);
      },
  );

/** Who is asked to take what a member leaves is said to be there only if `asks`. */
const redispatching = (
  asks: (asked: { readonly message: Message; readonly onlineOnly: boolean }) => boolean,
) =>
  replace(
    Router.prototype,
    "redispatch",
    (sound) =>
      function (this: Router, message, share, onlineOnly, waiter) {
        if (!asks({ message, onlineOnly })) return false;
        return sound.call(this, message, share, onlineOnly, waiter);
      },
  );

function giveToAnother({ window, host, journal }: Session, packetId: number): void {
  const message = window.messageOf(packetId);
  const share = window.deliveryOf(packetId)?.share ?? null;
  if (message === null || share === null) return;
  journal?.marks.forget(message, share);
  host.router.redispatch(message, share, false, null);
}

export const groupRules: readonly Rule[] = [
  {
    section: 8,
    rule: "the publisher's node picks one node",
    name: "every node that has members gets a group's message",
    kind: "scenes",
    scene: "oneMember",
    seed: 1,
    fault: /one member of a group/,
    plant: () =>
      replace(
        SharedGroups.prototype,
        "choose",
        (sound) =>
          function (this: SharedGroups, message, found) {
            const { local, peers, groups } = sound.call(this, message, found);
            const all = [...peers];
            for (const group of found.groups) {
              for (const [peer] of group.peerRows()) {
                if (all.some((target) => target.peer === peer)) continue;
                all.push({ peer, qos: 2, durable: false, groups: [group] });
              }
            }
            return { local, peers: all, groups };
          },
      ),
  },
  {
    section: 8,
    rule: "the node that was picked picks one member",
    name: "all members of the chosen node get a group's message",
    kind: "scenes",
    scene: "oneMember",
    seed: 1,
    fault: /one member of a group/,
    plant: () =>
      replaceHidden(
        SharedGroups.prototype,
        "take",
        () =>
          function (this: { readonly host: SharedHost }, group: Group, message: Message) {
            for (const { delivery } of group.ownMembers()) this.host.deliver(message, delivery);
          },
      ),
  },
  {
    section: 8,
    rule: "nodes are weighted by their members",
    name: "each node with members gets the same part",
    kind: "scenes",
    scene: "inTurn",
    seed: 1,
    fault: /with its weight/,
    plant: () =>
      choosing((group, tier, stateOf, sound) => {
        const choice = sound.call(group, tier, stateOf);
        if (choice === null) return null;
        const { nodes } = choice;
        return { tier, nodes, ends: nodes.map((_, i) => i + 1), places: nodes.length };
      }),
  },
  {
    section: 7,
    rule: "a group's row says how many members its node has",
    name: "a group's row says that there is a member",
    kind: "scenes",
    scene: "inTurn",
    seed: 1,
    fault: /with its weight/,
    plant: () =>
      replace(
        Group.prototype,
        "ownRow",
        (sound) =>
          function (this: Group) {
            const row = sound.call(this);
            if (row === 0) return 0;
            const { qos, durable, online, waiting } = sharedRow(row);
            const [some, others] = [Math.min(1, online), Math.min(1, waiting)];
            return sharedRowValue({ qos, durable, online: some, waiting: others });
          },
      ),
  },
  {
    section: 8,
    rule: "round robin: one after the other",
    name: "with round robin the same node is chosen again and again",
    kind: "scenes",
    scene: "inTurn",
    seed: 1,
    fault: /in its turn/,
    plant: () => replaceHidden(SharedGroups.prototype, "placeIn", () => () => 0),
  },
  {
    section: 8,
    rule: "round robin: one after the other",
    name: "with round robin the same member of a node is chosen again and again",
    kind: "scenes",
    scene: "inTurn",
    seed: 1,
    fault: /in its turn/,
    plant: () => replaceHidden(SharedGroups.prototype, "memberTurn", () => () => 0),
  },
  {
    section: 8,
    rule: "random: every member has the same chance",
    name: "at random the first is chosen",
    kind: "scenes",
    scene: "byChance",
    seed: 1,
    fault: /by chance/,
    plant: () => replaceHidden(SharedGroups.prototype, "randomBelow", () => () => 0),
  },
  {
    section: 8,
    rule: "hash of the client: one member for what one client publishes",
    name: "the hash is that of the payload",
    kind: "scenes",
    scene: "byClient",
    seed: 1,
    fault: /one client publishes/,
    plant: () => {
      const undos = ["placeIn", "memberTurn"].map((name) =>
        replaceHidden(
          SharedGroups.prototype,
          name,
          (sound) =>
            function (this: SharedGroups, ...args: [object, object, unknown]) {
              const { settings } = this as unknown as { settings: { strategy: string } };
              const [first, second, third] = args;
              const message = (name === "placeIn" ? third : second) as Message;
              const call = sound as unknown as (this: SharedGroups, ...args: unknown[]) => number;
              if (settings.strategy !== "hash_client") return call.call(this, first, second, third);
              const { publisher } = message;
              message.publisher = message.bytes.toString();
              const turn = call.call(this, first, second, third);
              message.publisher = publisher;
              return turn;
            },
        ),
      );
      return () => {
        for (const undo of undos) undo();
      };
    },
  },
  {
    section: 8,
    rule: "local first: the publisher's own node before others",
    name: "local first takes any node",
    kind: "scenes",
    scene: "near",
    seed: 1,
    fault: /own node come first/,
    plant: () =>
      replace(
        SharedGroups.prototype,
        "choose",
        (sound) =>
          function (this: SharedGroups, message, found) {
            const settings = Reflect.get(this, "settings") as { strategy: SharedStrategy };
            const { strategy } = settings;
            if (strategy === "local_first") settings.strategy = "random";
            const targets = sound.call(this, message, found);
            settings.strategy = strategy;
            return targets;
          },
      ),
  },
  {
    section: 8,
    rule: "members of nodes that are up come first",
    name: "a node that is suspect counts as up",
    kind: "scenes",
    scene: "sureOnes",
    seed: 1,
    fault: /may be down is not chosen/,
    plant: () =>
      choosing((group, tier, stateOf, sound) => {
        const seen = (peer: number): PeerState => {
          const state = stateOf(peer);
          return state === "suspect" ? "up" : state;
        };
        return sound.call(group, tier, seen);
      }),
  },
  {
    section: 8,
    rule: "persistent members of nodes that are up come before the outbox of one that is down",
    name: "outboxes are chosen before members that are away",
    kind: "scenes",
    scene: "queueBeforeOutbox",
    seed: 1,
    fault: /before an outbox/,
    plant: () =>
      choosing((group, tier, stateOf, sound) => {
        const swapped =
          tier === Tier.Waiting ? Tier.Outbox : tier === Tier.Outbox ? Tier.Waiting : tier;
        return sound.call(group, swapped, stateOf);
      }),
  },
  {
    section: 8,
    rule: "the outbox of a node that is down is the last that is chosen",
    name: "a node that is down is never chosen",
    kind: "scenes",
    scene: "outboxAtLast",
    seed: 1,
    fault: /the last that is chosen/,
    plant: () =>
      choosing((group, tier, stateOf, sound) =>
        tier === Tier.Outbox ? null : sound.call(group, tier, stateOf),
      ),
  },
  {
    section: 8,
    rule: "redispatch: a member that leaves before its node has taken the message",
    name: "what finds no member at the chosen node ends there",
    kind: "scenes",
    scene: "leftMeanwhile",
    seed: 1,
    fault: /goes to another node/,
    plant: () =>
      replaceHidden(
        SharedGroups.prototype,
        "take",
        (sound) =>
          function (this: SharedGroups, group: Group, ...rest: unknown[]) {
            const call = sound as (this: SharedGroups, ...args: unknown[]) => void;
            if (group.online + group.waiting > 0) call.call(this, group, ...rest);
          },
      ),
  },
  {
    section: 8,
    rule: "redispatch: a member that leaves before its node has taken the message",
    name: "a node that knows of no member anywhere drops what it gets",
    kind: "scenes",
    scene: "movedMeanwhile",
    seed: 1,
    fault: /without it reaches a member/,
    plant: () => replaceHidden(SharedGroups.prototype, "giveBack", () => () => undefined),
  },
  {
    section: 8,
    rule: "QoS 2 that goes on to another node is known by the number that it came under",
    name: "what finds no member at the chosen node goes on as if it were new",
    kind: "scenes",
    scene: "twoWays",
    seed: 1,
    fault: /comes once/,
    plant: () =>
      replaceHidden(
        SharedGroups.prototype,
        "encodePassed",
        () =>
          function (this: { readonly host: SharedHost }, message: Message, qos: Qos) {
            return this.host.encode(message, qos);
          },
      ),
  },
  {
    section: 8,
    rule: "redispatch: a session that a Clean Start ends",
    name: "a session that a Clean Start elsewhere has ended takes what it had with it",
    kind: "scenes",
    scene: "startedClean",
    seed: 1,
    fault: /a Clean Start ends/,
    plant: () =>
      replace(
        Sessions.prototype,
        "letGo",
        (sound) =>
          function (this: Sessions, session, done) {
            sound.call(this, session, done, false);
          },
      ),
  },
  {
    section: 8,
    rule: "redispatch: a node goes down before it has accepted",
    name: "what a node had not accepted when it went down is given up",
    kind: "scenes",
    scene: "goneMeanwhile",
    seed: 1,
    fault: /a dead node had/,
    plant: () => replace(SharedReceipt.prototype, "onDown", () => () => null),
  },
  {
    section: 8,
    rule: "QoS 2 is redispatched only while it was never sent to a client",
    name: "QoS 2 that a node may have sent on goes to another when that is down",
    kind: "scenes",
    scene: "sentOnce",
    seed: 1,
    fault: /one client, ever/,
    plant: () =>
      replace(
        SharedReceipt.prototype,
        "onDown",
        (sound) =>
          function (this: SharedReceipt, frame) {
            return sound.call(this, frame, false);
          },
      ),
  },
  {
    section: 8,
    rule: "QoS 2 is redispatched only while it was never sent to a client",
    name: "QoS 2 that was never sent is lost with its node",
    kind: "scenes",
    scene: "sentOnce",
    seed: 1,
    fault: /one client, ever/,
    plant: () =>
      replace(
        SharedReceipt.prototype,
        "onDown",
        (sound) =>
          function (this: SharedReceipt, frame) {
            return sound.call(this, frame, true);
          },
      ),
  },
  {
    section: 8,
    rule: "redispatch of QoS 1 when a member's connection is lost before it has acknowledged",
    name: "what a member had not acknowledged stays with it while it is away",
    kind: "scenes",
    scene: "connectionLost",
    seed: 1,
    fault: /when the connection is lost/,
    plant: () => redispatching(({ onlineOnly }) => !onlineOnly),
  },
  {
    section: 8,
    rule: "redispatch of QoS 1 when a member's session ends before it has acknowledged",
    name: "what a member had not acknowledged ends with its session",
    kind: "scenes",
    scene: "sessionLost",
    seed: 1,
    fault: /when the session ends/,
    plant: () => redispatching(({ onlineOnly }) => onlineOnly),
  },
  {
    section: 8,
    rule: "QoS 2 is redispatched only while it was never sent to a client",
    name: "QoS 2 that waits for a member ends with its session",
    kind: "scenes",
    scene: "sentWithQos2",
    seed: 1,
    fault: /while it was not sent/,
    plant: () => redispatching(({ message }) => message.qos < 2),
  },
  {
    section: 8,
    rule: "QoS 2 is redispatched only while it was never sent to a client",
    name: "QoS 2 that was sent to a client goes to another when its session ends",
    kind: "scenes",
    scene: "sentWithQos2",
    seed: 1,
    fault: /while it was not sent/,
    plant: () => {
      let isEnding = false;
      const undo = replace(
        Session.prototype,
        "clear",
        (sound) =>
          function (this: Session) {
            isEnding = true;
            const lost = sound.call(this);
            isEnding = false;
            return lost;
          },
      );
      const undoState = replace(
        OutgoingWindow.prototype,
        "stateOf",
        (sound) =>
          function (this: OutgoingWindow, id) {
            const state = sound.call(this, id);
            return isEnding && state === Awaiting.Pubrec ? Awaiting.Puback : state;
          },
      );
      return () => {
        undo();
        undoState();
      };
    },
  },
  {
    section: 8,
    rule: "a member at QoS 0 loses what it cannot be sent at once, and nothing else",
    name: "every other message that a member at QoS 0 is given is not sent",
    kind: "roams",
    seed: 138,
    fault: /no member of \$share/,
    plant: () =>
      replace(
        Session.prototype,
        "deliver",
        (sound) =>
          function (this: Session, message, delivery) {
            const isGiven = delivery.share !== null && delivery.qos === 0;
            if (isGiven && message.qos > 0 && message.counter % 2 === 0) return true;
            return sound.call(this, message, delivery);
          },
      ),
  },
  {
    section: 8,
    rule: "one refused with a code >= 0x80 is discarded",
    name: "what a client refuses in PUBREC goes to another",
    kind: "scenes",
    scene: "refusedWithQos2",
    seed: 1,
    fault: /is discarded/,
    plant: () =>
      replace(
        Session.prototype,
        "onPubrec",
        (sound) =>
          function (this: Session, packetId, reason) {
            if (reason >= 0x80) giveToAnother(this, packetId);
            sound.call(this, packetId, reason);
          },
      ),
  },
  {
    section: 8,
    rule: "one refused with a code >= 0x80 is discarded",
    name: "what a client refuses in PUBACK goes to another",
    kind: "scenes",
    scene: "refusedWithQos1",
    seed: 1,
    fault: /is discarded/,
    plant: () =>
      replace(
        Session.prototype,
        "onPuback",
        (sound) =>
          function (this: Session, packetId) {
            if (ack.reason >= 0x80) giveToAnother(this, packetId);
            sound.call(this, packetId);
          },
      ),
  },
];
