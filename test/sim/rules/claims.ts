/** Rules of claims (design, section 6, CONNECT), broken on purpose. */
import { DirectoryService } from "../../../src/cluster/directory.js";
import { Home } from "../../../src/cluster/home.js";
import { HybridClock } from "../../../src/lib/hlc.js";
import { Connection } from "../../../src/net/connection.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

type Method = (this: object, ...args: unknown[]) => unknown;

interface Entry {
  user: string;
  connections: readonly unknown[];
}

/** A home does something to what it knows of a client id before it grants a claim of that. */
const beforeGrants = (change: (entry: Entry, user: string) => void) => (): (() => void) =>
  replaceHidden(
    Home.prototype,
    "grant",
    (sound) =>
      function (this: Home, waiting: { body: { clientId: string; user: string } }) {
        const { clientId, user } = waiting.body;
        const entry = this.lookup(clientId);
        if (entry !== undefined) change(entry as Entry, user);
        (sound as Method).call(this, waiting);
      },
  );

/** A home takes it that all members have told it what they have. */
const complete = (): (() => void) => replaceHidden(Home.prototype, "isComplete", () => () => true);

/** A home does not look by which list of members it was found. */
const anyList = (): (() => void) =>
  replace(
    Home.prototype,
    "claim",
    (sound) =>
      function (this: Home, claimant, body, reply) {
        const network = Reflect.get(this, "network") as { list(): number };
        sound.call(this, claimant, { ...body, list: network.list() }, reply);
      },
  );

export const claimRules: readonly Rule[] = [
  {
    section: 6,
    rule: "until a home has every up member's announcements it asks all of them before it grants",
    name: "a home grants what it does not know before it has heard of all",
    kind: "scenes",
    seed: 3,
    scene: "unannounced",
    fault: /that is up is found/,
    plant: complete,
  },
  {
    section: 6,
    // A home that has another list than the claimant has not heard all announcements for it either, and asks all members before
    // it grants: that rule alone finds the session. Both are broken here.
    rule: "another member list at the home: the claimant tries again",
    name: "a home grants what was asked by another list of members, and asks nobody",
    kind: "scenes",
    seed: 1,
    scene: "staleList",
    fault: /that is up is found/,
    plant: () => {
      const undos = [complete(), anyList()];
      return () => {
        for (const undo of undos) undo();
      };
    },
  },
  {
    section: 6,
    rule: "a client id's home is the same node for all who have the same members",
    name: "each node answers for all client ids itself",
    kind: "cluster",
    seed: 1,
    fault: /connections of one client id|believes|not the newest/,
    plant: () =>
      replaceHidden(
        DirectoryService.prototype,
        "homeOf",
        () =>
          function (this: DirectoryService) {
            return this.self;
          },
      ),
  },
  {
    section: 6,
    rule: "another user's session is refused",
    name: "a home gives a session to any user",
    kind: "scenes",
    seed: 1,
    scene: "otherUser",
    fault: /is refused/,
    plant: beforeGrants((entry, user) => {
      entry.user = user;
    }),
  },
  {
    section: 6,
    rule: "a grant lists every connection that is not yet confirmed closed",
    name: "a grant lists the latest connection alone",
    kind: "scenes",
    seed: 1,
    scene: "unconfirmed",
    fault: /not yet confirmed closed/,
    plant: beforeGrants((entry) => {
      entry.connections = entry.connections.slice(-1);
    }),
  },
  {
    section: 6,
    rule: "an epoch is higher than any that the home or the claimant has seen",
    name: "epochs come from a node's own clock alone",
    kind: "scenes",
    seed: 1,
    scene: "slowClock",
    fault: /higher than any/,
    plant: () => replace(HybridClock.prototype, "observe", () => () => undefined),
  },
  {
    section: 6,
    rule: "a claim waits until older connections are closed, at most takeover.timeout",
    name: "a claim waits without an end",
    kind: "scenes",
    seed: 1,
    scene: "silentOwner",
    fault: /has an end/,
    plant: () =>
      replaceHidden(
        DirectoryService.prototype,
        "onAnswer",
        (sound) =>
          function (this: DirectoryService, ...args: unknown[]) {
            const network = Reflect.get(this, "network") as object;
            const patient = Object.create(network, { takeoverTimeoutMs: { value: 1e9 } });
            Reflect.set(this, "network", patient);
            (sound as Method).apply(this, args);
            Reflect.set(this, "network", network);
          },
      ),
  },
  {
    section: 6,
    rule: "a claim does not wait for a node that is down",
    name: "a claim waits for a node that is down as for one that is silent",
    kind: "scenes",
    seed: 1,
    scene: "deadOwner",
    fault: /waits for a node that is down/,
    plant: () => replace(DirectoryService.prototype, "isLive", () => () => true),
  },
  {
    section: 6,
    rule: "a newer claim supersedes one that waits",
    name: "a claim that waits goes on although there is a newer one",
    kind: "scenes",
    seed: 1,
    scene: "newerClaim",
    fault: /supersedes one/,
    plant: () =>
      replace(
        DirectoryService.prototype,
        "displace",
        (sound) =>
          function (this: DirectoryService, ...args) {
            const claims = Reflect.get(this, "claims") as object;
            Reflect.set(this, "claims", new Map());
            sound.apply(this, args);
            Reflect.set(this, "claims", claims);
          },
      ),
  },
  {
    section: 6,
    rule: "a claim whose connection has closed comes to nothing",
    name: "a claim goes on although its connection has closed",
    kind: "scenes",
    seed: 1,
    scene: "givenUp",
    fault: /given up/,
    plant: () => replaceHidden(DirectoryService.prototype, "isGivenUp", () => () => false),
  },
  {
    section: 6,
    rule: "a claim whose connection has closed comes to nothing",
    name: "a claim displaces others although its client, who had said more, has gone",
    kind: "scenes",
    seed: 1,
    scene: "givenUpEarly",
    fault: /given up/,
    plant: () => replaceHidden(DirectoryService.prototype, "isInTheWay", () => () => false),
  },
  {
    section: 6,
    rule: "a connection that waits for its session claims no more than a newer one",
    name: "a connection claims anew although a newer one waits for its end",
    kind: "scenes",
    seed: 1,
    scene: "outrun",
    fault: /granted less/,
    plant: () => replace(DirectoryService.prototype, "isOutdated", () => () => false),
  },
  {
    section: 6,
    rule: "a claim whose connection has closed comes to nothing",
    name: "a connection is not read while it waits for its CONNACK",
    kind: "scenes",
    seed: 1,
    scene: "givenUp",
    fault: /given up/,
    plant: () =>
      replaceHidden(
        Connection.prototype,
        "awaitConnack",
        (sound) =>
          function (this: Connection) {
            const goesOn = (sound as () => boolean).call(this);
            const { socket } = this as unknown as { socket: { pause(): void } };
            if (!goesOn) socket.pause();
            return goesOn;
          },
      ),
  },
  {
    section: 6,
    rule: "a claimant reports whether its connection is attached or released",
    name: "nobody reports that a connection is attached",
    kind: "scenes",
    seed: 1,
    scene: "reported",
    fault: /what became of a claim/,
    plant: () => replace(DirectoryService.prototype, "attached", () => () => undefined),
  },
  {
    section: 6,
    rule: "a claimant reports whether its connection is attached or released",
    name: "nobody reports that a claim came to nothing",
    kind: "scenes",
    seed: 1,
    scene: "reported",
    fault: /what became of a claim/,
    plant: () => replace(DirectoryService.prototype, "released", () => () => undefined),
  },
];
