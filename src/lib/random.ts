/** Randomness. The only file that asks the machine for it; everything else is handed a `Random`. */
import { randomBytes } from "node:crypto";

export interface Random {
  /** A number in [0, 1). */
  fraction(): number;
  /** `length` bytes fit for secrets (in a simulation: repeatable ones). */
  bytes(length: number): Buffer;
}

/** The machine's randomness. */
export const realRandom: Random = {
  fraction: () => Math.random(),
  bytes: (length) => randomBytes(length),
};

/** Repeatable randomness from a seed, for simulations: xorshift32, not fit for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0 || 0x9e3779b9;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  return {
    fraction: () => next() / 0x1_0000_0000,
    bytes(length) {
      const bytes = Buffer.alloc(length);
      for (let i = 0; i < length; i++) bytes[i] = next() >>> 13;
      return bytes;
    },
  };
}
