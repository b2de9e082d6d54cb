/** Topics on which no client may publish. */

/**
 * The node itself speaks on `$SYS/`, and nobody can subscribe to a topic under `$share/`. A client's
 * publish is acknowledged (MQTT 5: 0x87) and goes nowhere.
 */
export function isReservedTopic(topic: string): boolean {
  if (topic.charCodeAt(0) !== 0x24) return false;
  return topic.startsWith("$SYS/") || topic.startsWith("$share/");
}
