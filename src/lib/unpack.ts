/** Reads what somebody else has packed: msgpack that is worth nothing until a schema has taken it. */
import { unpack } from "msgpackr";
import type { z } from "zod";

/** Null: it is not msgpack, or not what the schema says. */
export function unpackAs<T>(schema: z.ZodType<T>, body: Uint8Array): T | null {
  try {
    const parsed = schema.safeParse(unpack(body));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
