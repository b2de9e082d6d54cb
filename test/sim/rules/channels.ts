/** Rules of sessions whose connections are at other nodes, of where they are, and of packet ids (design, section 6), broken on purpose. */
import { Relocation } from "../../../src/session/move/relocation.js";
import type { Opening } from "../../../src/session/opening.js";
import { RemoteEnds } from "../../../src/session/remote/ends.js";
import { RemoteChannel } from "../../../src/session/remote/far.js";
import { RemoteSession } from "../../../src/session/remote/near.js";
import { Session } from "../../../src/session/session.js";
import { Sessions } from "../../../src/session/sessions.js";
import { OutgoingWindow } from "../../../src/session/window.js";
import { type Rule, replace, replaceGetter, replaceHidden } from "./rule.js";

type Method = (this: object, ...args: unknown[]) => unknown;

/** Something of what an object was handed at its construction is another. */
function withOther(owner: object, part: string, value: object, then: () => unknown): unknown {
  const parts = Reflect.get(owner, "parts") as object;
  Reflect.set(owner, "parts", Object.create(parts, { [part]: { value } }));
  const result = then();
  Reflect.set(owner, "parts", parts);
  return result;
}

export const channelRules: readonly Rule[] = [
  {
    section: 6,
    rule: "a channel's detach carries the expiry",
    name: "the session's node does not hear what DISCONNECT says of its expiry",
    kind: "scenes",
    seed: 1,
    scene: "expiryFar",
    fault: /ends where it is/,
    plant: () =>
      replace(
        RemoteSession.prototype,
        "detach",
        (sound) =>
          function (this: RemoteSession, ...args) {
            this.expiryMs = this.opening.request.expiryMs;
            sound.apply(this, args);
          },
      ),
  },
  {
    section: 6,
    rule: "a channel's skip: what is too large for this client stands in nobody's way",
    name: "what a connection at another node cannot send stays in flight",
    kind: "scenes",
    seed: 1,
    scene: "tooLarge",
    fault: /is skipped/,
    plant: () => replace(Session.prototype, "onSkipped", () => () => undefined),
  },
  {
    section: 6,
    rule: "a channel's credit bounds what is under way",
    name: "a session sends to another node whatever is under way",
    kind: "scenes",
    seed: 1,
    scene: "credit",
    fault: /credit bounds/,
    plant: () => replaceGetter(RemoteChannel.prototype, "congested", () => () => false),
  },
  {
    section: 6,
    rule: "a session ends when its expiry is over",
    name: "a session that outlives its connection stays for ever",
    kind: "scenes",
    seed: 1,
    scene: "expiry",
    fault: /its time is over/,
    plant: () => replaceHidden(Sessions.prototype, "keepWaiting", () => () => undefined),
  },
  {
    section: 6,
    rule: "follow: a small session moves at CONNECT",
    name: "no session moves at CONNECT",
    kind: "scenes",
    seed: 1,
    scene: "placement",
    fault: /moves at CONNECT/,
    plant: () => replace(Sessions.prototype, "pull", () => () => null),
  },
  {
    section: 6,
    rule: "follow: a session that is not small stays remote",
    name: "a session of any size moves at CONNECT",
    kind: "scenes",
    seed: 1,
    scene: "placement",
    fault: /moves at CONNECT/,
    plant: () =>
      replace(
        Sessions.prototype,
        "pull",
        (sound) =>
          function (this: Sessions, clientId, from) {
            return sound.call(this, clientId, from, null);
          },
      ),
  },
  {
    section: 6,
    rule: "follow: a session that stayed remote moves at its next detach",
    name: "a session that did not move at CONNECT stays where it is",
    kind: "scenes",
    seed: 1,
    scene: "placement",
    fault: /next detach/,
    plant: () =>
      replace(
        RemoteEnds.prototype,
        "onOver",
        (sound) =>
          function (this: RemoteEnds, end) {
            (Reflect.get(this, "large") as Set<string>).clear();
            sound.call(this, end);
          },
      ),
  },
  {
    section: 6,
    rule: "stay: a session remains where it is",
    name: "a session follows its client although sessions stay",
    kind: "scenes",
    seed: 1,
    scene: "stays",
    fault: /stays where it is/,
    plant: () =>
      replaceHidden(
        RemoteEnds.prototype,
        "follow",
        (sound) =>
          function (this: RemoteEnds, ...args: unknown[]) {
            const placement = { placement: "follow", move_messages: 1_000, move_bytes: 1_000_000 };
            return withOther(this, "placement", placement, () =>
              (sound as Method).apply(this, args),
            );
          },
      ),
  },
  {
    section: 6,
    rule: "packet ids are never reused while in flight",
    name: "packet ids count on over one that is in flight",
    kind: "scenes",
    seed: 1,
    scene: "idsInFlight",
    fault: /given again while in flight/,
    plant: () =>
      replaceGetter(
        OutgoingWindow.prototype,
        "hasRoom",
        () =>
          function (this: OutgoingWindow) {
            return this.inFlight < this.receiveMaximum && !this.resending;
          },
      ),
  },
  {
    section: 6,
    rule: "the id counter is durable",
    name: "packet ids begin anew after a crash",
    kind: "scenes",
    seed: 1,
    scene: "idsGoOn",
    fault: /counter is durable/,
    plant: () => replace(OutgoingWindow.prototype, "restoreNext", () => () => undefined),
  },
  {
    section: 6,
    rule: "moves of many sessions are paced by a rate limit",
    name: "a node gives its sessions away as fast as it can",
    kind: "scenes",
    seed: 1,
    scene: "relocated",
    fault: /are allowed/,
    plant: () => replaceHidden(Relocation.prototype, "pause", () => () => Promise.resolve()),
  },
  {
    section: 6,
    rule: "a claim attaches to the session where it lives, with the right session-present",
    name: "a connection begins a session although the directory knows one elsewhere",
    kind: "roams",
    seed: 4,
    fault: /session present|two sessions|never got/,
    plant: () =>
      replaceHidden(
        Sessions.prototype,
        "granted",
        (sound) =>
          function (this: Sessions, opening: Opening) {
            (sound as Method).call(this, opening, null);
          },
      ),
  },
];
