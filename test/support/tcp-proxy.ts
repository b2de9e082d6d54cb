/** A way to a server that a test can cut: connections through it are closed, and new ones come to nothing. */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Scope } from "./redis.js";

export class TcpProxy {
  private isCut = false;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly targetPort: number,
  ) {
    server.on("connection", (socket) => this.pass(socket));
  }

  /** To a port of this machine. */
  static async open(scope: Scope, targetPort: number): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server, targetPort);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    scope.after(() => {
      proxy.cut();
      server.close();
    });
    return proxy;
  }

  get address(): string {
    const address = this.server.address();
    return `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }

  cut(): void {
    this.isCut = true;
    for (const socket of this.sockets) socket.destroy();
  }

  mend(): void {
    this.isCut = false;
  }

  private pass(from: Socket): void {
    const to = connect(this.targetPort, "127.0.0.1");
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ] as const) {
      this.sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
    if (this.isCut) from.destroy();
  }
}
