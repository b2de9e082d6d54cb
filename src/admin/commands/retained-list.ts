/** `retained list [FILTER]`: the retained messages. */
import { limitOption, listCommand, optionalArgument } from "../command.js";

export const retainedList = listCommand({
  summary: "list retained messages",
  args: {
    filter: optionalArgument("topics that match this filter [default: #]"),
    limit: limitOption(),
  },
  list: ({ retained }, { filter }) => retained.list(filter ?? "#"),
  headings: ["topic", "qos", "bytes", "published at"],
  row: (message) => [message.topic, message.qos, message.bytes, message.publishedAt],
});
