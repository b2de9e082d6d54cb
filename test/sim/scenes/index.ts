/** All scenes, by name: short histories that are written down, with chance in their details. */
import { scenes as manyScenes } from "../scenes.js";
import { World } from "../world/world.js";
import { adoptionScenes } from "./adoptions.js";
import { channelScenes } from "./channels.js";
import { directoryScenes } from "./directory.js";
import { givenBackScenes } from "./given-back.js";
import { leftToGroupsScenes } from "./left-to-groups.js";
import { publisherScenes } from "./publishers.js";
import { publishScenes } from "./publishing.js";
import { redispatchScenes } from "./redispatch.js";
import { retainedScenes } from "./retained.js";
import { routeScenes } from "./routes.js";
import { sessionScenes } from "./sessions.js";
import { shareScenes } from "./shares.js";
import { successionScenes } from "./successions.js";
import { willScenes } from "./wills.js";

export type Scene = (world: World) => Promise<void>;

const scenes = {
  ...manyScenes,
  ...publishScenes,
  ...publisherScenes,
  ...directoryScenes,
  ...sessionScenes,
  ...successionScenes,
  ...givenBackScenes,
  ...channelScenes,
  ...shareScenes,
  ...redispatchScenes,
  ...retainedScenes,
  ...routeScenes,
  ...willScenes,
  ...adoptionScenes,
  ...leftToGroupsScenes,
} satisfies Record<string, Scene>;

/** Names of all files' scenes: each has one of its own. */
export const sceneNames: readonly string[] = [
  manyScenes,
  publishScenes,
  publisherScenes,
  directoryScenes,
  sessionScenes,
  successionScenes,
  givenBackScenes,
  channelScenes,
  shareScenes,
  redispatchScenes,
  retainedScenes,
  routeScenes,
  willScenes,
  adoptionScenes,
  leftToGroupsScenes,
].flatMap((file) => Object.keys(file));

export type SceneName = keyof typeof scenes;

/** Plays one. Returns how many turns it took. */
export async function tellScene(name: SceneName, seed: number): Promise<number> {
  const world = new World(seed, `npx tsx test/sim/soak.ts ${seed} ${seed} scenes`);
  await scenes[name](world);
  return world.timeline.turns;
}

/** Plays all of them. */
export async function tellScenes(seed: number): Promise<number> {
  let turns = 0;
  // They are the names of it.
  for (const name of Object.keys(scenes) as SceneName[]) turns += await tellScene(name, seed);
  return turns;
}
