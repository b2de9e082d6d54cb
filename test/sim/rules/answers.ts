/** Rules of what publishers are answered, and how much they may have under way (design, section 4), broken on purpose. */
import { Inbound } from "../../../src/net/inbound.js";
import { KeepAlive } from "../../../src/net/keepalive.js";
import type { Message } from "../../../src/routing/message.js";
import { Router } from "../../../src/routing/router.js";
import { Acks } from "../../../src/session/acks.js";
import { IncomingQos2 } from "../../../src/session/incoming-qos2.js";
import { CommittedPublishes } from "../../../src/session/journal/committed-publishes.js";
import { Marks } from "../../../src/session/journal/marks.js";
import type { LogWriter } from "../../../src/session/journal/log-record.js";
import type { RemoteSession } from "../../../src/session/remote/near.js";
import { Session } from "../../../src/session/session.js";
import { type Rule, replace, replaceGetter, replaceHidden } from "./rule.js";

type Method = (this: object, ...args: unknown[]) => unknown;

/** Nobody has matched as far as its publisher is told, if `hidden` says so of whom it went to. */
const unmatched = (hidden: (router: Router, message: Message) => boolean) => (): (() => void) =>
  replace(
    Router.prototype,
    "publish",
    (sound) =>
      function (this: Router, message) {
        sound.call(this, message);
        if (hidden(this, message)) message.matched = 0;
      },
  );

/** A refusal is answered like an acceptance to clients of that version. */
const answered = (version: number) => (): (() => void) =>
  replaceHidden(
    Acks.prototype,
    "answer",
    (sound) =>
      function (this: object, message: Message) {
        if (Reflect.get(this, "version") === version) message.refused = 0;
        (sound as Method).call(this, message);
      },
  );

/** The limits of what a client may have under way are not looked at. */
const unlimited = (): (() => void) =>
  replace(
    Inbound.prototype,
    "onPublish",
    (sound) =>
      function (this: Inbound, ...args) {
        const share = Reflect.get(this, "share");
        const limits = { ...share.config.limits, receive_maximum: 65_535 };
        Reflect.set(this, "receiveMaximum", 65_535);
        Reflect.set(this, "share", { ...share, config: { ...share.config, limits } });
        return sound.apply(this, args);
      },
  );

export const answerRules: readonly Rule[] = [
  {
    section: 4,
    rule: "0x10 only when no row of any member, down ones included, and no group matches",
    name: "rows of nodes that are down do not count as matching",
    kind: "scenes",
    seed: 1,
    scene: "nobodyMatches",
    fault: /node that is down matches/,
    plant: unmatched((router, { topic }) => {
      const cluster = Reflect.get(router, "cluster") as { livePeers(): readonly number[] };
      const live = new Set(cluster.livePeers());
      const { local, peers, groups } = router.targetsOf(topic);
      return local.length + groups.length === 0 && !peers.some(({ peer }) => live.has(peer));
    }),
  },
  {
    section: 4,
    rule: "0x10 only when no row of any member, down ones included, and no group matches",
    name: "share groups do not count as matching",
    kind: "scenes",
    seed: 1,
    scene: "nobodyMatches",
    fault: /a group matches/,
    plant: unmatched((router, { topic }) => {
      const { local, peers } = router.targetsOf(topic);
      return local.length + peers.length === 0;
    }),
  },
  {
    section: 4,
    rule: "no room in the outbox: PUBACK and PUBREC 0x97",
    name: "a refused publish is answered as if it had been accepted",
    kind: "scenes",
    seed: 1,
    scene: "refusals",
    fault: /0x97/,
    plant: answered(5),
  },
  {
    section: 4,
    rule: "no room in the outbox: MQTT 3 gets no acknowledgement",
    name: "MQTT 3 gets acknowledgements of what was refused",
    kind: "scenes",
    seed: 1,
    scene: "refusals",
    fault: /gets no acknowledgement/,
    plant: answered(4),
  },
  {
    section: 4,
    rule: "back-pressure: at the limits MQTT 5 gets 0x93",
    name: "an MQTT 5 client may have under way what it likes",
    kind: "scenes",
    seed: 1,
    scene: "tooMuch",
    fault: /gets disconnect/,
    plant: unlimited,
  },
  {
    section: 4,
    rule: "back-pressure: at the limits an MQTT 3 publisher's socket is not read",
    name: "an MQTT 3 client is read however much is unanswered",
    kind: "scenes",
    seed: 1,
    scene: "notRead",
    fault: /read up to the limit/,
    plant: unlimited,
  },
  {
    section: 4,
    rule: "keep-alive does not count while a client is not read",
    name: "keep-alive counts while a client is not read",
    kind: "scenes",
    seed: 1,
    scene: "notRead",
    fault: /keep-alive counts/,
    plant: () =>
      replace(
        KeepAlive.prototype,
        "onDeadline",
        (sound) =>
          function (this: KeepAlive) {
            this.paused = false;
            sound.call(this);
          },
      ),
  },
  {
    section: 4,
    rule: "back-pressure: QoS 2 counts before PUBREC only, PUBREL and PINGREQ must get through",
    name: "a client with too many open QoS 2 ids is not read",
    kind: "scenes",
    seed: 1,
    scene: "openIds",
    fault: /PINGREQ and PUBREL|may be open/,
    plant: () => {
      const isFull = (inbound: Inbound): boolean => {
        const session = Reflect.get(inbound, "session") as Session;
        const share = Reflect.get(inbound, "share");
        return session.openQos2 >= share.config.limits.receive_maximum;
      };
      const undo = replace(
        Inbound.prototype,
        "onPublish",
        (sound) =>
          function (this: Inbound, ...args) {
            return sound.apply(this, args) && !isFull(this);
          },
      );
      const undoResume = replaceGetter(
        Inbound.prototype,
        "mayResume",
        (sound) =>
          function (this: Inbound) {
            return sound.call(this) && !isFull(this);
          },
      );
      return () => {
        undo();
        undoResume();
      };
    },
  },
  {
    section: 4,
    rule: "open QoS 2 ids have a limit of their own",
    name: "a client may open as many QoS 2 ids as it likes",
    kind: "scenes",
    seed: 1,
    scene: "openIds",
    fault: /open ids have a limit/,
    plant: () => replaceGetter(IncomingQos2.prototype, "size", () => () => 0),
  },
  {
    section: 4,
    rule: "a full queue whose online client acknowledges delays acceptance",
    name: "a full queue loses its oldest although its client acknowledges",
    kind: "scenes",
    seed: 1,
    scene: "slowQueue",
    fault: /delays acceptance|gets publish/,
    plant: () => replaceHidden(Session.prototype, "acknowledgedLately", () => () => false),
  },
  {
    section: 4,
    rule: "a full queue whose client acknowledges nothing: the drop policy applies",
    name: "a full queue delays its publishers although its client acknowledges nothing",
    kind: "scenes",
    seed: 1,
    scene: "fullQueue",
    fault: /drop policy/,
    plant: () => replaceHidden(Session.prototype, "checkParked", () => () => undefined),
  },
  {
    section: 4,
    rule: "messages of one publisher on one topic and QoS arrive in order",
    name: "what comes overtakes what waits in the queue",
    kind: "sessions",
    seed: 93,
    fault: /after number/,
    plant: () => replaceGetter(Session.prototype, "queued", () => () => 0),
  },
  {
    section: 4,
    rule: "a session drops what is not higher than the highest number taken",
    name: "a session takes what it has taken before",
    kind: "sessions",
    seed: 21,
    fault: /again, with QoS 2|before under/,
    plant: () => replace(Marks.prototype, "isRepeat", () => () => false),
  },
  {
    section: 4,
    rule: "the highest number taken is written in the same write as the messages",
    name: "marks are written with the next messages",
    kind: "sessions",
    seed: 21,
    fault: /again, with QoS 2|before under/,
    plant: () => {
      const late = new WeakSet<Marks>();
      return replace(
        Marks.prototype,
        "writeDue",
        (sound) =>
          function (this: Marks, writer: LogWriter) {
            if (late.delete(this)) sound.call(this, writer);
            else late.add(this);
          },
      );
    },
  },
  {
    section: 6,
    rule: "a QoS 2 publish of a persistent session is committed before it is forwarded",
    name: "a QoS 2 publish is forwarded before its commit",
    kind: "scenes",
    seed: 2,
    scene: "committedFirst",
    fault: /committed before/,
    plant: () =>
      replace(
        CommittedPublishes.prototype,
        "add",
        (sound) =>
          function (this: CommittedPublishes, message) {
            const entry = sound.call(this, message);
            entry.isCommitted = true;
            this.proceed();
            return entry;
          },
      ),
  },
  {
    section: 6,
    rule: "what an earlier process left is published before anything new",
    name: "a node that starts publishes at once, and later what it had left",
    kind: "scenes",
    seed: 1,
    scene: "leftFirst",
    fault: /before anything new/,
    plant: () => replace(CommittedPublishes.prototype, "hold", () => () => undefined),
  },
  {
    section: 6,
    rule: "PUBREC is answered after all have accepted the message",
    name: "PUBREC is answered when the message is committed",
    kind: "scenes",
    seed: 1,
    scene: "pubrecLast",
    fault: /PUBREC after all/,
    plant: () =>
      replace(
        CommittedPublishes.prototype,
        "publishNow",
        (sound) =>
          function (this: CommittedPublishes, message) {
            sound.call(this, message);
            message.pending = 0;
            message.sink?.onAccepted(message);
          },
      ),
  },
  {
    section: 6,
    rule: "QoS 2 publishes pass through the session's node",
    name: "a connection routes its QoS 2 publishes itself",
    kind: "scenes",
    seed: 1,
    scene: "throughSession",
    fault: /passes through/,
    plant: () =>
      replaceHidden(
        Inbound.prototype,
        "passOn",
        () =>
          function (this: Inbound, _session: RemoteSession, message: Message) {
            Reflect.get(this, "share").router.publish(message);
            Reflect.get(this, "acks").published(message);
            return true;
          },
      ),
  },
  {
    section: 6,
    rule: "the message of an open packet id is published once",
    name: "a QoS 2 publish that is sent again is published again",
    kind: "sessions",
    seed: 8,
    fault: /again, with QoS 2|before under/,
    plant: () => replace(IncomingQos2.prototype, "has", () => () => false),
  },
];
