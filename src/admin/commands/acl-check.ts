/** `acl check publish|subscribe TOPIC`: what the rules of this node say, and which of them. */
import { argument, command, textOption, WrongUsage } from "../command.js";
import { printable } from "../render.js";

export const aclCheck = command({
  summary: "say whether a client may publish or subscribe to TOPIC, and which rule decides",
  args: {
    action: argument("publish or subscribe"),
    topic: argument("a topic name; to subscribe, a filter"),
    client: textOption(
      "the client id; rules that it brought itself count while it has a session here",
    ),
    user: textOption("the user name; left out: that of the client's session, else anonymous"),
  },
  run: ({ acl }, { action, topic, client, user }) => {
    if (action !== "publish" && action !== "subscribe") {
      throw new WrongUsage("action: it must be publish or subscribe");
    }
    return { topic, ...acl.check({ clientId: client, user, action, topic }) };
  },
  text: ({ topic, allowed, because }) =>
    `${printable(topic)}: ${allowed ? "allowed" : "denied"}; ${because}`,
});
