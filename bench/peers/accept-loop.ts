/**
 * What any broker in Node has to do for a client at least: accept it, read whole packets, answer CONNECT with a CONNACK,
 * and know who is there until the client closes the socket after DISCONNECT. What a broker does beyond that is its own.
 * `tsx bench/peers/accept-loop.ts PORT`
 */
import { createServer, type Socket } from "node:net";

const connack = Buffer.from([0x20, 2, 0, 0]);
const pingresp = Buffer.from([0xd0, 0]);
/** Of CONNECT: protocol name, version, flags, keep-alive, the length of the client id, all behind the fixed header. */
const clientIdAt = 14;
const clients = new Set<Client>();

class Client {
  clientId: string | null = null;

  constructor(private readonly socket: Socket) {
    clients.add(this);
    socket.on("data", (bytes) => this.onData(bytes));
    socket.on("error", () => undefined);
    socket.on("close", () => clients.delete(this));
  }

  /** Packets are short, and come whole: anything else ends the connection. */
  private onData(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const end = at + 2 + (bytes[at + 1] ?? 128);
      const type = end <= bytes.length ? (bytes[at] ?? 0) >> 4 : 0;
      if (type === 1 && this.clientId === null) {
        this.clientId = bytes.toString("utf8", at + clientIdAt, end);
        this.socket.write(connack);
      } else if (type === 12) this.socket.write(pingresp);
      else if (type !== 14) {
        this.socket.destroy();
        return;
      }
      at = end;
    }
  }
}

createServer({ noDelay: true }, (socket) => void new Client(socket)).listen({
  port: Number(process.argv[2] ?? 1883),
  host: "127.0.0.1",
  backlog: 1024,
});
