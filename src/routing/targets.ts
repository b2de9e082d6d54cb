/** Who gets a message: the result of one match. */
import type { Qos } from "../protocol/publish.js";
import type { Group } from "./group.js";
import type { Message } from "./message.js";
import type { PublishRun } from "./publish-run.js";
import type { Topic } from "./topic.js";

/** Something in this node that receives messages: a session. */
export interface Subscriber {
  readonly clientId: string;
  /** What it takes has to be durable before it is accepted, where there is a store. */
  readonly persistent?: boolean;
  /**
   * Takes a message. True: accepted. False: its queue is full for the moment, and it will call
   * `message.accept()` once, later (only for QoS ≥ 1; it keeps the message, so it calls `own()`).
   */
  deliver(message: Message, delivery: Delivery): boolean;
  /**
   * Takes, and accepts, all publishes of a run. False: it has done nothing, each is to be delivered by itself.
   * Without this method: always so.
   */
  deliverRun?(run: PublishRun, delivery: Delivery): boolean;
  /** Do the access rules let it have messages on this topic? Without this method: on all. */
  mayReceive?(topic: Topic): boolean;
}

/** How one subscriber gets a message: its overlapping subscriptions folded into one copy. */
export interface Delivery {
  readonly subscriber: Subscriber;
  /** Highest QoS granted among the matching subscriptions. */
  readonly qos: Qos;
  /** Retain-as-published [MQTT-3.8.3-4]; else the retain flag is cleared. */
  readonly retainAsPublished: boolean;
  /** Not to the connection that published it [MQTT-3.8.3-3]. */
  readonly noLocal: boolean;
  /** MQTT 5 subscription identifiers of the matching subscriptions. */
  readonly subscriptionIds: readonly number[] | null;
  /** The share group whose member gets it, `$share/name/filter`; null: it is the subscriber's own. */
  readonly share: string | null;
}

/** What a SUBSCRIBE asked for one filter. */
export interface SubscriptionOptions {
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0: none. */
  readonly subscriptionId: number;
}

/** A peer that has subscribers for the topic. */
export interface PeerTarget {
  /** Index of the peer, as the cluster numbers them. */
  readonly peer: number;
  /** Highest QoS among its subscribers. */
  readonly qos: Qos;
  /** At least one persistent session is behind it. */
  readonly durable: boolean;
  /** Share groups of which one of its members gets the message. */
  readonly groups: readonly Group[];
  /** It gets the message for this group alone, and not in an outbox. */
  readonly only?: Group;
}

export interface Targets {
  readonly local: readonly Delivery[];
  readonly peers: readonly PeerTarget[];
  /** Share groups for which nobody is chosen. */
  readonly groups: readonly Group[];
}

export const noGroups: readonly Group[] = [];

/** May its subscriber have messages on this topic? */
export function mayTake({ subscriber }: Delivery, topic: Topic): boolean {
  return subscriber.mayReceive?.(topic) ?? true;
}
