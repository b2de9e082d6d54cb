/**
 * The connections of one listener that are between accept and MQTT: whatever comes first (PROXY header, TLS,
 * WebSocket) must be done by one deadline, and a node that stops does not wait for it.
 */
import type { Socket } from "node:net";
import type { TimerWheel, WheelEntry } from "../../lib/timer-wheel.js";
import type { ListenerCounters } from "./counters.js";

export class Handshake implements WheelEntry {
  wheelDue = 0;
  wheelNext: WheelEntry | null = null;
  wheelPrevious: WheelEntry | null = null;
  /** The client's address as the proxy gave it; null: as the socket says. */
  address: string | null = null;

  constructor(
    /** As it was accepted. */
    readonly socket: Socket,
    private readonly owner: Handshakes,
  ) {}

  /** It is through, or over. */
  end(): void {
    this.owner.end(this);
  }

  onDeadline(): void {
    this.owner.onLate(this);
  }
}

export class Handshakes {
  private readonly open = new Set<Handshake>();

  constructor(
    private readonly wheel: TimerWheel,
    private readonly timeoutMs: number,
    private readonly counters: ListenerCounters,
  ) {}

  get size(): number {
    return this.open.size;
  }

  begin(socket: Socket): Handshake {
    const handshake = new Handshake(socket, this);
    this.open.add(handshake);
    this.wheel.set(handshake, this.timeoutMs);
    // Whoever closes before MQTT (health checks do) is nobody's error.
    socket.on("error", ignore);
    socket.on("close", () => this.end(handshake));
    return handshake;
  }

  end(handshake: Handshake): void {
    if (this.open.delete(handshake)) this.wheel.stop(handshake);
  }

  onLate(handshake: Handshake): void {
    this.counters.handshakesLate++;
    this.end(handshake);
    handshake.socket.destroy();
  }

  /** Cuts off all that are not through. */
  close(): void {
    for (const { socket } of this.open) socket.destroy();
  }
}

function ignore(): void {}
