/** Rules of sessions whose node was out of reach while their clients began younger ones (design, section 6), broken on purpose. */
import { CommonTable } from "../../../src/cluster/common-table.js";
import type { SessionPlace } from "../../../src/cluster/directory-types.js";
import { Home } from "../../../src/cluster/home.js";
import type { Opening } from "../../../src/session/opening.js";
import { RemoteEnds } from "../../../src/session/remote/ends.js";
import { Endings } from "../../../src/session/superseded/endings.js";
import { HandingOver } from "../../../src/session/superseded/handing-over.js";
import { InDoubt } from "../../../src/session/superseded/in-doubt.js";
import { Remainder } from "../../../src/session/superseded/remainder.js";
import type { Succession } from "../../../src/session/superseded/succession.js";
import { Superseded, type SupersededHost } from "../../../src/session/superseded/superseded.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

type Method = (this: object, ...args: unknown[]) => unknown;

function all(...undos: readonly (() => void)[]): () => void {
  return () => {
    for (const undo of undos) undo();
  };
}

/** The connection of an older session stays when that is told to end. */
const unclosed = (): (() => void) =>
  replaceHidden(
    Superseded.prototype,
    "follow",
    (sound) =>
      function (this: Superseded, clientId: string, ...rest: unknown[]) {
        const session = (Reflect.get(this, "host") as SupersededHost).get(clientId);
        const channel = session?.channel ?? null;
        if (session !== undefined) session.channel = null;
        (sound as Method).call(this, clientId, ...rest);
        if (session !== undefined) session.channel = channel;
      },
  );

export const successionRules: readonly Rule[] = [
  {
    section: 6,
    rule: "owner down, embedded store: CONNECT succeeds with session-present 0 and a new session",
    name: "a client waits for the node of its session",
    kind: "scenes",
    seed: 1,
    scene: "ownerDown",
    fault: /CONNECT succeeds/,
    plant: () =>
      replaceHidden(
        RemoteEnds.prototype,
        "tryFetch",
        (sound) =>
          function (this: RemoteEnds, opening: Opening, place: SessionPlace, deadlineMs: number) {
            (sound as Method).call(this, opening, { ...place, isUp: true }, deadlineMs);
          },
      ),
  },
  {
    section: 6,
    rule: "when the owner is back, announcements go before any outbox drains",
    name: "what waits for a node comes before it has asked whose sessions have ended",
    kind: "scenes",
    seed: 3,
    scene: "cutOff",
    fault: /up to the cut/,
    plant: () => replace(Superseded.prototype, "resume", () => () => Promise.resolve()),
  },
  {
    section: 6,
    rule: "a superseded session takes from each origin only up to the younger one's first subscription",
    name: "an older session takes what comes as long as it is there",
    kind: "scenes",
    seed: 1,
    scene: "cutOff",
    fault: /up to the cut/,
    plant: () => replaceHidden(Remainder.prototype, "isLater", () => () => false),
  },
  {
    section: 6,
    rule: "a superseded session takes from each origin what came up to that subscription",
    name: "an older session takes nothing more",
    kind: "scenes",
    seed: 1,
    scene: "cutOff",
    fault: /up to the cut/,
    plant: () => replaceHidden(Remainder.prototype, "isLater", () => () => true),
  },
  {
    section: 6,
    rule: "the older session hands its queue to the winner once",
    name: "a queue that is given again is taken again",
    kind: "scenes",
    seed: 1,
    scene: "givenAgain",
    fault: /handed over once/,
    plant: () =>
      replaceHidden(
        Superseded.prototype,
        "note",
        (sound) =>
          function (this: Superseded, session: object, succession: Succession) {
            (sound as Method).call(this, session, { ...succession, taken: [] });
          },
      ),
  },
  {
    section: 6,
    rule: "the older session hands its queue to the winner once",
    name: "a node that starts again gives what it had given before",
    kind: "joins",
    seed: 645,
    fault: /got .* times/,
    plant: () =>
      replace(
        HandingOver.prototype,
        "legacyOf",
        (sound) =>
          function (this: HandingOver, session, remainder, _takenSeq, before) {
            return sound.call(this, session, remainder, 0, before);
          },
      ),
  },
  {
    section: 6,
    rule: "the older session hands its queue to the winner once",
    name: "an older session gives the youngest what one in between has taken",
    kind: "scenes",
    seed: 1,
    scene: "firstOfThree",
    fault: /handed over once/,
    plant: () =>
      replaceHidden(Superseded.prototype, "takenElsewhere", () => () => Promise.resolve(0)),
  },
  {
    section: 6,
    rule: "the older session hands its queue to the winner once",
    name: "the youngest session does not hear what the one in between had taken",
    kind: "scenes",
    seed: 3,
    scene: "secondOfThree",
    fault: /handed over once/,
    plant: () =>
      replace(
        HandingOver.prototype,
        "give",
        (sound) =>
          function (this: HandingOver, { clientId, epoch }, ...rest) {
            return sound.call(this, { clientId, epoch, succession: null }, ...rest);
          },
      ),
  },
  {
    section: 6,
    rule: "a superseded session takes from each origin only up to the younger one's first subscription",
    name: "of two younger sessions the last one says where the oldest ends",
    kind: "scenes",
    seed: 1,
    scene: "firstOfThree",
    fault: /handed over once/,
    plant: () =>
      replace(
        Remainder.prototype,
        "cutAt",
        () =>
          function (this: Remainder, cuts) {
            const byOrigin = Reflect.get(this, "byOrigin") as Map<string, (typeof cuts)[number]>;
            for (const cut of cuts) byOrigin.set(cut.origin, cut);
          },
      ),
  },
  {
    section: 6,
    rule: "the older session hands its queue to the winner once",
    name: "an older session follows whichever younger one it hears of last",
    kind: "scenes",
    seed: 4,
    scene: "firstOfThree",
    fault: /there is one session/,
    plant: () =>
      replaceHidden(
        Superseded.prototype,
        "follow",
        (sound) =>
          function (this: Superseded, clientId: string, ...rest: unknown[]) {
            const leaving = Reflect.get(this, "leaving") as Map<string, { youngerEpoch: number }>;
            const under = leaving.get(clientId);
            if (under !== undefined) under.youngerEpoch = 0;
            (sound as Method).call(this, clientId, ...rest);
          },
      ),
  },
  {
    section: 6,
    rule: "the older session hands its queue to the winner once",
    name: "a client that is given the older session again gets what the younger one may have",
    kind: "scenes",
    seed: 1,
    scene: "waitsThere",
    fault: /what is in doubt waits/,
    plant: () => replace(InDoubt.prototype, "attaching", () => () => undefined),
  },
  {
    section: 6,
    rule: "the older session hands its queue to the winner once",
    name: "an older session that is the youngest again does not hear what the other one had taken",
    kind: "scenes",
    seed: 1,
    scene: "deliveredBefore",
    fault: /comes once/,
    plant: () => replaceHidden(InDoubt.prototype, "takenOf", () => () => Promise.resolve(0)),
  },
  {
    section: 6,
    rule: "if the winner began with Clean Start the old one is discarded",
    name: "an older session hands its queue to one that began with Clean Start",
    kind: "scenes",
    seed: 1,
    scene: "cleanWinner",
    fault: /is discarded/,
    plant: () =>
      replace(
        Superseded.prototype,
        "begin",
        (sound) =>
          function (this: Superseded, session, opening) {
            const request = { ...opening.request, clean: false };
            sound.call(this, session, { ...opening, request });
          },
      ),
  },
  {
    section: 6,
    rule: "an ended session leaves a tombstone until all members have it",
    name: "nobody notes that a session has ended that had succeeded another one",
    kind: "scenes",
    seed: 1,
    scene: "tombstone",
    fault: /leaves a tombstone/,
    plant: () => replace(Endings.prototype, "tell", () => () => undefined),
  },
  {
    section: 6,
    rule: "an ended session leaves a tombstone until all members have it",
    name: "only its own node notes that a session has ended",
    kind: "scenes",
    seed: 1,
    scene: "tombstone",
    fault: /leaves a tombstone/,
    plant: () =>
      all(
        replaceHidden(CommonTable.prototype, "tell", () => () => undefined),
        replace(CommonTable.prototype, "answer", () => () => undefined),
      ),
  },
  {
    section: 6,
    // The home closes the older connection, and so does the older session when it is told to end: both are broken here.
    rule: "of two live sessions after a partition the higher epoch wins, the other's connection gets 0x8E",
    name: "the older connection of a client stays after a cut",
    kind: "scenes",
    seed: 1,
    scene: "twoHalves",
    fault: /higher epoch wins/,
    plant: () =>
      all(
        unclosed(),
        replaceHidden(Home.prototype, "settleConflict", () => () => undefined),
      ),
  },
];
