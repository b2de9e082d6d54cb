/** Accepts MQTT clients over TCP. */
import { createServer, type Server, type Socket } from "node:net";

export interface Address {
  readonly address: string;
  readonly port: number;
}

export class TcpListener {
  private readonly server: Server;

  constructor(onSocket: (socket: Socket) => void) {
    // noDelay: everything of a turn leaves in one write, there is nothing to wait for.
    this.server = createServer({ noDelay: true }, onSocket);
  }

  /** Starts to listen; port 0 takes any free one. Rejects when the address cannot be had. */
  listen(bind: string, port: number): Promise<Address> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen({ host: bind, port, backlog: 1024 }, () => {
        this.server.off("error", reject);
        // A failed accept (no file descriptors left) concerns that client alone.
        this.server.on("error", () => undefined);
        const bound = this.server.address();
        if (bound === null || typeof bound === "string") reject(new Error("no TCP address"));
        else resolve({ address: bound.address, port: bound.port });
      });
    });
  }

  /** Accepts no more; resolves when all accepted sockets are closed too. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
    });
  }
}
