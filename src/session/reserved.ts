/** Topics that the node itself speaks on. */

/** A client's publish to it is taken and goes nowhere. */
export function isReservedTopic(topic: string): boolean {
  return topic.charCodeAt(0) === 0x24 && topic.startsWith("$SYS/");
}
