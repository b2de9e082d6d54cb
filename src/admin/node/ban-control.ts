/** Bans, as the commands see them: said to be done when they are durable here. */
import type { Ban, Bans } from "../../auth/bans/bans.js";
import { Refusal } from "../../lib/refusal.js";
import type { Commits } from "../../store/commits.js";
import type { BanControl, BanInfo } from "../parts.js";

/** `commits` null: nothing outlives this process. */
export function banControl(
  bans: Bans,
  commits: Pick<Commits, "idle" | "stalled"> | null,
): BanControl {
  const refuseStalled = (): void => {
    const why = commits?.stalled?.why;
    if (why !== undefined) throw new Refusal(`the store takes nothing at the moment: ${why}`);
  };
  return {
    add: async (kind, what, durationMs, reason) => {
      refuseStalled();
      const ban = bans.add(kind, what, durationMs, reason);
      await commits?.idle();
      return infoOf(ban);
    },
    delete: async (kind, what) => {
      refuseStalled();
      const name = bans.delete(kind, what);
      await commits?.idle();
      return name;
    },
    list: () => {
      const all = bans.list();
      return all.map(infoOf);
    },
  };
}

function infoOf({ kind, what, reason, sinceMs, endsMs }: Ban): BanInfo {
  return { kind, what, reason, since: textOf(sinceMs), ends: endsMs === 0 ? null : textOf(endsMs) };
}

const textOf = (wallMs: number): string => new Date(wallMs).toISOString();
