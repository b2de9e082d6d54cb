/** `publish TOPIC [PAYLOAD]`: publishes a message from this node. */
import { argument, command, flagOption, numberOption, optionalArgument } from "../command.js";

export const publish = command({
  summary: "publish a message",
  args: {
    topic: argument("a topic name"),
    payload: optionalArgument("text [default: empty]"),
    qos: numberOption("quality of service, 0 to 2", { min: 0, max: 2, default: 1 }),
    retain: flagOption("retain the message (an empty one deletes what is retained)"),
  },
  run: ({ publisher }, { topic, payload, qos, retain }) =>
    publisher.publish({
      topic,
      payload: Buffer.from(payload ?? "", "utf8"),
      qos: qos === 0 ? 0 : qos === 1 ? 1 : 2,
      retain,
    }),
  text: ({ matched }) =>
    matched === 0 ? "Published; there are no matching subscribers" : "Published and accepted",
});
