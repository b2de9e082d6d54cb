/**
 * A listening socket: TCP or Unix. Accepts as many connections as its listener and the node have room for and
 * hands each on as it is; what is turned away costs nothing but its accept.
 */
import { createServer, type ListenOptions, type Server, type Socket } from "node:net";
import { Refusal } from "../../lib/refusal.js";
import type { ListenerParts, Place } from "./listener.js";
import { isWorker, sharing } from "./sharing.js";

export class Acceptor {
  place: Place = { address: "", port: 0 };
  private readonly server: Server;
  private listening = false;
  /** Open connections, where they are counted here. */
  private open = 0;

  constructor(
    private readonly connectionsMax: number,
    private readonly parts: ListenerParts,
    private readonly onSocket: (socket: Socket) => void,
  ) {
    // noDelay: everything of a turn leaves in one write, there is nothing to wait for.
    this.server = createServer({ noDelay: true }, (socket) => this.onAccepted(socket));
    if (connectionsMax > 0 && !isWorker) this.server.maxConnections = connectionsMax;
    this.server.on("drop", () => parts.onTurnedAway());
  }

  /**
   * Starts to listen; port 0 takes any free one. Everything up to the bind is done before this returns.
   * @throws Refusal when the place cannot be had
   */
  listen(where: Pick<ListenOptions, "host" | "port" | "path">): Promise<void> {
    const { name } = this.parts.policy;
    return new Promise((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException): void => {
        reject(new Refusal(`the listener ${name} cannot listen ${whyNot(error, where, name)}`));
      };
      this.server.once("error", onError);
      this.server.listen({ ...where, ...sharing(where), backlog: 1024 }, () => {
        this.server.off("error", onError);
        // A failed accept (no file descriptors left) concerns that client alone.
        this.server.on("error", () => undefined);
        this.listening = true;
        const bound = this.server.address();
        this.place =
          bound === null || typeof bound === "string"
            ? { address: bound ?? "", port: 0 }
            : { address: bound.address, port: bound.port };
        resolve();
      });
    });
  }

  /** Accepts no more; resolves when all accepted sockets are closed too. */
  close(): Promise<void> {
    if (!this.listening) return Promise.resolve();
    this.listening = false;
    return new Promise((resolve) => {
      this.server.close(() => resolve());
    });
  }

  private onAccepted(socket: Socket): void {
    if (this.parts.isBanned(socket)) {
      socket.destroy();
      return;
    }
    if (this.parts.hasRoom() && this.hasPlace()) {
      if (isWorker && this.connectionsMax > 0) this.count(socket);
      this.onSocket(socket);
      return;
    }
    this.parts.onTurnedAway();
    socket.destroy();
  }

  /** The server's own limit would send a connection on to the next worker, and round and round when all are full. */
  private hasPlace(): boolean {
    return !isWorker || this.connectionsMax === 0 || this.open < this.connectionsMax;
  }

  private count(socket: Socket): void {
    this.open++;
    socket.once("close", () => this.open--);
  }
}

/** Why a place cannot be had, for the end of a sentence about the listener `name`. */
export function whyNot(
  { code, message }: NodeJS.ErrnoException,
  { host, port, path }: Pick<ListenOptions, "host" | "port" | "path">,
  name: string,
): string {
  if (path !== undefined) return `at ${path}: ${message}`;
  const place = `on ${host} port ${port}`;
  if (code !== "EADDRINUSE") return `${place}: ${message}`;
  const isSection = ["tcp", "tls", "ws", "wss"].includes(name);
  const how = isSection ? `--set listeners.${name}.port=N` : "its port in listeners.more";
  return `${place}: another program has this port, choose one with ${how}`;
}
