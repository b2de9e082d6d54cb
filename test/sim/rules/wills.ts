/** Rules of wills that are stored and fired once (design, section 8), broken on purpose. */
import type { Message } from "../../../src/routing/message.js";
import { ClientWills } from "../../../src/session/client-wills.js";
import { OwnWills } from "../../../src/session/own-wills.js";
import { StoredWills } from "../../../src/session/stored-wills.js";
import { WillNotes } from "../../../src/session/will-notes.js";
import { type Rule, replace } from "./rule.js";

export const willRules: readonly Rule[] = [
  {
    section: 8,
    rule: "wills are stored: they outlive all nodes that hold them",
    name: "wills are in memory alone",
    kind: "wills",
    seed: 13,
    fault: /0 times: it is due/,
    plant: () => replace(StoredWills.prototype, "hold", () => () => undefined),
  },
  {
    section: 8,
    rule: "at heal the owner closes a connection whose will was fired",
    name: "a client whose will others have published stays connected",
    kind: "wills",
    seed: 3,
    fault: /online/,
    plant: () => replace(ClientWills.prototype, "onSettled", () => () => undefined),
  },
  {
    section: 8,
    rule: "a will of QoS 0 that a process began to publish which is dead is settled",
    name: "a will of QoS 0 is its owner's again when who began to publish it is dead",
    kind: "scenes",
    seed: 2,
    scene: "halfTold",
    fault: /once at most/,
    plant: () =>
      replace(
        WillNotes.prototype,
        "begin",
        (sound) =>
          function (this: WillNotes, owner, clientId, epoch, { by }) {
            sound.call(this, owner, clientId, epoch, { by, process: 0 });
          },
      ),
  },
  {
    section: 8,
    rule: "who has answered that it knows of a will knows when it starts again",
    name: "what is known of other nodes' wills is in memory alone",
    kind: "scenes",
    seed: 1,
    scene: "newToAll",
    fault: /comes once/,
    plant: () => replace(StoredWills.prototype, "note", () => () => undefined),
  },
  {
    section: 8,
    rule: "a will that is entrusted to a node outlives that node's process",
    name: "wills that are entrusted to a node are in its memory alone",
    kind: "scenes",
    seed: 1,
    scene: "entrusted",
    fault: /is due, or is void/,
    plant: () => replace(ClientWills.prototype, "keep", () => () => undefined),
  },
  {
    section: 8,
    rule: "a third node knows of a will of a dead node that it was published",
    name: "the holders alone know that a will was published",
    kind: "scenes",
    seed: 2,
    scene: "twoAway",
    fault: /comes once/,
    plant: () =>
      replace(
        OwnWills.prototype,
        "holdersOf",
        (sound) =>
          function (this: OwnWills, clientId) {
            return sound.call(this, clientId);
          },
      ),
  },
  {
    section: 8,
    rule: "a will that is published again after a crash comes under its identity",
    name: "a will that is published again has another identity",
    kind: "wills",
    seed: 44,
    fault: /[2-9] times/,
    plant: () =>
      replace(
        StoredWills.prototype,
        "publishRecovered",
        (sound) =>
          function (this: StoredWills) {
            // What it holds of them is its own.
            const recovered = Reflect.get(this, "recovered") as Message[];
            for (const message of recovered) message.identity += 1e6;
            sound.call(this);
          },
      ),
  },
];
