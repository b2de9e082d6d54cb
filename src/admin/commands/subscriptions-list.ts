/** `subscriptions list`: who of this node's sessions is subscribed to what. */
import { command, limitOption, textOption } from "../command.js";
import { pageTable } from "../render.js";

export const subscriptionsList = command({
  summary: "list the subscriptions of this node's sessions",
  args: { client: textOption("of this client id only"), limit: limitOption() },
  run: ({ subscriptions }, { client, limit }) => subscriptions.list(client, limit),
  text: (page) =>
    pageTable(page, ["client", "filter", "qos", "options"], (subscription) => [
      subscription.clientId,
      subscription.filter,
      subscription.qos,
      [
        ...(subscription.noLocal ? ["no-local"] : []),
        ...(subscription.retainAsPublished ? ["retain-as-published"] : []),
      ].join(" "),
    ]),
});
