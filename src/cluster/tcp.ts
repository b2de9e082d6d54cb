/**
 * The network of a real node: TCP through node:net. What a pipe promises (transport.ts) is kept here:
 * one `onClose`, never within `close()` or `destroy()`, and no data after either of them.
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import type { Clock, Timer } from "../lib/clock.js";
import { readDirectly } from "../lib/direct-reads.js";
import type { Log } from "../lib/log.js";
import { Refusal } from "../lib/refusal.js";
import { hostText } from "./names.js";
import type { DialFailure, Pipe, PipeListener, Transport } from "./transport.js";

const dialTimeoutMs = 2_000;
/** A peer that neither takes our last bytes nor closes its side is not waited for any longer. */
const lingerMs = 2_000;
/** After so much a paced pipe is not read until the next turn: some thousand rows. */
const turnBytesMax = 131_072;
/** No pipe is read in a turn for longer than this and what came last. */
const turnMsMax = 10;

/**
 * TCP. Time-outs run on `clock`; what goes wrong with a listener later is written to `log`. Of the ports of a range
 * the one that is `preferred` places after the first is tried before all others: nodes that start together
 * should each have the port again that the others remember.
 */
export function tcpTransport(clock: Clock, log: Log, preferred = 0): Transport {
  return {
    async listen(host, ports, onPipe) {
      const [first, last] = ports;
      const all = Array.from({ length: last - first + 1 }, (_, i) => first + i);
      for (const port of [...all.slice(preferred, preferred + 1), ...all]) {
        const server = await listenOn(host, port, (socket) => onPipe(new TcpPipe(socket, clock)));
        if (server !== undefined) return listener(server, log);
      }
      const range = first === last ? `port ${first} is` : `the ports ${first} to ${last} are`;
      throw new Refusal(`cannot listen for peers: ${range} in use on ${host} (cluster.port_range)`);
    },
    dial(host, port, done) {
      new Dial(host, port, clock, done);
    },
  };
}

/** A listening server, or undefined when the port is in use. */
function listenOn(
  host: string,
  port: number,
  onSocket: (socket: Socket) => void,
): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer(
      { noDelay: true, keepAlive: false, allowHalfOpen: false },
      onSocket,
    );
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(new Refusal(`cannot listen for peers on ${host}: ${whyNot(error)}`));
    });
    // exclusive: workers behind shared ports have a link port of their own.
    server.listen({ host, port, exclusive: true }, () => {
      server.removeAllListeners("error");
      resolve(server);
    });
  });
}

function whyNot(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return "it is no address of this machine (cluster.bind)";
    case "EACCES":
      return "not permitted for these ports (cluster.port_range)";
    default:
      return error.message;
  }
}

function listener(server: Server, log: Log): PipeListener {
  // A failed accept (no file descriptor left) ends nothing: the peer dials again.
  server.on("error", (error) => log.warn({ error: error.message }, "a peer could not be accepted"));
  // A TCP server's address is a string only for a Unix socket, and null only when it is closed.
  const { port } = server.address() as AddressInfo;
  return { port, close: () => void server.close() };
}

/** One attempt to connect. */
class Dial {
  private readonly socket: Socket;
  private readonly timer: Timer;
  private over = false;

  constructor(
    host: string,
    port: number,
    private readonly clock: Clock,
    private readonly done: (result: Pipe | DialFailure) => void,
  ) {
    this.socket = connect({ host, port, noDelay: true, keepAlive: false });
    this.socket.once("connect", () => this.end(new TcpPipe(this.socket, clock)));
    this.socket.once("error", (error) => this.end(isRefused(error) ? "refused" : "unreachable"));
    this.timer = clock.setTimer(dialTimeoutMs, () => {
      this.socket.destroy();
      this.end("unreachable");
    });
  }

  private end(result: Pipe | DialFailure): void {
    if (this.over) return;
    this.over = true;
    this.clock.clearTimer(this.timer);
    this.done(result);
  }
}

/**
 * Did the host say that nobody listens? With several addresses all of them must have said so: "refused"
 * is taken for proof that the process is gone.
 */
function isRefused(error: NodeJS.ErrnoException): boolean {
  if (error instanceof AggregateError) return error.errors.every(isRefused);
  return error.code === "ECONNREFUSED";
}

class TcpPipe implements Pipe {
  readonly remote: string;
  onData: (bytes: Buffer) => void = ignore;
  onClose: () => void = ignore;
  paced = false;
  private open = true;
  /** Since reading was left off for the last time. */
  private turnBytes = 0;
  /** When the first bytes of this turn came; 0: none have. */
  private turnBeganMs = 0;
  private linger: Timer | undefined;
  private readonly onTurnEnd = (): void => {
    this.turnBytes = 0;
    this.turnBeganMs = 0;
    if (this.socket.isPaused()) this.socket.resume();
  };

  constructor(
    private readonly socket: Socket,
    private readonly clock: Clock,
  ) {
    // A socket that was closed before it was accepted has no address any more.
    this.remote = `${hostText(socket.remoteAddress ?? "closed")}:${socket.remotePort ?? 0}`;
    readDirectly(socket);
    socket.on("data", (bytes) => this.onBytes(bytes));
    // What went wrong does not matter to a link: "close" always follows.
    socket.on("error", ignore);
    socket.on("close", () => {
      this.open = false;
      clock.clearTimer(this.linger);
      this.onClose();
    });
  }

  get bufferedBytes(): number {
    return this.socket.writableLength;
  }

  /** The system hands over up to 2 MiB in one turn: what is in them would hold up all others. */
  private onBytes(bytes: Buffer): void {
    if (!this.open) return;
    const { clock } = this;
    if (this.turnBeganMs === 0) {
      this.turnBeganMs = clock.monotonicMs();
      clock.defer(this.onTurnEnd);
    }
    if (this.paced) this.turnBytes += bytes.length;
    if (this.turnBytes >= turnBytesMax) this.socket.pause();
    this.onData(bytes);
    if (clock.monotonicMs() - this.turnBeganMs >= turnMsMax) this.socket.pause();
  }

  write(bytes: Buffer): boolean {
    const { socket } = this;
    if (!this.open || !socket.writable) return true;
    socket.write(bytes);
    // Nothing waits: the system has taken a copy of every byte.
    return socket.writableLength === 0;
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.socket.end();
    this.linger = this.clock.setTimer(lingerMs, () => this.socket.destroy());
  }

  destroy(): void {
    this.open = false;
    this.socket.destroy();
  }
}

function ignore(): void {}
