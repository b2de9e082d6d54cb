/** `retained get TOPIC`: one retained message with its payload. */
import { isUtf8 } from "node:buffer";
import { Refusal } from "../../lib/refusal.js";
import { argument, command } from "../command.js";
import { printable, record } from "../render.js";

export const retainedGet = command({
  summary: "show the retained message of a topic",
  args: { topic: argument("a topic name") },
  run: ({ retained }, { topic }) => {
    const message = retained.get(topic);
    if (message === undefined) {
      throw new Refusal(`no message is retained on ${printable(topic)}`);
    }
    const encoding = isUtf8(message.payload) ? "utf8" : "base64";
    return { ...message, encoding, payload: Buffer.from(message.payload).toString(encoding) };
  },
  text: record,
});
