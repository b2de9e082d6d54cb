/**
 * More rules of routes (design, section 7), broken on purpose: when rows come and go, and who waits for them. That a filter has 128
 * levels at most is a limit (test/limits), and that no walk recurses is a property of the trie (test/routing).
 */
import { Cluster } from "../../../src/cluster/cluster.js";
import { Peer } from "../../../src/cluster/peer.js";
import { PeerRows, type RowStore } from "../../../src/cluster/peer-rows.js";
import { RowTable } from "../../../src/cluster/row-table.js";
import { FrameType } from "../../../src/cluster/wire/frames.js";
import type { Clock } from "../../../src/lib/clock.js";
import { LevelScan } from "../../../src/routing/level-scan.js";
import { RetainedWalk } from "../../../src/routing/retained-tree.js";
import { Router } from "../../../src/routing/router.js";
import { FilterTrie } from "../../../src/routing/trie.js";
import { Sessions } from "../../../src/session/sessions.js";
import { tellingRowsOnly } from "./routes.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

type Call = (this: object, ...args: unknown[]) => unknown;

export const rowRules: readonly Rule[] = [
  {
    section: 7,
    rule: "a change of a row's flags is told",
    name: "peers are told that a row is there, and not what changes of it",
    kind: "cluster",
    seed: 2,
    fault: /tells|holds of/,
    plant: () =>
      tellingRowsOnly((table, filter, row) => {
        const isThere = [...table.entries()].some(([key]) => key === filter);
        return !isThere || row === 0;
      }),
  },
  {
    section: 7,
    rule: "only changes are told, batched per turn",
    name: "peers are told of every subscription",
    kind: "scenes",
    scene: "oneDelta",
    seed: 1,
    fault: /not told again/,
    plant: () =>
      replace(
        RowTable.prototype,
        "set",
        (sound) =>
          function (this: RowTable, key, value) {
            sound.call(this, key, 0);
            sound.call(this, key, value);
          },
      ),
  },
  {
    section: 7,
    rule: "only changes are told, batched per turn",
    name: "every row is told by itself",
    kind: "scenes",
    scene: "oneDelta",
    seed: 1,
    fault: /one delta/,
    plant: () =>
      replace(
        RowTable.prototype,
        "set",
        (sound) =>
          function (this: RowTable, key, value) {
            sound.call(this, key, value);
            this.digest();
          },
      ),
  },
  {
    section: 7,
    rule: "a snapshot replaces the old rows",
    name: "a snapshot adds to the rows that were there",
    kind: "cluster",
    seed: 2,
    fault: /holds of|in the midst|members/,
    plant: () =>
      replaceHidden(
        PeerRows.prototype,
        "steps",
        (sound) =>
          function (this: object, snapshot: object) {
            const store = Reflect.get(this, "store") as RowStore;
            const adding: object = Object.create(this, {
              store: { value: { set: store.set, keys: () => [] } },
            });
            return (sound as Call).call(adding, snapshot);
          },
      ),
  },
  {
    section: 7,
    rule: "a node opens no link before its own durable rows are loaded",
    name: "a node is linked while its sessions are being loaded",
    kind: "scenes",
    scene: "ownRowsFirst",
    seed: 1,
    fault: /while its node started/,
    plant: () =>
      replace(
        Sessions.prototype,
        "load",
        (sound) =>
          function (this: Sessions, onProgress) {
            const { clock } = this.journals?.parts ?? { clock: null };
            if (clock === null) return sound.call(this, onProgress);
            (clock as Clock).setTimer(500, () => void sound.call(this, onProgress));
            return Promise.resolve({ sessions: 0, messages: 0, highestEpoch: 0 });
          },
      ),
  },
  {
    section: 7,
    rule: "a node that starts links to every member that answers, and only then lets clients in",
    name: "a node that starts lets clients in at once",
    kind: "scenes",
    scene: "knowsFirst",
    seed: 1,
    fault: /knows first/,
    plant: () => replace(Cluster.prototype, "settled", () => () => Promise.resolve()),
  },
  {
    section: 7,
    rule: "… and waits for them for start.sync_timeout at most",
    name: "a node that starts waits for every member",
    kind: "scenes",
    scene: "startsInTime",
    seed: 1,
    fault: /five seconds/,
    plant: () =>
      replace(
        Cluster.prototype,
        "settled",
        (sound) =>
          function (this: Cluster) {
            return sound.call(this, 1e9);
          },
      ),
  },
  {
    section: 7,
    rule: "routes verify compares a copy on demand",
    name: "a copy that is to be compared is said to be right",
    kind: "scenes",
    scene: "verified",
    seed: 1,
    fault: /when it is asked for/,
    plant: () => replace(Peer.prototype, "verifyRows", () => (done) => done(true)),
  },
  {
    section: 7,
    rule: "rows go when their node left or was removed",
    name: "the rows of a node that is no member stay",
    kind: "scenes",
    scene: "rowsGo",
    seed: 1,
    fault: /no members go/,
    plant: () =>
      replaceHidden(
        Cluster.prototype,
        "dropSlot",
        (sound) =>
          function (this: Cluster, ...args: unknown[]) {
            const undo = replace(Router.prototype, "peerRowKeys", () => () => []);
            (sound as Call).apply(this, args);
            undo();
          },
      ),
  },
  {
    section: 7,
    rule: "rows go after forget_after",
    name: "the rows of a node that is away stay for ever",
    kind: "scenes",
    scene: "rowsForgotten",
    seed: 1,
    fault: /away for too long go/,
    plant: () => replaceHidden(Peer.prototype, "isAwayTooLong", () => () => false),
  },
  {
    section: 7,
    rule: "rows go after forget_after",
    name: "the rows of a node that is away for too long stay in the store",
    kind: "scenes",
    scene: "rowsForgotten",
    seed: 1,
    fault: /away for too long go/,
    plant: () =>
      replaceHidden(
        Peer.prototype,
        "onRowChanged",
        (sound) =>
          function (this: Peer, key: string, before: number, value: number) {
            if (value !== 0) (sound as Call).call(this, key, before, value);
          },
      ),
  },
  {
    section: 7,
    rule: "SUBACK waits for peers that are suspect too",
    name: "SUBACK does not wait for a peer that is suspect",
    kind: "scenes",
    scene: "suspectToo",
    seed: 1,
    fault: /for a suspect/,
    plant: () =>
      replace(
        Cluster.prototype,
        "isWaitedFor",
        () =>
          function (this: Cluster, name) {
            return this.state(name) === "up";
          },
      ),
  },
  {
    section: 7,
    rule: "SUBACK waits for the newest delta of its row, whoever caused it",
    name: "SUBACK waits for those changes alone that its SUBSCRIBE made",
    kind: "scenes",
    scene: "whoeverCausedIt",
    seed: 1,
    fault: /whoever made the row/,
    plant: () =>
      replace(
        RowTable.prototype,
        "whenSynced",
        (sound) =>
          function (this: RowTable, done) {
            const changed = Reflect.get(this, "changed") as Map<string, number>;
            if (changed.size === 0) done();
            else sound.call(this, done);
          },
      ),
  },
  {
    section: 7,
    rule: "a snapshot's acknowledgement counts",
    name: "SUBACK waits for the acknowledgement of a delta",
    kind: "scenes",
    scene: "snapshotCounts",
    seed: 1,
    fault: /of a snapshot counts/,
    plant: () =>
      replaceHidden(
        Peer.prototype,
        "onRows",
        (sound) =>
          function (this: Peer, ...args: unknown[]) {
            const isFirst = args[0] === FrameType.rowsAck && this.ackedSeq === -1;
            const table = Reflect.get(this, "table") as RowTable;
            const release = table.release.bind(table);
            if (isFirst) table.release = () => undefined;
            (sound as Call).apply(this, args);
            if (!isFirst) return;
            table.release = release;
            this.ackedSeq = -1;
          },
      ),
  },
  {
    section: 7,
    rule: "SUBACK waits for subscribe.sync_timeout at most",
    name: "SUBACK waits for a peer for as long as that takes",
    kind: "scenes",
    scene: "notForEver",
    seed: 1,
    fault: /SUBACK of t|at most/,
    plant: () => replaceHidden(RowTable.prototype, "onTimer", () => () => undefined),
  },
  {
    section: 7,
    rule: "topics that begin with $ never match a leading wildcard",
    name: "topics that begin with $ are like others",
    kind: "scenes",
    scene: "systemTopics",
    seed: 1,
    fault: /match no wildcard/,
    plant: () =>
      replace(
        FilterTrie.prototype,
        "match",
        (sound) =>
          function (this: FilterTrie, topic, sink) {
            const plain = new LevelScan();
            plain.read(topic.text);
            const hidden = Object.create(plain, {
              text: { get: () => (reads++ === 0 ? "" : topic.text) },
            }) as LevelScan; // made of one
            let reads = 0;
            sound.call(this, hidden, sink);
          },
      ),
  },
  {
    section: 7,
    rule: "topics that begin with $ never match a leading wildcard",
    name: "retained messages whose topics begin with $ are like others",
    kind: "scenes",
    scene: "systemTopics",
    seed: 1,
    fault: /is retained there/,
    plant: () => replaceHidden(RetainedWalk.prototype, "hides", () => () => false),
  },
];
