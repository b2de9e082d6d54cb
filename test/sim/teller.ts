/**
 * A process that tells histories for a test file: the hooks by which node:test follows every promise would cost it a third of
 * the time. Started by told.ts.
 */
import { kinds } from "./kinds.js";
import { rules, tellBroken } from "./rules/index.js";
import type { Answer, Question } from "./told.js";

async function answer({ kind, seeds, rule }: Question): Promise<Answer> {
  if (rule !== undefined) {
    const broken = rules.find(({ name }) => name === rule);
    return { fault: broken === undefined ? null : await tellBroken(broken, broken.seed) };
  }
  for (const seed of seeds) {
    try {
      await kinds[kind](seed);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      return { fault: `${what}\nagain: npx tsx test/sim/soak.ts ${seed} ${seed} ${kind}` };
    }
  }
  return { fault: null };
}

process.on("message", (question: Question) => {
  // From a promise, as in soak.ts: a history that begins in another turn of the event loop begins otherwise.
  void Promise.resolve()
    .then(() => answer(question))
    .then((found) => process.send?.(found));
});
