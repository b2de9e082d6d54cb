/** `subscriptions list`: who of this node's sessions is subscribed to what. */
import { limitOption, listCommand, textOption } from "../command.js";

export const subscriptionsList = listCommand({
  summary: "list the subscriptions of this node's sessions",
  args: { client: textOption("of this client id only"), limit: limitOption() },
  list: ({ subscriptions }, { client }) => subscriptions.list(client),
  headings: ["client", "filter", "qos", "options"],
  row: (subscription) => [
    subscription.clientId,
    subscription.filter,
    subscription.qos,
    [
      ...(subscription.noLocal ? ["no-local"] : []),
      ...(subscription.retainAsPublished ? ["retain-as-published"] : []),
    ].join(" "),
  ],
});
