/**
 * The HTTP call-out: a service of the operator decides. Whatever is no clear answer of it (no connection,
 * a slow or broken answer, another status) refuses the client. Answers are kept for a while.
 */
import { z } from "zod";
import { AnswerCache } from "../answer-cache.js";
import type { BasicAnswer, BasicCheck, BasicMethod, BasicParts } from "../basic.js";
import { CheckQueue } from "../check-queue.js";
import { HttpPost } from "../http-post.js";
import { clientRules } from "../rules.js";
import { utf8Text } from "../saslprep.js";
import { nameProblem } from "../users-content.js";

const answerSchema = z.object({
  result: z.enum(["allow", "deny", "ignore"]),
  user: z.string().optional(),
  acl: z.unknown().optional(),
});

/** How often the same failure is logged. */
const logEveryMs = 10_000;

export class HttpMethod implements BasicMethod {
  readonly name = "http";
  readonly takesNameless = true;
  readonly counters = {
    asked: 0,
    fromCache: 0,
    /** Questions that got no clear answer, by what was wrong. */
    failed: {} as Record<string, number>, // empty at first; keys are a few words each
  };
  private readonly post: HttpPost;
  private readonly queue: CheckQueue;
  private readonly cache: AnswerCache<BasicAnswer>;
  private loggedMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly parts: BasicParts) {
    const { settings, clock, random } = parts;
    const { url, timeout: timeoutMs, at_once: atOnce, cache_entries } = settings.http;
    this.post = new HttpPost({ url, timeoutMs, atOnce, clock });
    this.queue = new CheckQueue(atOnce, settings.checks_waiting);
    this.cache = new AnswerCache(cache_entries, clock, random);
  }

  get waiting(): number {
    return this.queue.waiting;
  }

  async open(): Promise<void> {}

  close(): void {
    this.post.close();
  }

  check(check: BasicCheck): void {
    const question = questionOf(check);
    if (question === null) {
      check.done({ kind: "wrong password" });
      return;
    }
    const key = this.cache.key(question.cached);
    const known = this.cache.get(key);
    if (known === undefined) {
      this.queue.run(check, () => this.ask(check.name, question.body, key));
      return;
    }
    this.counters.fromCache++;
    check.done(known);
  }

  private async ask(name: string, body: string, key: string): Promise<BasicAnswer> {
    const { cache_allow, cache_deny } = this.parts.settings.http;
    this.counters.asked++;
    const { text, failure } = await this.post.post(body);
    if (text === null) return this.fail(failure);
    const answer = answerOf(text, name);
    if (answer === null) return this.fail("not understood");
    this.cache.set(key, answer, answer.kind === "right" ? cache_allow : cache_deny);
    return answer;
  }

  private fail(why: string): BasicAnswer {
    const { counters, parts } = this;
    counters.failed[why] = (counters.failed[why] ?? 0) + 1;
    const nowMs = parts.clock.monotonicMs();
    if (nowMs - this.loggedMs >= logEveryMs) {
      this.loggedMs = nowMs;
      parts.log.warn({ why }, "the HTTP service for authentication gives no answer");
    }
    return { kind: "unavailable" };
  }
}

interface Question {
  readonly body: string;
  /** What the answer depends on. */
  readonly cached: string;
}

/** Null: the password cannot be said in JSON. */
function questionOf(check: BasicCheck): Question | null {
  const { clientId, name: user, address, listener } = check;
  const password = check.password === null ? null : utf8Text(check.password);
  if (password === null && check.password !== null) return null;
  const body = JSON.stringify({ clientId, user, password, address, listener });
  // A client comes from another port each time.
  const host = address.replace(/:\d+$/, "");
  return { body, cached: JSON.stringify([clientId, user, password, host, listener]) };
}

/** Null: it is no answer. */
function answerOf(text: string, name: string): BasicAnswer | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = answerSchema.safeParse(json);
  if (!parsed.success) return null;
  const { result, user = name, acl } = parsed.data;
  if (result === "deny") return { kind: "denied" };
  if (result === "ignore") return { kind: "ignored" };
  const rules = acl === undefined ? null : clientRules(acl);
  if (acl !== undefined && rules === null) return null;
  if (parsed.data.user !== undefined && nameProblem(user) !== null) return null;
  return { kind: "right", admission: rules === null ? { user } : { user, rules } };
}
