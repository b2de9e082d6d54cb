/** Rules of the directory and of two sessions of one client id (design, section 6), broken on purpose. */
import { DirectoryService } from "../../../src/cluster/directory.js";
import { Home } from "../../../src/cluster/home.js";
import { HandingOver } from "../../../src/session/superseded/handing-over.js";
import { Superseded } from "../../../src/session/superseded/superseded.js";
import { Sessions } from "../../../src/session/sessions.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

export const directoryRules: readonly Rule[] = [
  {
    section: 6,
    rule: "of two connections the one with the higher epoch stays",
    name: "nobody settles which of two connections stays after a cut",
    kind: "cluster",
    seed: 9,
    fault: /connections of one client id|believes/,
    plant: () => replaceHidden(Home.prototype, "settleConflict", () => () => undefined),
  },
  {
    section: 6,
    rule: "every grant has an epoch of its own, higher than any before",
    name: "grants have no order",
    kind: "cluster",
    seed: 2,
    fault: /connections of one client id|not the newest|believes|attached too early/,
    plant: () => replace(DirectoryService.prototype, "nextEpoch", () => () => 1),
  },
  {
    section: 6,
    rule: "the older connection is closed before the newer one is attached",
    name: "a claim does not wait for the connections that it displaces",
    kind: "cluster",
    seed: 1,
    fault: /attached too early/,
    plant: () =>
      replace(
        DirectoryService.prototype,
        "closeAt",
        (sound) =>
          function (this: DirectoryService, node, clientId, epoch, done) {
            sound.call(this, node, clientId, epoch, () => undefined);
            done(null);
          },
      ),
  },
  {
    section: 6,
    rule: "owners announce what they have when homes change: the directory is rebuilt",
    name: "nobody announces what it has",
    kind: "cluster",
    seed: 9,
    fault: /believes|connections of one client id|no answer/,
    plant: () => replaceHidden(DirectoryService.prototype, "announceSoon", () => () => undefined),
  },
  {
    section: 6,
    rule: "a newer claim supersedes one that waits, and no close reaches a newer connection",
    name: "a close is heeded by connections that are newer than it",
    kind: "cluster",
    seed: 2,
    fault: /connections of one client id|not the newest|believes/,
    plant: () =>
      replace(
        DirectoryService.prototype,
        "displace",
        (sound) =>
          function (this: DirectoryService, clientId, _epoch, done) {
            sound.call(this, clientId, Number.MAX_SAFE_INTEGER, done);
          },
      ),
  },
  {
    section: 6,
    rule: "of two sessions of one client id the older one is superseded",
    name: "an older session that is back stays",
    kind: "roams",
    seed: 3,
    fault: /two sessions|never got|by nobody/,
    plant: () => {
      const undo = replaceHidden(Home.prototype, "settleSessions", () => () => undefined);
      const undoResume = replace(Superseded.prototype, "resume", () => () => Promise.resolve());
      return () => {
        undo();
        undoResume();
      };
    },
  },
  {
    section: 6,
    rule: "the older session hands its queue to the younger one",
    name: "an older session just ends",
    kind: "roams",
    seed: 216,
    fault: /never got/,
    plant: () => replace(HandingOver.prototype, "give", () => () => Promise.resolve(true)),
  },
  {
    section: 6,
    rule: "Clean Start discards a session wherever it is",
    name: "Clean Start does not end a session at another node",
    kind: "roams",
    seed: 7,
    fault: /session present|by nobody|not asked for|two sessions/,
    plant: () => replace(Sessions.prototype, "discard", () => (_clientId, done) => done()),
  },
];
