/**
 * What an authentication method may say about the topics of one client: rules that belong to this client
 * alone, handed on with the verdict. Who asks them, and in which order with the other rules, is decided
 * where topics are checked. Rules that are not understood are never left out: the whole list is refused.
 */
import { z } from "zod";
import { filterFault, isShared } from "../protocol/topics.js";

/** The first rule that fits decides. */
export interface ClientRule {
  readonly allow: boolean;
  readonly action: "publish" | "subscribe" | "all";
  /** A topic filter, placeholders and all, as the method gave it. */
  readonly filter: string;
}

/** Most rules of one client, so that a check of a topic stays cheap. */
const rulesMax = 1000;

const rulesSchema = z
  .array(
    z.strictObject({
      permission: z.enum(["allow", "deny"]),
      action: z.enum(["publish", "subscribe", "all"]),
      topic: z
        .string()
        .min(1)
        .max(65_535)
        .refine((topic) => filterFault(topic) === undefined && !isShared(topic)),
    }),
  )
  .max(rulesMax);

/** Rules of one client as they were taken, in what is stored; null: it has none. */
export const storedRules = z
  .array(
    z.object({
      allow: z.boolean(),
      action: z.enum(["publish", "subscribe", "all"]),
      filter: z.string(),
    }),
  )
  .nullable();

/** The rules in a list of `{permission, action, topic}`; null: it is no such list. */
export function clientRules(value: unknown): readonly ClientRule[] | null {
  const parsed = rulesSchema.safeParse(value);
  if (!parsed.success) return null;
  return parsed.data.map(({ permission, action, topic }) => {
    return { allow: permission === "allow", action, filter: topic };
  });
}
