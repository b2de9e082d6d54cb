/** A rule of the design, and the switch that breaks it. */
import type { Kind } from "../kinds.js";
import type { SceneName } from "../scenes/index.js";

export interface Rule {
  /** Section of the design: 4 life of a publish, 6 sessions, 7 routes, 8 shared subscriptions, retained messages, wills. */
  readonly section: 4 | 6 | 7 | 8;
  readonly rule: string;
  /** What the nodes do while its switch is thrown. */
  readonly name: string;
  /** The kind of histories that finds it, and a history that does. */
  readonly kind: Kind;
  readonly seed: number;
  /** The scene that finds it, of the kind `scenes`; without it all of them are played. */
  readonly scene?: SceneName;
  /** What the simulation says of it. */
  readonly fault: RegExp;
  /** Throws the switch; returns how to put it back. */
  readonly plant: () => () => void;
}

/** Puts `broken` in place of a method, for all objects of the class; returns how to put it back. */
export function replace<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  broken: (sound: T[K]) => T[K],
): () => void {
  const sound = prototype[name];
  prototype[name] = broken(sound);
  return () => {
    prototype[name] = sound;
  };
}

/** A method that only its own class may call; `broken` is handed the sound one. */
export function replaceHidden(
  prototype: object,
  name: string,
  // Tests know what is there.
  broken: (sound: (...args: never[]) => unknown) => unknown,
): () => void {
  const methods = prototype as Record<string, (...args: never[]) => unknown>;
  if (typeof methods[name] !== "function") throw new Error(`there is no ${name}`);
  return replace(methods, name, (sound) => broken(sound) as typeof sound);
}

/** Puts `broken` in place of a property that is computed; returns how to put it back. */
export function replaceGetter<T extends object>(
  prototype: T,
  name: keyof T & string,
  broken: (sound: (this: T) => unknown) => (this: T) => unknown,
): () => void {
  const sound = Object.getOwnPropertyDescriptor(prototype, name);
  if (sound?.get === undefined) throw new Error(`${name} is not computed`);
  Object.defineProperty(prototype, name, { ...sound, get: broken(sound.get) });
  return () => void Object.defineProperty(prototype, name, sound);
}
