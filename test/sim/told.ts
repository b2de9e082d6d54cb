/** Histories for tests, told by a process of their own (teller.ts), one question at a time. */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import type { Kind } from "./kinds.js";

export interface Question {
  readonly kind: Kind;
  readonly seeds: readonly number[];
  /** Tells that rule's history with its switch thrown instead. */
  readonly rule?: string;
}

export interface Answer {
  /** What was found, with the seed and a trace; null: nothing. */
  readonly fault: string | null;
}

let teller: ChildProcess | null = null;

after(() => void teller?.disconnect());

/** Tells them, and returns what was found. */
export async function ask(question: Question): Promise<Answer> {
  if (teller === null) {
    teller = fork(fileURLToPath(new URL("./teller.ts", import.meta.url)), {
      execArgv: ["--import", "tsx"],
    });
  }
  const answered = Promise.race([
    once(teller, "message"),
    once(teller, "exit").then(() => assert.fail("the teller has ended")),
  ]);
  teller.send(question);
  const [answer] = await answered;
  return answer as Answer; // teller.ts sends nothing else
}

/** Tells histories of a kind; fails with the first broken promise. */
export async function tell(kind: Kind, seeds: readonly number[]): Promise<void> {
  const { fault } = await ask({ kind, seeds });
  if (fault !== null) assert.fail(fault);
}

/** From `first` to `last`. */
export const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);
