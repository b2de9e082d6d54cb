/**
 * The least that a Node process can do for a client: accept it and answer its first bytes with a CONNACK. What a
 * broker does beyond that is its own. `tsx bench/peers/accept-loop.ts PORT`
 */
import { createServer } from "node:net";

const connack = Buffer.from([0x20, 2, 0, 0]);

createServer({ noDelay: true }, (socket) => {
  socket.once("data", () => socket.write(connack));
  socket.on("error", () => socket.destroy());
}).listen({ port: Number(process.argv[2] ?? 1883), host: "127.0.0.1", backlog: 1024 });
