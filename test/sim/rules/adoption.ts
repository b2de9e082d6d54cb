/** Rules of adopting what dead nodes left in a shared store, broken on purpose. */
import { Readdressing } from "../../../src/session/adoption/readdressing.js";
import { Try } from "../../../src/session/adoption/try.js";
import { Adoptions } from "../../../src/session/adoption/adoptions.js";
import { Lease } from "../../../src/store/lease.js";
import { MemoryAccess } from "../../../src/store/shared-memory.js";
import { MovingIn } from "../../../src/session/move/moving-in.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

export const adoptionRules: readonly Rule[] = [
  {
    section: 6,
    rule: "what waited for the dead node is re-addressed before anything newer",
    name: "an adopted session is not given what had waited for its node",
    kind: "scenes",
    seed: 1,
    scene: "waitedForDead",
    fault: /its adopter/,
    plant: () => replaceHidden(Readdressing.prototype, "pullAll", () => () => Promise.resolve()),
  },
  {
    section: 6,
    rule: "what waited for the dead node is re-addressed before anything newer",
    name: "an adopted session takes what comes directly before that",
    kind: "cutoffs",
    seed: 54,
    fault: /never got|after number|no member/,
    plant: () => replace(MovingIn.prototype, "deliver", () => () => true),
  },
  {
    section: 6,
    rule: "the commit at the adopter is the switch, and nothing is deleted before it",
    name: "what the dead node has of a session is deleted before it is stored",
    kind: "adopts",
    seed: 269,
    fault: /session present|never got|no member/,
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
    rule: "the first claim decides who adopts",
    name: "nobody looks whether another one has claimed a session first",
    kind: "adopts",
    seed: 121,
    fault: /./,
    plant: () => replaceHidden(Try.prototype, "claim", () => () => Promise.resolve()),
  },
  {
    section: 6,
    rule: "a client whose session is being adopted waits for it",
    name: "a home grants claims without a look at what dead nodes have",
    kind: "adopts",
    seed: 2,
    fault: /session present/,
    plant: () => replace(Adoptions.prototype, "beforeGrant", () => () => Promise.resolve(true)),
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
    kind: "cutoffs",
    seed: 82,
    fault: /its session is at/,
    plant: () => replaceHidden(Lease.prototype, "judge", () => () => undefined),
  },
];
