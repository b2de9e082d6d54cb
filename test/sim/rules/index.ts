/**
 * Every rule of the design's sections 4, 6, 7 and 8 with a switch that breaks it: the simulation is worth something only as
 * long as it finds each of these. `npx tsx test/sim/rules/find.ts` looks for histories that do.
 */
import { kinds } from "../kinds.js";
import { tellScene } from "../scenes/index.js";
import { adoptionRules } from "./adoption.js";
import { answerRules } from "./answers.js";
import { channelRules } from "./channels.js";
import { claimRules } from "./claims.js";
import { directoryRules } from "./directory.js";
import { epochRules } from "./epochs.js";
import { forwardRules } from "./forwarding.js";
import { groupRules } from "./groups.js";
import { joinRules } from "./joins.js";
import { handoverRules } from "./handover.js";
import { moveRules } from "./moves.js";
import { publishRules } from "./publishing.js";
import { retainedRules } from "./retained.js";
import { routeRules } from "./routes.js";
import { rowRules } from "./rows.js";
import type { Rule } from "./rule.js";
import { sharingRules } from "./sharing.js";
import { storedRules } from "./stored.js";
import { willRules } from "./wills.js";
import { successionRules } from "./succession.js";

export const rules: readonly Rule[] = [
  ...publishRules,
  ...forwardRules,
  ...answerRules,
  ...storedRules,
  ...claimRules,
  ...epochRules,
  ...successionRules,
  ...channelRules,
  ...directoryRules,
  ...moveRules,
  ...handoverRules,
  ...adoptionRules,
  ...joinRules,
  ...routeRules,
  ...rowRules,
  ...groupRules,
  ...retainedRules,
  ...sharingRules,
  ...willRules,
];

/** Tells a history with the rule's switch thrown. Returns what the simulation says; null: nothing that fits. */
export async function tellBroken(rule: Rule, seed: number): Promise<string | null> {
  const undo = rule.plant();
  try {
    await tell(rule, seed);
    return null;
  } catch (error) {
    const [what = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    return rule.fault.test(what) ? what : null;
  } finally {
    undo();
  }
}

/** Is there no fault in that history with nothing broken? Where it is the kind that is broken there always is one. */
export async function tellSound(rule: Rule, seed: number): Promise<boolean> {
  if (rule.kind === "early") return true;
  try {
    await tell(rule, seed);
    return true;
  } catch {
    return false;
  }
}

async function tell({ kind, scene }: Rule, seed: number): Promise<void> {
  if (scene !== undefined) await tellScene(scene, seed);
  else await kinds[kind](seed);
}
