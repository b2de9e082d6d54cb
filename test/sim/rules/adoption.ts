/** Rules of adopting what dead nodes left in a shared store, broken on purpose. */
import { Peer } from "../../../src/cluster/peer.js";
import { Adoptions } from "../../../src/session/adoption/adoptions.js";
import { DeadNode } from "../../../src/session/adoption/dead-node.js";
import { Readdressing, type ReaddressingHost } from "../../../src/session/adoption/readdressing.js";
import { Try } from "../../../src/session/adoption/try.js";
import { Sessions } from "../../../src/session/sessions.js";
import { MovingIn } from "../../../src/session/move/moving-in.js";
import { Adopter } from "../../../src/store/adoption.js";
import { Lease } from "../../../src/store/lease.js";
import { MemoryAccess } from "../../../src/store/shared-memory.js";
import { SessionNode } from "../sessions/node.js";
import { type Rule, replace, replaceGetter, replaceHidden } from "./rule.js";

/** Whether it is known that nobody listens where the dead node was. */
const adoptAs = (certainlyDead: boolean) => (): (() => void) =>
  replace(
    Adopter.prototype,
    "adopt",
    (sound) =>
      function (this: Adopter, node, dataId, incarnation) {
        return sound.call(this, node, dataId, incarnation, certainlyDead);
      },
  );

/** Who may adopt what, and when. */
const places: readonly Rule[] = [
  {
    section: 6,
    rule: "survivors adopt only what belongs to a lease that has lapsed",
    name: "a node that is cut off is adopted although its lease is renewed",
    ...{ kind: "scenes", scene: "leased", seed: 1 },
    fault: /has a lease is not adopted/,
    plant: adoptAs(true),
  },
  {
    section: 6,
    rule: "who is certainly dead is adopted at once",
    name: "the lease of a node that is certainly dead is waited for",
    ...{ kind: "scenes", scene: "adopted", seed: 1 },
    fault: /is not waited for/,
    plant: adoptAs(false),
  },
  {
    section: 6,
    rule: "the first claim decides who adopts",
    name: "nobody looks whether another one has claimed a session first",
    ...{ kind: "scenes", scene: "homeChanges", seed: 1 },
    fault: /./,
    plant: () => replaceHidden(Try.prototype, "isVoid", () => () => Promise.resolve(true)),
  },
  {
    section: 6,
    rule: "the claim of an adopter that died counts when the session is in its own space",
    name: "claims of adopters that died are void without a look",
    ...{ kind: "scenes", scene: "adopterDiesLate", seed: 1 },
    fault: /./,
    plant: () => replaceHidden(Try.prototype, "isVoid", () => () => Promise.resolve(true)),
  },
  {
    section: 6,
    rule: "the claim of an adopter that died counts when the session is in its own space",
    name: "claims of adopters that died stand for ever",
    ...{ kind: "scenes", scene: "adopterDiesEarly", seed: 1 },
    fault: /gets connack/,
    plant: () => replaceHidden(Try.prototype, "isVoid", () => () => Promise.resolve(false)),
  },
  {
    section: 6,
    rule: "a claim that came to nothing is in nobody's way",
    name: "claims of nodes that live stand for ever",
    ...{ kind: "scenes", scene: "claimLeft", seed: 1 },
    fault: /gets connack/,
    plant: () => replaceHidden(Try.prototype, "askOutcome", () => () => Promise.resolve("open")),
  },
  {
    section: 6,
    rule: "a place that was given back is taken again when another node dies",
    name: "what a dead node left is closed when no session is left there",
    ...{ kind: "scenes", scene: "nextDies", seed: 1 },
    fault: /gets connack/,
    plant: () =>
      replaceHidden(
        DeadNode.prototype,
        "takePlace",
        (sound) =>
          function (this: DeadNode, ...args: never[]) {
            return this.isDone ? Promise.resolve(null) : sound.apply(this, args);
          },
      ),
  },
  {
    section: 6,
    rule: "sessions wait while a member that lives cannot be asked",
    name: "sessions are adopted while a member is cut off",
    ...{ kind: "scenes", scene: "memberAway", seed: 1 },
    fault: /comes first/,
    plant: () => {
      const undo = replace(Adoptions.prototype, "isComplete", () => () => true);
      const undoToo = replaceHidden(
        Readdressing.prototype,
        "pull",
        (sound) =>
          function (this: { host: ReaddressingHost }, ...args: never[]) {
            const { parts } = this.host;
            const [origin] = args as unknown as [string];
            const isAway = parts.cluster.state(origin) === "down";
            const isLost = isAway && this.host.placeOf(origin) === null;
            return isLost ? Promise.resolve() : sound.apply(this, args);
          },
      );
      return () => {
        undoToo();
        undo();
      };
    },
  },
  {
    section: 6,
    rule: "the old owner, cut off but alive, can neither write nor deliver",
    name: "who adopts raises no fence",
    kind: "cutoffs",
    seed: 46,
    fault: /./,
    plant: () =>
      replace(
        MemoryAccess.prototype,
        "storeOf",
        (sound) =>
          function (this: MemoryAccess, node: string, generation: number) {
            const store = sound.call(this, node, generation);
            const { content } = this.spaceOf(node);
            store.write = (writes) =>
              content.write(writes.map(({ partition, operations }) => ({ partition, operations })));
            return store;
          },
      ),
  },
  {
    section: 6,
    rule: "the old owner, cut off but alive, can neither write nor deliver",
    name: "an owner that cannot renew its lease goes on",
    ...{ kind: "scenes", scene: "outOfReach", seed: 1 },
    fault: /delivers nothing/,
    plant: () => replaceHidden(Lease.prototype, "judge", () => () => undefined),
  },
  {
    section: 6,
    rule: "an owner whose sessions were adopted while it lived ends",
    name: "an owner goes on after others adopted what it had",
    ...{ kind: "scenes", scene: "outOfReach", seed: 1 },
    fault: /was adopted ends/,
    plant: () => replaceHidden(SessionNode.prototype, "end", () => () => undefined),
  },
  {
    section: 6,
    rule: "while nobody reaches the store, everybody goes on",
    name: "a node that cannot renew its lease stops although nobody can adopt",
    ...{ kind: "scenes", scene: "storeAway", seed: 1 },
    fault: /live traffic goes on/,
    plant: () =>
      replaceGetter(
        Lease.prototype as object as { isExempt: boolean },
        "isExempt",
        () => () => false,
      ),
  },
];

/** What adopting does. */
const steps: readonly Rule[] = [
  {
    section: 6,
    rule: "what waited for the dead node is re-addressed before anything newer",
    name: "an adopted session is not given what had waited for its node",
    ...{ kind: "scenes", scene: "adopted", seed: 1 },
    fault: /all comes, in order/,
    plant: () => replaceHidden(Readdressing.prototype, "pullAll", () => () => Promise.resolve()),
  },
  {
    section: 6,
    rule: "what waited for the dead node is re-addressed before anything newer",
    name: "an adopted session takes what comes directly before that",
    ...{ kind: "scenes", scene: "adopted", seed: 2 },
    fault: /all comes, in order/,
    plant: () => replace(MovingIn.prototype, "deliver", () => () => true),
  },
  {
    section: 6,
    rule: "the commit at the adopter is the switch, and nothing is deleted before it",
    name: "what the dead node has of a session is deleted before it is stored",
    ...{ kind: "scenes", scene: "adopterDiesLate", seed: 1 },
    fault: /its session is found/,
    plant: () =>
      replaceHidden(
        Try.prototype,
        "commit",
        (sound) =>
          async function (this: { deleteThere(): Promise<void> }, ...args: never[]) {
            await this.deleteThere();
            await sound.apply(this, args);
          },
      ),
  },
  {
    section: 6,
    rule: "a client whose session is being adopted waits for it",
    name: "a home grants claims without a look at what dead nodes have",
    ...{ kind: "scenes", scene: "adopted", seed: 1 },
    fault: /its session was adopted/,
    plant: () => replace(Adoptions.prototype, "beforeGrant", () => () => Promise.resolve(true)),
  },
  {
    section: 6,
    rule: "who adopts a session publishes what its client had sent with QoS 2 again, under its number",
    name: "what a dead node had committed of QoS 2 publishes is not published again",
    ...{ kind: "scenes", scene: "sentBefore", seed: 1 },
    fault: /./,
    plant: () => replaceHidden(Try.prototype, "publishAgain", () => () => Promise.resolve()),
  },
  {
    section: 6,
    rule: "who adopts a session publishes what its client had sent with QoS 2 again, under its number",
    name: "QoS 2 publishes of a dead node's clients are published as new ones",
    ...{ kind: "scenes", scene: "sentBefore", seed: 1 },
    fault: /under the number that it had/,
    plant: () =>
      replaceHidden(
        Try.prototype,
        "publishOne",
        (sound) =>
          function (this: object, session: never, message: never) {
            (message as { identity: number }).identity += 1e6;
            return sound.call(this, session, message);
          },
      ),
  },
  {
    section: 6,
    rule: "what dead nodes had in their outboxes is read from the store",
    name: "what a dead node had for a living one is left behind",
    ...{ kind: "scenes", scene: "leftForLiving", seed: 1 },
    fault: /had for a living one/,
    plant: () =>
      replaceHidden(DeadNode.prototype, "takeLeftForUs", () => () => Promise.resolve(true)),
  },
  {
    section: 6,
    rule: "what dead nodes had in their outboxes is read from the store",
    name: "what a dead node had for another dead one is left behind",
    ...{ kind: "scenes", scene: "leftForDead", seed: 1 },
    fault: /had for another dead one/,
    plant: () =>
      replaceHidden(Readdressing.prototype, "pullStored", () => () => Promise.resolve(true)),
  },
  {
    section: 8,
    rule: "what a dead node has of groups, and does not come with a session, is for other members",
    name: "what an expired session has of groups goes with it",
    ...{ kind: "scenes", scene: "endedMember", seed: 1 },
    fault: /another member has them/,
    plant: () => replaceHidden(Try.prototype, "giveLeft", () => () => Promise.resolve()),
  },
  {
    section: 8,
    rule: "what a dead node has of groups, and does not come with a session, is for other members",
    name: "what came after the state had left is deleted with the rest",
    ...{ kind: "scenes", scene: "movedMember", seed: 1 },
    fault: /has them at its new node/,
    plant: () => replaceHidden(Try.prototype, "giveLeft", () => () => Promise.resolve()),
  },
  {
    section: 8,
    rule: "what a dead node has of groups, and does not come with a session, is for other members",
    name: "what a node took in doubt is deleted with the rest",
    ...{ kind: "scenes", scene: "leftInDoubt", seed: 1 },
    fault: /taken in doubt/,
    plant: () => replaceHidden(Readdressing.prototype, "giveLate", () => () => null),
  },
  {
    section: 7,
    rule: "rows go when their node was adopted",
    name: "rows of a node that was adopted stay",
    ...{ kind: "scenes", scene: "rowsGone", seed: 1 },
    fault: /are gone/,
    plant: () => replace(Peer.prototype, "dropRows", () => () => undefined),
  },
  {
    section: 7,
    rule: "what was adopted while its node was down may have rows at any node that is away",
    name: "a node that finds claims on its sessions expects rows of nobody",
    ...{ kind: "scenes", scene: "adoptedTwice", seed: 1 },
    fault: /published meanwhile/,
    plant: () => replace(Adoptions.prototype, "expectRows", () => () => undefined),
  },
  {
    section: 6,
    rule: "what comes for a session that may be elsewhere waits until that is known",
    name: "a node takes what a dead one had for sessions that others may have adopted",
    ...{ kind: "scenes", scene: "adopterOwes", seed: 1 },
    fault: /its adopter had/,
    plant: () =>
      replaceGetter(Adoptions.prototype as { isSettled: boolean }, "isSettled", () => () => true),
  },
  {
    section: 6,
    rule: "a session is where it was until its end is stored",
    name: "a session that has ended is forgotten before that is stored",
    ...{ kind: "scenes", scene: "endNotStored", seed: 1 },
    fault: /it is there again/,
    plant: () => replace(Sessions.prototype, "endingAt", () => () => undefined),
  },
];

export const adoptionRules: readonly Rule[] = [...places, ...steps];
