/** Rules of what is stored before it is answered, broken on purpose. */
import { AckType } from "../../../src/protocol/acks.js";
import type { Message } from "../../../src/routing/message.js";
import { SessionJournal } from "../../../src/session/journal/journal.js";
import { LogState } from "../../../src/session/journal/log-state.js";
import { Marks } from "../../../src/session/journal/marks.js";
import { Pages } from "../../../src/session/journal/pages.js";
import { Session } from "../../../src/session/session.js";
import { type Rule, replace } from "./rule.js";

export const storedRules: readonly Rule[] = [
  {
    section: 4,
    rule: "accepted means committed to the store",
    name: "the store says that a commit is durable when it has only begun",
    kind: "early",
    seed: 12,
    fault: /never got|no member|granted|session present/,
    plant: () => () => undefined,
  },
  {
    section: 4,
    rule: "accepted means committed to the store",
    name: "a session accepts messages before the commit",
    kind: "sessions",
    seed: 65,
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
    section: 6,
    rule: "the PUBREL state is committed before PUBREL leaves",
    name: "PUBREL leaves before its commit",
    kind: "sessions",
    seed: 261,
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
    section: 6,
    rule: "what a PUBREL ended is committed before PUBCOMP leaves",
    name: "PUBCOMP leaves before its commit",
    kind: "sessions",
    seed: 20,
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
    section: 6,
    rule: "the packet id is committed before a QoS 2 PUBLISH leaves",
    name: "a QoS 2 message leaves before its packet id is committed",
    kind: "sessions",
    seed: 21,
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
    section: 4,
    rule: "the highest number taken of each origin is written with the messages",
    name: "marks are not stored",
    kind: "sessions",
    seed: 21,
    fault: /again, with QoS 2|before under/,
    plant: () => replace(Marks.prototype, "writeDue", () => () => undefined),
  },
  {
    section: 6,
    rule: "what was committed is forwarded after a crash under the same number",
    name: "what was committed is published again without its identity",
    kind: "sessions",
    seed: 21,
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
    section: 6,
    rule: "the window is the session's: it is there before the client is",
    name: "a client is attached before what is in flight is read",
    kind: "sessions",
    seed: 2,
    fault: /never got|no member|in flight|not within/,
    plant: () => replace(Pages.prototype, "loadWindow", () => () => Promise.resolve(true)),
  },
  {
    section: 6,
    rule: "SUBACK and CONNACK of persistent sessions leave after their commit",
    name: "SUBACK and CONNACK leave before their commit",
    kind: "sessions",
    seed: 55,
    fault: /session present|granted|never got|no member|subscribed/,
    plant: () => replace(Session.prototype, "whenDurable", () => (done: () => void) => done()),
  },
  {
    section: 6,
    rule: "Clean Start discards",
    name: "the end of a session is not stored",
    kind: "sessions",
    seed: 4,
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
