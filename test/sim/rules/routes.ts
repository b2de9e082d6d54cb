/** Rules of routes (design, section 7), broken on purpose. */
import type { Cluster } from "../../../src/cluster/cluster.js";
import { PeerRows } from "../../../src/cluster/peer-rows.js";
import { RowTable } from "../../../src/cluster/row-table.js";
import { StoredRows } from "../../../src/cluster/stored-rows.js";
import { Router } from "../../../src/routing/router.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

/** Of its own rows a node tells its peers of those alone that `tells` names. */
export function tellingRowsOnly(
  tells: (table: RowTable, filter: string, row: number) => boolean,
): () => void {
  return replaceHidden(
    Router.prototype,
    "setOwnRow",
    (sound) =>
      function (this: object, filter: string, row: number) {
        const { cluster } = this as { cluster: Cluster };
        const tell = sound as (this: object, ...args: unknown[]) => void;
        if (tells(cluster.table, filter, row)) tell.call(this, filter, row);
      },
  );
}

/** Every so often a delta is lost on its way; `breaks` is thrown besides. */
function whileDeltasAreLost(...breaks: readonly (() => void)[]): () => void {
  let deltas = 0;
  const undo = replace(
    PeerRows.prototype,
    "delta",
    (sound) =>
      function (this: PeerRows, body) {
        return ++deltas % 5 === 0 ? true : sound.call(this, body);
      },
  );
  return () => {
    for (const undoOne of breaks) undoOne();
    undo();
  };
}

export const routeRules: readonly Rule[] = [
  {
    section: 7,
    rule: "a snapshot replaces the old rows at its end only",
    name: "a snapshot's beginning clears the rows that were there",
    kind: "scenes",
    seed: 2,
    scene: "midst",
    fault: /in the midst/,
    plant: () =>
      replace(
        PeerRows.prototype,
        "begin",
        (sound) =>
          function (this: PeerRows) {
            const store = Reflect.get(this, "store") as {
              keys(): Iterable<string | undefined>;
              set(key: string, value: number): number;
            };
            for (const key of [...store.keys()]) if (key !== undefined) store.set(key, 0);
            sound.call(this);
          },
      ),
  },
  {
    section: 7,
    rule: "deltas are numbered: one that is missing asks for a snapshot",
    name: "a delta is taken although one before it is missing",
    kind: "cluster",
    seed: 1,
    fault: /came 0 times|holds of/,
    plant: () =>
      whileDeltasAreLost(
        replace(
          PeerRows.prototype,
          "delta",
          (sound) =>
            function (this: PeerRows, { seq, rows }) {
              if (this.seq !== -1 && seq > this.seq) this.seq = seq - 1;
              return sound.call(this, { seq, rows });
            },
        ),
      ),
  },
  {
    section: 7,
    rule: "digests in heartbeats: a copy that differs is sent anew",
    name: "nobody compares digests",
    kind: "cluster",
    seed: 1,
    fault: /holds of/,
    plant: () => {
      const undo = replace(
        PeerRows.prototype,
        "delta",
        (sound) =>
          function (this: PeerRows, { seq, rows }) {
            // Every fifth loses its first row.
            return sound.call(this, { seq, rows: seq % 5 === 0 ? rows.slice(2) : rows });
          },
      );
      const undoDiffers = replace(PeerRows.prototype, "differs", () => () => false);
      return () => {
        undo();
        undoDiffers();
      };
    },
  },
  {
    section: 7,
    rule: "SUBACK waits until all peers that are up hold the row",
    name: "SUBACK waits for nobody",
    kind: "cluster",
    seed: 1,
    fault: /came 0 times/,
    plant: () => replace(RowTable.prototype, "whenSynced", () => (done: () => void) => done()),
  },
  {
    section: 7,
    rule: "a durable row is acknowledged after its commit",
    name: "a durable row is acknowledged before it is stored",
    kind: "scenes",
    seed: 1,
    scene: "rowStays",
    fault: /its row/,
    plant: () => replace(StoredRows.prototype, "whenStored", () => (done: () => void) => done()),
  },
  {
    section: 7,
    rule: "peers' durable rows are stored, and loaded before anybody is let in",
    name: "peers' stored rows are not loaded",
    kind: "sessions",
    seed: 2,
    fault: /never got|no member/,
    plant: () => replace(StoredRows.prototype, "load", () => () => Promise.resolve()),
  },
  {
    section: 7,
    rule: "a peer that is down keeps its rows",
    name: "the rows of a peer go when it is down",
    kind: "sessions",
    seed: 1,
    fault: /never got|no member/,
    plant: () =>
      replace(
        Router.prototype,
        "onPeerState",
        (sound) =>
          function (this: Router, peer, state) {
            if (state === "down") {
              for (const key of [...this.peerRowKeys(peer)]) {
                if (key !== undefined) this.setPeerRow(peer, key, 0);
              }
            }
            sound.call(this, peer, state);
          },
      ),
  },
  {
    section: 7,
    rule: "only the owner's own rows are told, when they change",
    name: "the last subscriber's end is not told",
    kind: "cluster",
    seed: 2,
    fault: /tells|holds of/,
    plant: () => tellingRowsOnly((_table, _filter, row) => row !== 0),
  },
];
