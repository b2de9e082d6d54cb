/**
 * Which peers are up. Pure: events and time go in, changes of state and questions come out. Only
 * frames that a peer sent count as signs of life: a stopped process still accepts connections.
 */

/** How this node sees a peer; `joining` peers are neither asked nor waited for. */
export type PeerState = "joining" | "up" | "suspect" | "down";

export type DetectorEvent =
  /** A link to the peer came up. */
  | { readonly kind: "linked"; readonly peer: string }
  /** Both sides hold each other's rows. */
  | { readonly kind: "synced"; readonly peer: string }
  /** Any frame came from the peer. */
  | { readonly kind: "heard"; readonly peer: string }
  /** The link is gone. */
  | { readonly kind: "unlinked"; readonly peer: string }
  /** Nobody listens where the peer was, or it said that it stops, or a new process of it is being linked. */
  | { readonly kind: "gone"; readonly peer: string; readonly isBack?: boolean }
  /** Others were asked: did any of them hear it lately? */
  | { readonly kind: "confirmed"; readonly peer: string; readonly heard: boolean }
  | { readonly kind: "forget"; readonly peer: string }
  | { readonly kind: "tick" };

export type DetectorEffect =
  | {
      readonly kind: "state";
      readonly peer: string;
      readonly before: PeerState;
      readonly after: PeerState;
    }
  /** Ask the other peers whether they hear this one, and come back with `confirmed`. */
  | { readonly kind: "ask"; readonly peer: string };

export interface DetectorSettings {
  /** Silence after which a peer is suspect. */
  readonly suspectAfterMs: number;
  /** How long others may take to say that they hear it. */
  readonly confirmTimeoutMs: number;
}

/** A peer that others hear but we do not is given up after this time: the pair is cut. */
const pairCutMs = 10_000;

interface Watched {
  state: PeerState;
  linked: boolean;
  /** The present link has carried both sides' rows. */
  inStep: boolean;
  heardMs: number;
  /** When others were asked; null: not in this round. */
  askedMs: number | null;
  othersHear: boolean;
}

export class FailureDetector {
  private readonly peers = new Map<string, Watched>();

  constructor(private readonly settings: DetectorSettings) {}

  /** A peer never heard of is down. */
  state(peer: string): PeerState {
    return this.peers.get(peer)?.state ?? "down";
  }

  /** Milliseconds since anything came from the peer, or -1. */
  silenceMs(peer: string, nowMs: number): number {
    const watched = this.peers.get(peer);
    return watched === undefined ? -1 : nowMs - watched.heardMs;
  }

  step(event: DetectorEvent, nowMs: number): DetectorEffect[] {
    const effects: DetectorEffect[] = [];
    if (event.kind === "tick") {
      for (const [peer, watched] of this.peers) this.tick(peer, watched, nowMs, effects);
      return effects;
    }
    if (event.kind === "forget") {
      this.peers.delete(event.peer);
      return effects;
    }
    let watched = this.peers.get(event.peer);
    if (watched === undefined) {
      if (event.kind !== "linked") return effects;
      watched = {
        state: "down",
        linked: false,
        inStep: false,
        heardMs: nowMs,
        askedMs: null,
        othersHear: false,
      };
      this.peers.set(event.peer, watched);
    }
    this.apply(event, watched, nowMs, effects);
    return effects;
  }

  private apply(
    event: Exclude<DetectorEvent, { kind: "tick" | "forget" }>,
    watched: Watched,
    nowMs: number,
    effects: DetectorEffect[],
  ): void {
    switch (event.kind) {
      case "linked":
        watched.linked = true;
        hear(watched, nowMs);
        // A suspect peer stays waited for until the new link is in step.
        if (watched.state === "down") change(event.peer, watched, "joining", effects);
        return;
      case "synced":
        hear(watched, nowMs);
        watched.inStep = true;
        change(event.peer, watched, "up", effects);
        return;
      case "heard":
        hear(watched, nowMs);
        return;
      case "unlinked":
        watched.linked = false;
        watched.inStep = false;
        if (watched.state === "up") change(event.peer, watched, "suspect", effects);
        if (watched.state === "joining") change(event.peer, watched, "down", effects);
        return;
      case "gone":
        if (!watched.linked) change(event.peer, watched, "down", effects);
        return;
      case "confirmed":
        if (watched.askedMs !== null && event.heard) watched.othersHear = true;
        else if (watched.askedMs !== null && watched.state === "suspect") {
          change(event.peer, watched, "down", effects);
        }
    }
  }

  private tick(peer: string, watched: Watched, nowMs: number, effects: DetectorEffect[]): void {
    const silent = nowMs - watched.heardMs >= this.settings.suspectAfterMs;
    if (!silent || watched.state === "down") {
      // One that was merely silent is up again; one that lost its link must be in step first.
      if (watched.state === "suspect" && watched.inStep) change(peer, watched, "up", effects);
      return;
    }
    if (watched.state === "joining") {
      change(peer, watched, "down", effects);
      return;
    }
    if (watched.state === "up") change(peer, watched, "suspect", effects);
    if (watched.askedMs !== null) {
      if (nowMs - watched.askedMs < this.settings.confirmTimeoutMs) return;
      const given = nowMs - watched.heardMs >= this.settings.suspectAfterMs + pairCutMs;
      if (!watched.othersHear || given) {
        change(peer, watched, "down", effects);
        return;
      }
    }
    // Those who heard it a moment ago may not hear it any more: they are asked again.
    watched.askedMs = nowMs;
    watched.othersHear = false;
    effects.push({ kind: "ask", peer });
  }
}

/** A sign of life: whatever others answer to an earlier question does not matter any more. */
function hear(watched: Watched, nowMs: number): void {
  watched.heardMs = nowMs;
  watched.askedMs = null;
}

function change(peer: string, watched: Watched, after: PeerState, effects: DetectorEffect[]): void {
  const before = watched.state;
  if (before === after) return;
  watched.state = after;
  if (after !== "suspect") watched.askedMs = null;
  effects.push({ kind: "state", peer, before, after });
}
