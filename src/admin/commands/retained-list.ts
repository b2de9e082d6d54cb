/** `retained list [FILTER]`: the retained messages. */
import { command, limitOption, optionalArgument } from "../command.js";
import { pageTable } from "../render.js";

export const retainedList = command({
  summary: "list retained messages",
  args: {
    filter: optionalArgument("topics that match this filter [default: #]"),
    limit: limitOption(),
  },
  run: ({ retained }, { filter, limit }) => retained.list(filter ?? "#", limit),
  text: (page) =>
    pageTable(page, ["topic", "qos", "bytes", "published at"], (message) => [
      message.topic,
      message.qos,
      message.bytes,
      message.publishedAt,
    ]),
});
