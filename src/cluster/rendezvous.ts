/**
 * Which members answer for a client id: rendezvous hashing (Thaler and Ravishankar, 1998). Every node
 * computes the same from the same member names; when a member goes, only its own client ids move.
 *
 * The formula, which all nodes must share (docs/wire.md): with `h` = hashString (32-bit FNV-1a over
 * UTF-8, finished with fmix32) and `mix32` = fmix32 of src/lib/hash.ts,
 *
 *     weight(member, clientId) = mix32(h(member) XOR h(clientId))
 *
 * as unsigned 32-bit numbers. The home is the member with the highest weight; of equal weights the
 * name that is lower in UTF-16 code units (JavaScript's `<`) counts as higher.
 */
import { hashString, mix32 } from "../lib/hash.js";

/** Hashes of member names, since a name is hashed at every CONNECT otherwise. */
const memberHashes = new Map<string, number>();
const memberHashesMax = 1024;

/** How strongly `member` is drawn to `clientId`: an unsigned 32-bit number. */
export function weight(member: string, clientId: string): number {
  return mix32(memberHash(member) ^ hashString(clientId));
}

/**
 * The home of a client id among `members`, which may stand in any order.
 * @throws RangeError when there is no member
 */
export function home(clientId: string, members: readonly string[]): string {
  const hash = hashString(clientId);
  let best: string | undefined;
  let bestWeight = -1;
  for (const member of members) {
    const own = mix32(memberHash(member) ^ hash);
    if (own < bestWeight || (own === bestWeight && best !== undefined && best < member)) continue;
    best = member;
    bestWeight = own;
  }
  if (best === undefined) throw new RangeError("a client id has no home among no members");
  return best;
}

/** The `count` members with the highest weights, highest first; all of them when there are fewer. */
export function homes(clientId: string, members: readonly string[], count: number): string[] {
  const hash = hashString(clientId);
  const weighed = members.map((member) => ({ member, own: mix32(memberHash(member) ^ hash) }));
  weighed.sort((a, b) => b.own - a.own || (a.member < b.member ? -1 : 1));
  return weighed.slice(0, count).map(({ member }) => member);
}

function memberHash(member: string): number {
  let hash = memberHashes.get(member);
  if (hash !== undefined) return hash;
  if (memberHashes.size === memberHashesMax) memberHashes.clear();
  hash = hashString(member);
  memberHashes.set(member, hash);
  return hash;
}
