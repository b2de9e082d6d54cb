/** Matching as the specification words it [MQTT-4.7], slow and plain; and topics and filters to try. */
import fc from "fast-check";

/** Does the filter match the topic name? */
export function matches(filter: string, topic: string): boolean {
  const levels = topic.split("/");
  const pattern = filter.split("/");
  // [MQTT-4.7.2-1]
  if (topic.startsWith("$") && (pattern[0] === "+" || pattern[0] === "#")) return false;
  for (let i = 0; i < pattern.length; i++) {
    // "#" also stands for no level at all: the parent matches [MQTT-4.7.1-2].
    if (pattern[i] === "#") return true;
    if (i >= levels.length) return false;
    if (pattern[i] !== "+" && pattern[i] !== levels[i]) return false;
  }
  return pattern.length === levels.length;
}

const level = fc.constantFrom("", "a", "b", "c", "$a", "$SYS", "ä");

export const anyTopic = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join("/"))
  .filter((topic) => topic !== "");

export const anyFilter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { minLength: 0, maxLength: 4 }), fc.boolean())
  .map(([levels, many]) => [...levels, ...(many ? ["#"] : [])].join("/"))
  .filter((filter) => filter !== "");
