/** What an error of lmdb or of the system means for the store: comes right by itself, or nothing is safe any more. */
import { constants } from "node:os";
import type { StoreFailure } from "./store.js";

const { EDQUOT, EFBIG, ENOSPC } = constants.errno;
const mapFull = -30792;
const noSpace: ReadonlySet<number> = new Set([EDQUOT, EFBIG, ENOSPC, mapFull]);
const noSpaceText = /MDB_MAP_FULL|no space left|quota exceeded|file too large/i;

const names: ReadonlyMap<number, string> = new Map([
  ...Object.entries(constants.errno).map(([name, code]): [number, string] => [code, name]),
  [-30797, "MDB_PAGE_NOTFOUND"],
  [-30796, "MDB_CORRUPTED"],
  [-30795, "MDB_PANIC"],
  [-30794, "MDB_VERSION_MISMATCH"],
  [-30793, "MDB_INVALID"],
  [mapFull, "MDB_MAP_FULL"],
  [-30781, "MDB_BAD_VALSIZE"],
]);

/** A transaction failed with a code of lmdb or of the system. */
export class LmdbError extends Error {
  override name = "LmdbError";

  constructor(readonly errorCode: number) {
    super(names.get(errorCode) ?? `error ${errorCode}`);
  }
}

/**
 * Why a commit was rejected. The package may reject it before it knows the code, with an error that only carries the
 * promise of another one, `commitError`, which is rejected as soon as the code is known.
 */
export async function commitCause(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !("commitError" in error)) return error;
  try {
    await error.commitError;
    return error;
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    return typeof code === "number" ? new LmdbError(code) : cause;
  }
}

/** No space is `full`; anything else that a write may meet leaves the file in a state that nobody knows: `broken`. */
export function storeFailure(error: unknown): StoreFailure {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof LmdbError ? error.errorCode : undefined;
  const full = code === undefined ? noSpaceText.test(message) : noSpace.has(code);
  return full
    ? { kind: "full", why: `there is no space for the store (${message})` }
    : { kind: "broken", why: `writing the store failed (${message})` };
}
