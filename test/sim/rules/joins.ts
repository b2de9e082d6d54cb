/** Rules of two clusters that become one (design, sections 6, 8 and 9), broken on purpose. */
import { Cluster } from "../../../src/cluster/cluster.js";
import { Home, type HomeNetwork, type Place } from "../../../src/cluster/home.js";
import type { RetainedStore } from "../../../src/routing/retained.js";
import { RetainedSync } from "../../../src/routing/retained-sync.js";
import { HandingOver } from "../../../src/session/superseded/handing-over.js";
import { Superseded } from "../../../src/session/superseded/superseded.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

interface Entry {
  readonly connections: readonly Place[];
}

type Call = (this: object, ...args: unknown[]) => unknown;

export const joinRules: readonly Rule[] = [
  {
    section: 6,
    rule: "two clusters join: the younger session has the queue of both",
    name: "joined, the older session just ends",
    kind: "joins",
    seed: 1,
    fault: /never got/,
    plant: () => replace(HandingOver.prototype, "give", () => () => Promise.resolve(true)),
  },
  {
    section: 6,
    rule: "two clusters join: the older session goes on until all hold the rows of the younger",
    name: "joined, the older session ends while somebody does not know of the younger",
    kind: "joins",
    seed: 3079,
    fault: /never got/,
    plant: () => replaceHidden(Superseded.prototype, "allKnow", () => () => true),
  },
  {
    section: 6,
    rule: "two clusters join: the older session hands over once",
    name: "joined, the older session hands over and goes on",
    kind: "joins",
    seed: 1,
    fault: /sessions of|[2-9] times|has 2 connections/,
    plant: () => replaceHidden(Superseded.prototype, "end", () => () => undefined),
  },
  {
    section: 6,
    rule: "two clusters join: of two connections of one client id the younger stays",
    name: "joined, the older connection stays too",
    kind: "joins",
    seed: 1,
    fault: /has 2 connections|older connection/,
    plant: () => {
      const undo = replaceHidden(Home.prototype, "settleConflict", () => () => undefined);
      const undoSessions = replaceHidden(Home.prototype, "settleSessions", () => () => undefined);
      return () => {
        undo();
        undoSessions();
      };
    },
  },
  {
    section: 6,
    rule: "two clusters join: of two connections of one client id the younger stays",
    name: "joined, the younger connection goes",
    kind: "joins",
    seed: 8,
    fault: /has 0 connections|older connection/,
    plant: () =>
      replaceHidden(
        Home.prototype,
        "settleConflict",
        () =>
          function (this: { network: HomeNetwork }, clientId: string, entry: Entry) {
            const { connections } = entry;
            const oldest = Math.min(...connections.map(({ epoch }) => epoch));
            for (const { node, epoch } of connections) {
              if (epoch > oldest) this.network.displaceAt(node, clientId, epoch + 1);
            }
          },
      ),
  },
  {
    section: 8,
    rule: "two clusters join: of a topic's retained messages that of the higher stamp stays",
    name: "joined, each keeps what it retained",
    kind: "joins",
    seed: 1,
    fault: /retains/,
    plant: () => replaceHidden(RetainedSync.prototype, "answer", () => () => undefined),
  },
  {
    section: 8,
    rule: "two clusters join: of a topic's retained messages that of the higher stamp stays",
    name: "joined, what is retained there takes the place of what is retained here",
    kind: "joins",
    seed: 2,
    fault: /retains/,
    plant: () =>
      replaceHidden(
        RetainedSync.prototype,
        "take",
        (sound) =>
          function (this: { store: RetainedStore }, body: Buffer) {
            const { store } = this;
            const newest = store.set;
            store.set = function (message, durably) {
              const before = this.get(message.topic.name);
              if (before !== undefined) {
                message.stamp = Math.max(message.stamp, before.stamp + 1);
              }
              return newest.call(this, message, durably);
            };
            (sound as Call).call(this, body);
            store.set = newest;
          },
      ),
  },
  {
    section: 6,
    rule: "two clusters join: live connections stay",
    name: "joined, a node starts its clients anew",
    kind: "joins",
    seed: 1,
    fault: /lost its connection/,
    plant: () =>
      replaceHidden(
        Cluster.prototype,
        "onMembersChanged",
        (sound) =>
          function (this: Cluster, changed: readonly { readonly name: string }[]) {
            (sound as Call).call(this, changed);
            const host = this.directory as unknown as {
              host: { displace(clientId: string, epoch: number, done: () => void): void } & {
                entries(): Iterable<{ clientId: string }>;
              };
            };
            for (const { clientId } of [...host.host.entries()]) {
              host.host.displace(clientId, Number.MAX_SAFE_INTEGER, () => undefined);
            }
          },
      ),
  },
];
