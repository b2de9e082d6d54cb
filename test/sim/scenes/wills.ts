/** Scenes of wills. */
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { Stage } from "./stage.js";

/** A node dies and stays dead: the others publish the will of a client that was connected there. */
async function heirs(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, b] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const watcher = stage.actor("watcher", a);
  await watcher.connect();
  await watcher.subscribe("last", 1);
  await stage.actor("mortal", b).connect({ will: "last" });
  await stage.kill(b);
  await world.until(
    () => watcher.payloads().includes("last"),
    8_000,
    "the will of a dead node's client",
  );
}

export const willScenes = { heirs };
