import { WillStory } from "./sim/wills/story.js";
import { checkWills } from "./sim/wills/checks.js";
const story = new WillStory(Number(process.argv[2]), true);
(globalThis as any).WL = (...a: unknown[]) => console.log(story.world.nowMs.toFixed(1), ...a);
try { await story.tell(); await checkWills(story); } catch (e) { console.log(String((e as Error).message).split("\n")[0]); }
