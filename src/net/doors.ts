/**
 * All listeners of a node: they open together or not at all, and each knows how many clients came in through
 * it and are still here.
 */
import {
  enabledListeners,
  isClosedToStrangers,
  isLocal,
  type ListenerKind,
  type ListenerSettings,
} from "../config/listeners.js";
import type { Config } from "../config/schema.js";
import { Refusal } from "../lib/refusal.js";
import type { ListenerPolicy } from "../session/listener-policy.js";
import type { ClientSocket } from "./client-socket.js";
import { ListenerCounters } from "./listeners/counters.js";
import { makeListener } from "./listeners/index.js";
import type { Listener, ListenerParts } from "./listeners/listener.js";

/** One listener, and the connections that it let in. */
export class Door {
  connections = 0;
  listener: Listener | null = null;

  constructor(
    readonly kind: ListenerKind,
    readonly name: string,
  ) {}
}

/** One listener as commands see it. `kind`: the scheme of its URLs. */
export interface DoorInfo {
  readonly name: string;
  readonly kind: "mqtt" | "mqtts" | "ws" | "wss" | "unix";
  /** Of a Unix socket: its path, and port 0. */
  readonly address: string;
  readonly port: number;
  readonly connections: number;
}

/** What reading the certificates of one listener again came to. */
export interface ReloadInfo {
  readonly name: string;
  /** Null: they are in use. Otherwise what is wrong; the old ones stay. */
  readonly problem: string | null;
}

/** A client came in through `door`; `address` as in `OnClient`. */
export type OnEntry = (
  door: Door,
  socket: ClientSocket,
  policy: ListenerPolicy,
  address: string | null,
) => void;

const schemes = { tcp: "mqtt", tls: "mqtts", ws: "ws", wss: "wss", unix: "unix" } as const;

export interface DoorsParts
  extends Pick<ListenerParts, "clock" | "wheel" | "log" | "isBanned" | "hasRoom" | "onTurnedAway"> {
  readonly config: Pick<Config, "auth" | "limits" | "listeners">;
  readonly onEntry: OnEntry;
}

export class Doors {
  readonly counters = new ListenerCounters();
  private doors: Door[] = [];

  constructor(private readonly parts: DoorsParts) {}

  /** Connections that were accepted and are not through to MQTT yet. */
  get pending(): number {
    let sum = 0;
    for (const { listener } of this.doors) sum += listener?.pending ?? 0;
    return sum;
  }

  /** Opens all that are enabled. @throws Refusal when one of them cannot be had: then none is open */
  async open(): Promise<void> {
    try {
      for (const settings of enabledListeners(this.parts.config.listeners)) {
        const door = new Door(settings.kind, settings.name);
        door.listener = makeListener(settings, this.listenerParts(settings, door));
        this.doors.push(door);
        await door.listener.listen();
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Lets nobody in any more; resolves when all that are in have gone. */
  async close(): Promise<void> {
    const closing = this.doors.map(({ listener }) => listener?.close());
    this.doors = [];
    await Promise.all(closing);
  }

  list(): DoorInfo[] {
    return this.doors.map(({ name, kind, listener, connections }) => {
      const { address, port } = listener?.place ?? { address: "", port: 0 };
      return { name, kind: schemes[kind], address, port, connections };
    });
  }

  /** Some listener has certificates. */
  get hasCertificates(): boolean {
    return this.doors.some(({ kind }) => kind === "tls" || kind === "wss");
  }

  /**
   * Reads the certificates of all listeners again.
   * @throws Refusal when no listener has any
   */
  reload(): ReloadInfo[] {
    const encrypted = this.doors.filter(({ kind }) => kind === "tls" || kind === "wss");
    if (encrypted.length === 0) throw new Refusal("no listener of this node has certificates");
    return encrypted.map(({ name, listener }) => ({ name, problem: listener?.reload() ?? null }));
  }

  private listenerParts(settings: ListenerSettings, door: Door): ListenerParts {
    const { config, clock, wheel, log, isBanned, hasRoom, onTurnedAway, onEntry } = this.parts;
    return {
      ...{ clock, wheel, log, isBanned, hasRoom, onTurnedAway, counters: this.counters },
      limits: config.limits,
      policy: {
        name: settings.name,
        anonymous: settings.anonymous ?? config.auth.anonymous ?? isLocal(settings),
        closedToStrangers: isClosedToStrangers(settings, config.auth.anonymous),
        certificateUser: null,
        mountPoint: settings.mount_point,
      },
      onClient: (socket, policy, address) => onEntry(door, socket, policy, address),
    };
  }
}
