/**
 * Rules of durable sessions, broken on purpose: the simulation is worth something only as long as it finds each of
 * these.
 */
import { AckType } from "../../../src/protocol/acks.js";
import type { Message } from "../../../src/routing/message.js";
import { SessionJournal } from "../../../src/session/journal/journal.js";
import { LogState } from "../../../src/session/journal/log-state.js";
import { Marks } from "../../../src/session/journal/marks.js";
import { Pages } from "../../../src/session/journal/pages.js";
import { Session } from "../../../src/session/session.js";

export interface Plant {
  /** What the node does from now on. */
  readonly name: string;
  /** What the simulation says of it. */
  readonly fault: RegExp;
  readonly plant: () => () => void;
}

/** Puts `broken` in place of a method, for all objects of the class; returns how to put it back. */
export function replace<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  broken: (sound: T[K]) => T[K],
): () => void {
  const sound = prototype[name];
  prototype[name] = broken(sound);
  return () => {
    prototype[name] = sound;
  };
}

export const plants: readonly Plant[] = [
  {
    name: "a session accepts messages before the commit",
    fault: /never got|no member/,
    plant: () =>
      replace(
        SessionJournal.prototype,
        "awaitCommit",
        () =>
          function (this: SessionJournal, message: Message) {
            void Promise.resolve().then(() => message.accept());
          },
      ),
  },
  {
    name: "PUBREL leaves before its commit",
    fault: /again, with QoS 2|before under/,
    plant: () =>
      replace(
        SessionJournal.prototype,
        "answerPubrel",
        () =>
          function (this: SessionJournal, packetId: number) {
            this.session.channel?.acknowledge(AckType.Pubrel, packetId, 0);
          },
      ),
  },
  {
    name: "PUBCOMP leaves before its commit",
    fault: /open|again/,
    plant: () =>
      replace(
        SessionJournal.prototype,
        "released",
        (sound) =>
          function (this: SessionJournal, packetId: number, answers: boolean) {
            sound.call(this, packetId, false);
            if (answers) this.session.channel?.acknowledge(AckType.Pubcomp, packetId, 0);
          },
      ),
  },
  {
    name: "a QoS 2 message leaves before its packet id is committed",
    fault: /again|under id|open for|not within/,
    plant: () =>
      replace(
        SessionJournal.prototype,
        "sent",
        (sound) =>
          function (this: SessionJournal, packetId: number, seq: number, qos: number) {
            sound.call(this, packetId, seq, 1);
            const { session } = this;
            const { channel } = session;
            if (qos === 2 && channel !== null) session.sendStored(channel, packetId);
          },
      ),
  },
  {
    name: "marks are not stored",
    fault: /again, with QoS 2|before under/,
    plant: () => replace(Marks.prototype, "writeDue", () => () => undefined),
  },
  {
    name: "what was committed is published again without its identity",
    fault: /again, with QoS 2|before under/,
    plant: () =>
      replace(
        LogState.prototype,
        "onOpened",
        (sound) =>
          function (this: LogState, packetId, incarnation, identity, reader) {
            sound.call(this, packetId, incarnation, identity, reader);
            const message = this.open.get(packetId);
            if (message) message.origin = null;
          },
      ),
  },
  {
    name: "a client is attached before what is in flight is read",
    fault: /never got|no member|in flight|not within/,
    plant: () => replace(Pages.prototype, "loadWindow", () => () => Promise.resolve(true)),
  },
  {
    name: "SUBACK and CONNACK leave before their commit",
    fault: /session present|granted|never got|no member|subscribed/,
    plant: () => replace(Session.prototype, "whenDurable", () => (done: () => void) => done()),
  },
  {
    name: "the end of a session is not stored",
    fault: /session present|not asked for|by nobody/,
    plant: () =>
      replace(
        SessionJournal.prototype,
        "end",
        () =>
          function (this: SessionJournal, done: () => void) {
            done();
          },
      ),
  },
];
