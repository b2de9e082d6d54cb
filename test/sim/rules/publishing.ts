/** Rules of the life of a publish (design, section 4), broken on purpose. */
import { Outbox, type Sent } from "../../../src/cluster/outbox.js";
import { StreamReceiver } from "../../../src/cluster/stream-receiver.js";
import { type StreamLink, StreamSender } from "../../../src/cluster/stream.js";
import type { Ring } from "../../../src/lib/ring.js";
import { Router } from "../../../src/routing/router.js";
import { Acks } from "../../../src/session/acks.js";
import { AckType } from "../../../src/protocol/acks.js";
import type { Message } from "../../../src/routing/message.js";
import { type Rule, replace, replaceGetter, replaceHidden } from "./rule.js";

/** A link that takes nothing. */
const fullLink: StreamLink = {
  dataBufferedBytes: Number.POSITIVE_INFINITY,
  sendData: () => undefined,
  sendRun: () => undefined,
  scheduleData: () => undefined,
};

const counters = new WeakMap<StreamSender, number>();

function nextOf(sender: StreamSender, by: number): number {
  const next = (counters.get(sender) ?? 0) + by;
  counters.set(sender, next);
  return next;
}

export const publishRules: readonly Rule[] = [
  {
    section: 4,
    rule: "a message has one number, the same for all peers",
    name: "each stream counts its own messages",
    kind: "moves",
    seed: 5,
    fault: /never got|again|not within|before under/,
    plant: () => {
      const undo = replace(
        StreamSender.prototype,
        "sendPart",
        (sound) =>
          function (this: StreamSender, head, counter, ...rest) {
            return sound.call(this, head, counter === 0 ? 0 : nextOf(this, 1), ...rest);
          },
      );
      const undoSend = replace(
        StreamSender.prototype,
        "send",
        (sound) =>
          function (this: StreamSender, _counter, ...rest) {
            return sound.call(this, nextOf(this, 1), ...rest);
          },
      );
      return () => {
        undo();
        undoSend();
      };
    },
  },
  {
    section: 4,
    rule: "acceptance waits for every node with a matching subscriber",
    name: "a publish is acknowledged when it was sent to peers",
    kind: "cluster",
    seed: 2,
    fault: /came 0 times|never got|told|pending/,
    plant: () => replaceGetter(StreamSender.prototype, "tells" as never, () => () => false),
  },
  {
    section: 4,
    rule: "a stream is repeated from the first unacknowledged after a reconnect",
    name: "a stream goes on behind what was lost with the link",
    kind: "cluster",
    seed: 15,
    fault: /came 0 times|never got|pending|holds/,
    plant: () =>
      replace(
        StreamSender.prototype,
        "resume",
        (sound) =>
          function (this: StreamSender, link) {
            const written = Reflect.get(this, "written") as number;
            sound.call(this, fullLink);
            Reflect.set(this, "written", written);
            Reflect.set(this, "link", link);
            this.pump();
          },
      ),
  },
  {
    section: 4,
    rule: "each number is taken once",
    name: "a stream's repeats are taken again",
    kind: "cluster",
    seed: 9,
    fault: /came [2-9] times|again|after/,
    plant: () => {
      const undo = replace(StreamReceiver.prototype, "isNew", (sound) => {
        return function (this: StreamReceiver, incarnation, counter) {
          sound.call(this, incarnation, counter);
          return true;
        };
      });
      return undo;
    },
  },
  {
    section: 4,
    rule: "nothing overtakes what waits in the outbox",
    name: "what is new leaves before what waits in the outbox",
    kind: "sessions",
    seed: 1,
    fault: /after|never got|came 0 times|no member/,
    plant: () =>
      replaceHidden(
        StreamSender.prototype,
        "append",
        (sound) =>
          function (this: object, sent: Sent) {
            const call = sound as (this: object, sent: Sent) => void;
            const ring = Reflect.get(this, "unaccepted") as Ring<Sent>;
            const isWaiting = Reflect.get(this, "down") === true && ring.length > 0;
            const before = isWaiting ? [...ring] : [];
            if (isWaiting) ring.clear();
            call.call(this, sent);
            for (const one of before) ring.push(one);
          },
      ),
  },
  {
    section: 4,
    rule: "the outbox outlives its process",
    name: "what the outbox holds is not read at start",
    kind: "scenes",
    seed: 1,
    scene: "overCrash",
    fault: /over a crash/,
    plant: () => replace(Outbox.prototype, "load", () => () => Promise.resolve([])),
  },
  {
    section: 4,
    rule: "what is due to rows that are not durable is dropped when the peer is down",
    name: "what is due to nobody durable waits in the outbox",
    kind: "scenes",
    seed: 1,
    scene: "notKept",
    fault: /not kept/,
    plant: () =>
      replaceHidden(
        StreamSender.prototype,
        "stillDue",
        () =>
          ({ frame }: Sent) =>
            frame,
      ),
  },
  {
    section: 4,
    rule: "room in the outbox is reserved before anything is sent",
    name: "nobody asks whether the outbox has room",
    kind: "scenes",
    seed: 1,
    scene: "noRoom",
    fault: /without room/,
    plant: () => replaceHidden(Router.prototype, "reserve", () => () => true),
  },
  {
    section: 4,
    rule: "a peer that does not accept in time is left to the outbox",
    name: "a publisher waits for a peer that is late",
    kind: "scenes",
    seed: 1,
    scene: "late",
    fault: /late/,
    plant: () => replace(StreamSender.prototype, "tick", () => () => undefined),
  },
  {
    section: 4,
    rule: "PUBACKs and PUBRECs leave in the order in which the publishes came",
    name: "a publish is answered when it is accepted, whatever was before it",
    kind: "scenes",
    seed: 1,
    scene: "inOrder",
    fault: /order of the publishes/,
    plant: () =>
      replace(
        Acks.prototype,
        "onAccepted",
        (sound) =>
          function (this: Acks, message: Message) {
            const waiting = Reflect.get(this, "waiting") as Ring<Message>;
            const output = Reflect.get(this, "output") as {
              acknowledge(type: AckType, packetId: number, reason: number): void;
            };
            const isFirst = waiting.peek() === message;
            if (!isFirst && message.qos === 1 && message.refused === 0) {
              output.acknowledge(AckType.Puback, message.packetId, 0);
            }
            sound.call(this, message);
          },
      ),
  },
];
