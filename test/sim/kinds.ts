/** The kinds of histories that are told from seeds, and how each is told and checked. */
import { checkStory } from "./checks.js";
import { tellConnects } from "./connects.js";
import { checkJoin } from "./joins/checks.js";
import { JoinStory } from "./joins/story.js";
import { tellScenes } from "./scenes/index.js";
import { checkSessions } from "./sessions/checks.js";
import {
  type Mishap,
  MoveStory,
  moveSteps,
  type Third,
  type Whereabouts,
} from "./sessions/move-story.js";
import { SessionStory } from "./sessions/story.js";
import { Story } from "./story.js";
import { checkWills } from "./wills/checks.js";
import { WillStory } from "./wills/story.js";

/** Tells a history and checks it. Returns how many turns it took; throws with the seed and a trace at a broken promise. */
export type Tell = (seed: number) => Promise<number>;

async function tellCluster(seed: number): Promise<number> {
  const story = new Story(seed);
  await story.tell();
  await checkStory(story);
  return story.world.timeline.turns;
}

async function tellSessions(seed: number): Promise<number> {
  const story = new SessionStory(seed);
  await story.tell();
  await checkSessions(story);
  return story.world.timeline.turns;
}

async function tellRoams(seed: number): Promise<number> {
  const story = new SessionStory(seed, { roams: true });
  await story.tell();
  await checkSessions(story);
  return story.world.timeline.turns;
}

/** Nodes that share a store adopt the sessions of those that die. */
async function tellAdopts(seed: number): Promise<number> {
  const story = new SessionStory(seed, { roams: true, adopts: true });
  await story.tell();
  await checkSessions(story);
  return story.world.timeline.turns;
}

/** Nodes that live are cut off, too. */
async function tellCutOffs(seed: number): Promise<number> {
  const story = new SessionStory(seed, { roams: true, adopts: true, cutsOff: true });
  await story.tell();
  await checkSessions(story);
  return story.world.timeline.turns;
}

const mishaps: readonly Mishap[] = [
  { kind: "none" },
  { kind: "crash", node: 0 },
  { kind: "crash", node: 1 },
  { kind: "crash", node: 2 },
  { kind: "cut", between: [0, 1] },
  { kind: "cut", between: [0, 2] },
  { kind: "cut", between: [1, 2] },
];

async function tellWills(seed: number): Promise<number> {
  const story = new WillStory(seed);
  await story.tell();
  await checkWills(story);
  return story.world.timeline.turns;
}

/** The same of nodes that share a store. */
async function tellAdoptedWills(seed: number): Promise<number> {
  const story = new WillStory(seed, true);
  await story.tell();
  await checkWills(story);
  return story.world.timeline.turns;
}

/** Two clusters become one. */
async function tellJoins(seed: number): Promise<number> {
  const story = new JoinStory(seed);
  await story.tell();
  await checkJoin(story);
  return story.world.timeline.turns;
}

const places: readonly Whereabouts[] = ["away", 0, 1, 2];
const thirds: readonly Third[] = ["up", "dead", "cut"];

/** One move; what goes wrong at which step of it, where its client is, and whether a third node is away, are in the seed. */
async function tellMoves(seed: number): Promise<number> {
  return await tellMove(seed, thirds, false);
}

/** The same of nodes that share a store: those that die are adopted in the midst of it. */
async function tellAdoptedMoves(seed: number): Promise<number> {
  return await tellMove(seed, ["up"], true);
}

async function tellMove(seed: number, thirds: readonly Third[], adopts: boolean): Promise<number> {
  const steps = Math.floor(seed / mishaps.length);
  const rounds = Math.floor(steps / moveSteps);
  const third = thirds[Math.floor(rounds / places.length) % thirds.length] ?? "up";
  let mishap = mishaps[seed % mishaps.length] ?? { kind: "none" };
  let whereabouts = places[rounds % places.length];
  if (third !== "up") {
    const isOfThird =
      mishap.kind === "crash"
        ? mishap.node === 2
        : mishap.kind === "cut" && mishap.between[1] === 2;
    if (isOfThird) mishap = { kind: "back" };
    if (whereabouts === 2) whereabouts = "away";
  }
  const story = new MoveStory(seed, steps % moveSteps, mishap, whereabouts, third, adopts);
  await story.tell();
  await checkSessions(story);
  return story.world.timeline.turns;
}

/** Stores say that a write is durable when it has only begun. */
async function tellEarly(seed: number): Promise<number> {
  const story = new SessionStory(seed, { answersEarly: true });
  await story.tell();
  await checkSessions(story);
  return story.world.timeline.turns;
}

export const kinds = {
  cluster: tellCluster,
  sessions: tellSessions,
  roams: tellRoams,
  adopts: tellAdopts,
  cutoffs: tellCutOffs,
  moves: tellMoves,
  adoptedMoves: tellAdoptedMoves,
  wills: tellWills,
  adoptedWills: tellAdoptedWills,
  joins: tellJoins,
  scenes: tellScenes,
  early: tellEarly,
  /** The seed is the number of nodes. */
  connects: tellConnects,
} satisfies Record<string, Tell>;
export type Kind = keyof typeof kinds;

/** Those in which nothing is broken on purpose. */
export const soaked: readonly Kind[] = [
  ...(["cluster", "sessions", "roams", "adopts", "cutoffs", "moves", "adoptedMoves"] as const),
  ...(["wills", "adoptedWills", "joins", "scenes"] as const),
];

export const isKind = (name: string): name is Kind => Object.hasOwn(kinds, name);
