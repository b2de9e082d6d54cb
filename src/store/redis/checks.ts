/**
 * What a Redis server must be like before anything is entrusted to it, and in which sentence it is refused. Where
 * CONFIG is forbidden, as on managed services, INFO tells what is needed.
 */
import type { Redis } from "ioredis";

export type Durability = "process" | "power";

/** A sentence when the server is unfit, else null. Rejects when it does not answer. */
export async function checkServer(redis: Redis, durability: Durability): Promise<string | null> {
  const memory = await redis.info("memory");
  const policy = field(memory, "maxmemory_policy");
  if (policy !== "noeviction") {
    return (
      `the Redis server ${nameOf(redis)} has the maxmemory-policy ${policy ?? "of an unknown kind"}, under which it may ` +
      "delete what was acknowledged: set `maxmemory-policy noeviction` in its redis.conf, or run " +
      "`redis-cli config set maxmemory-policy noeviction`"
    );
  }
  return durability === "power" ? await checkPower(redis) : null;
}

/** Whether the server keeps an append-only file: without one it forgets when its process ends. */
export async function keepsLog(redis: Redis): Promise<boolean> {
  return field(await redis.info("persistence"), "aof_enabled") !== "0";
}

/** With `appendfsync always` Redis answers only when what was written is on its disk. */
async function checkPower(redis: Redis): Promise<string | null> {
  const wanted =
    "set `appendonly yes` and `appendfsync always` in its redis.conf, or store.durability to process";
  let answer: unknown;
  try {
    answer = await redis.config("GET", "append*");
  } catch (error) {
    // Whoever may not ask gets an answer; anything else is a connection that failed.
    if (!(error instanceof Error) || error.name !== "ReplyError") throw error;
    return `the Redis server ${nameOf(redis)} does not tell whether it writes to its disk before it answers: ${wanted}`;
  }
  const words = Array.isArray(answer) ? answer.map(String) : [];
  const value = (name: string): string | undefined => words[words.indexOf(name) + 1];
  if (value("appendonly") === "yes" && value("appendfsync") === "always") return null;
  return (
    `the Redis server ${nameOf(redis)} answers before what was written is on its disk, and store.durability ` +
    `is power: ${wanted}`
  );
}

function field(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(\\S*)`, "m").exec(info)?.[1];
}

function nameOf({ options }: Redis): string {
  return options.sentinels ? String(options.name) : `${options.host}:${options.port}`;
}
