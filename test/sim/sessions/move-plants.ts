/** Rules of moves, broken on purpose: the simulation is worth something only as long as it finds each of these. */
import { Barriers } from "../../../src/cluster/barrier.js";
import { Incoming } from "../../../src/session/move/incoming.js";
import { SessionImport } from "../../../src/session/move/import.js";
import { Moves } from "../../../src/session/move/moves.js";
import { MovingIn } from "../../../src/session/move/moving-in.js";
import { Outgoing } from "../../../src/session/move/outgoing.js";
import { Connection } from "../../../src/net/connection.js";
import type { Mishap, Whereabouts } from "./move-story.js";
import { type Plant, replace } from "./plants.js";

export interface MovePlant extends Plant {
  /** What must go wrong for it to show; null: nothing. */
  readonly mishap: Mishap | null;
  /** Where the client of the session is connected; absent: it is away. */
  readonly whereabouts?: Whereabouts;
}

/** A method that only its own class may call. */
function replaceHidden(prototype: object, name: string, broken: unknown): () => void {
  // Tests know what is there.
  return replace(prototype as Record<string, unknown>, name, () => broken);
}

export const movePlants: readonly MovePlant[] = [
  {
    name: "the new owner does not ask what the old one was sent alone",
    fault: /never got/,
    mishap: { kind: "cut", between: [0, 2] },
    plant: () =>
      replace(
        Barriers.prototype,
        "reach",
        () => () => Promise.resolve({ positions: [], holds: () => true }),
      ),
  },
  {
    name: "the new owner does not hold what comes meanwhile",
    fault: /never got/,
    mishap: null,
    plant: () => replace(MovingIn.prototype, "deliver", () => () => true),
  },
  {
    name: "the snapshot has no marks",
    fault: /again, with QoS|before under/,
    mishap: null,
    plant: () => replaceHidden(SessionImport.prototype, "restoreMarks", () => undefined),
  },
  {
    name: "the session is here before its write is durable",
    fault: /never got|session present|has one owner/,
    mishap: { kind: "crash", node: 1 },
    plant: () =>
      replaceHidden(Incoming.prototype, "commit", function (this: { isCommitting: boolean }) {
        this.isCommitting = true;
        return Promise.resolve();
      }),
  },
  {
    name: "an old owner that did not hear the outcome does not ask",
    fault: /has one owner/,
    mishap: { kind: "crash", node: 1 },
    plant: () => replace(Outgoing.prototype, "watch", () => () => Promise.resolve()),
  },
  {
    name: "an old owner that starts again goes on as if nothing had left",
    fault: /has one owner|never got|again, with QoS|before under/,
    mishap: { kind: "crash", node: 0 },
    plant: () => replace(Moves.prototype, "restoreOutgoing", () => () => undefined),
  },
  {
    name: "a connection is read while its session moves",
    fault: /again, with QoS|never got|unanswered|before under/,
    mishap: null,
    whereabouts: 0,
    plant: () => replace(Connection.prototype, "hold", () => (done: () => void) => done()),
  },
];
