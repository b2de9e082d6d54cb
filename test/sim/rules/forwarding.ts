/** Rules of what goes to peers, and when it counts as accepted (design, section 4), broken on purpose. */
import { Outbox, type Sent } from "../../../src/cluster/outbox.js";
import { StreamReceiver } from "../../../src/cluster/stream-receiver.js";
import { StreamSender } from "../../../src/cluster/stream.js";
import { sealForward } from "../../../src/cluster/wire/frames.js";
import type { Message } from "../../../src/routing/message.js";
import { Router } from "../../../src/routing/router.js";
import type { PeerTarget } from "../../../src/routing/targets.js";
import { type Rule, replace, replaceHidden } from "./rule.js";

type Forward = (this: Router, message: Message, peers: readonly PeerTarget[]) => void;

/** What a node does instead of sending its copies. */
function forwarding(
  broken: (router: Router, message: Message, peers: PeerTarget[], send: Forward) => void,
) {
  return (): (() => void) =>
    replaceHidden(
      Router.prototype,
      "forward",
      (sound) =>
        function (this: Router, message: Message, peers: readonly PeerTarget[]) {
          broken(this, message, [...peers], sound as Forward);
        },
    );
}

/** All peers of a node of three, whether they have rows or not. */
const everybody = (qos: 1): PeerTarget[] =>
  [0, 1].map((peer) => ({ peer, qos, durable: false, groups: [] }));

export const forwardRules: readonly Rule[] = [
  {
    section: 4,
    rule: "a publish crosses the network once for each node that subscribed",
    name: "a peer gets a copy for each of its subscribers",
    kind: "scenes",
    seed: 1,
    scene: "oneHop",
    fault: /crosses the network|crosses once/,
    plant: forwarding((router, message, peers, send) => {
      send.call(router, message, peers);
      send.call(router, message, peers);
    }),
  },
  {
    section: 4,
    rule: "a publish never goes to a node that did not subscribe",
    name: "a publish goes to all nodes",
    kind: "scenes",
    seed: 1,
    scene: "oneHop",
    fault: /crosses once/,
    plant: forwarding((router, message, peers, send) => {
      send.call(router, message, peers.length === 0 ? [] : everybody(1));
    }),
  },
  {
    section: 4,
    rule: "one hop: a peer's routing delivers locally only",
    name: "what comes from a peer is forwarded to the others",
    kind: "scenes",
    seed: 1,
    scene: "oneHop",
    fault: /crosses once/,
    plant: () =>
      replace(
        Router.prototype,
        "onForward",
        (sound) =>
          function (this: Router, peer, incarnation, counter, bytes, start, end) {
            const isAccepted = sound.call(this, peer, incarnation, counter, bytes, start, end);
            const call = (name: string, ...args: unknown[]): unknown =>
              (Reflect.get(this, name) as (...all: unknown[]) => unknown).apply(this, args);
            const message = call("decode", bytes, start, end) as Message;
            const { peers } = this.targetsOf(message.topic);
            const cluster = Reflect.get(this, "cluster") as { nextCounter(): number };
            message.counter = cluster.nextCounter();
            call(
              "forward",
              message,
              peers.filter((one) => one.peer !== peer),
            );
            return isAccepted;
          },
      ),
  },
  {
    section: 4,
    rule: "QoS 0 targets delay nobody",
    name: "a publisher waits for nodes that have subscribed with QoS 0",
    kind: "scenes",
    seed: 1,
    scene: "qos0Row",
    fault: /delays nobody/,
    plant: forwarding((router, message, peers, send) => {
      send.call(
        router,
        message,
        peers.map((one) => ({ ...one, qos: 1 })),
      );
    }),
  },
  {
    section: 4,
    rule: "a stream is acknowledged cumulatively, and only what is accepted",
    name: "a peer acknowledges what it has taken and not yet accepted",
    kind: "scenes",
    seed: 1,
    scene: "acceptedOnly",
    fault: /acknowledged is accepted/,
    plant: () =>
      replace(
        Router.prototype,
        "onForward",
        (sound) =>
          function (this: Router, ...forward) {
            sound.apply(this, forward);
            return true;
          },
      ),
  },
  {
    section: 4,
    rule: "a stream is acknowledged cumulatively, and only what is accepted",
    name: "a peer acknowledges what it has accepted although something before it is not",
    kind: "scenes",
    seed: 1,
    scene: "acceptedOnly",
    fault: /and all before it/,
    plant: () =>
      replace(
        StreamReceiver.prototype,
        "accept",
        (sound) =>
          function (this: StreamReceiver, incarnation, counter) {
            sound.call(this, incarnation, counter);
            const newest = Reflect.get(this, "newest") as { acknowledged: number };
            newest.acknowledged = Math.max(newest.acknowledged, counter);
            return true;
          },
      ),
  },
  {
    section: 4,
    rule: "what is left to the outbox counts as accepted after its commit",
    name: "what is left to the outbox counts as accepted at once",
    kind: "scenes",
    seed: 1,
    scene: "keptFirst",
    fault: /before it is accepted/,
    plant: () =>
      replace(
        Outbox.prototype,
        "keep",
        (sound) =>
          function (this: Outbox, sent) {
            sound.call(this, sent);
            const { keeper } = sent;
            sent.keeper = null;
            keeper?.accept();
          },
      ),
  },
  {
    section: 4,
    rule: "the outbox holds what is due under its number",
    name: "what is left to the outbox gets another number",
    kind: "scenes",
    seed: 1,
    scene: "oldNumbers",
    fault: /under its number/,
    plant: () =>
      replaceHidden(
        StreamSender.prototype,
        "leave",
        (sound) =>
          function (this: StreamSender, sent: Sent, ...rest: unknown[]) {
            const counter = sent.counter + 1_000;
            Reflect.set(sent, "counter", counter);
            sealForward(sent.frame, sent.incarnation, counter);
            (sound as (this: StreamSender, ...args: unknown[]) => void).call(this, sent, ...rest);
          },
      ),
  },
  {
    section: 4,
    rule: "a forward stays in the stream while its peer is up or suspect",
    name: "what is not durable is dropped while there is no link",
    kind: "scenes",
    seed: 1,
    scene: "overLink",
    fault: /is not down it comes/,
    plant: () =>
      replaceHidden(
        StreamSender.prototype,
        "takes",
        (sound) =>
          function (this: StreamSender, durable: boolean, receipt: object | null) {
            if (Reflect.get(this, "link") === null && !durable) return false;
            const call = sound as (this: StreamSender, ...args: unknown[]) => boolean;
            return call.call(this, durable, receipt);
          },
      ),
  },
  {
    section: 4,
    rule: "a stream is sent in order",
    name: "a stream that goes on sends the newest first",
    kind: "scenes",
    seed: 1,
    scene: "overLink",
    fault: /is not down it comes|accepted/,
    plant: () =>
      replace(
        StreamSender.prototype,
        "resume",
        (sound) =>
          function (this: StreamSender, link) {
            const waiting = Reflect.get(this, "unaccepted") as {
              clear(): void;
              push(one: Sent): void;
            } & Iterable<Sent>;
            const all = [...waiting].reverse();
            waiting.clear();
            for (const one of all) waiting.push(one);
            sound.call(this, link);
          },
      ),
  },
  {
    section: 4,
    rule: "a number is an incarnation and a counter: the counters of a newer incarnation begin anew",
    name: "a peer takes what a node sends after a restart for repeats",
    kind: "cluster",
    seed: 44,
    fault: /came 0 times|never got|pending|holds/,
    plant: () =>
      replace(
        StreamReceiver.prototype,
        "take",
        (sound) =>
          function (this: StreamReceiver, incarnation, counter) {
            const newest = Reflect.get(this, "newest") as { incarnation: number };
            const isFirst = newest.incarnation === 0;
            return sound.call(this, isFirst ? incarnation : newest.incarnation, counter);
          },
      ),
  },
];
