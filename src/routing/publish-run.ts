/**
 * Publishes of one connection that are alike and lie side by side: one topic, one shape, no properties. Whoever can
 * sends all of them on as they are, without a record for each.
 */
import type { Qos } from "../protocol/publish.js";
import type { Topic } from "./topic.js";

export interface PublishRun {
  readonly topic: Topic;
  readonly qos: Qos;
  /** Of each of them (`publishShape`). */
  readonly shape: number;
  /** Client id of the publisher. */
  readonly publisher: string;
  /** Whole PUBLISH packets from `start` to `end`, which stay as they are until the end of this turn. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly count: number;
  /** Bytes of the longest packet. */
  readonly longest: number;
}
