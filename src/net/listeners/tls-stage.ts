/**
 * TLS on accepted sockets: handshakes, the certificate for the name that is asked for, and who the client is by
 * its own certificate. Only what passed all of it goes on.
 */
import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { TlsSettings } from "../../config/listeners.js";
import { Refusal } from "../../lib/refusal.js";
import type { ListenerPolicy } from "../../session/listener-policy.js";
import { Certificates } from "./certificates.js";
import type { Handshake } from "./handshakes.js";
import type { ListenerParts } from "./listener.js";

/** A handshake is done. `policy`: the listener's, with the user of the client's certificate in it. */
export type OnSecure = (socket: TLSSocket, handshake: Handshake, policy: ListenerPolicy) => void;

export class TlsStage {
  readonly certificates: Certificates;
  private readonly server: Server;
  /** By both ends of the connection: that is how a TLS socket is known again. */
  private readonly waiting = new Map<string, Handshake>();

  /** @throws Refusal when the certificates cannot be used */
  constructor(
    private readonly settings: TlsSettings,
    private readonly parts: ListenerParts,
    private readonly onSecure: OnSecure,
  ) {
    const { client_certificates: clients } = settings;
    this.certificates = loaded(settings, parts, (options) => {
      this.server.setSecureContext(options);
    });
    this.server = createServer({
      ...this.certificates.options,
      requestCert: clients !== "none",
      // Looked at in `policyFor`, where a refusal is told from a connection that just ended.
      rejectUnauthorized: false,
      SNICallback: (name, done) => done(null, this.certificates.contextFor(name)),
    });
    this.server.on("secureConnection", (socket) => this.onHandshake(socket));
    this.server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
      socket.destroy();
      // A health check that closes, or a client that thought better of it.
      if (error.code === "ECONNRESET") return;
      parts.counters.tlsFailed++;
      parts.log.debug({ listener: parts.policy.name, why: error.message }, "TLS handshake failed");
    });
  }

  /** Begins TLS on what was accepted; its next bytes must be the client's first of TLS. */
  begin(handshake: Handshake): void {
    const { socket } = handshake;
    const ends = endsOf(socket);
    this.waiting.set(ends, handshake);
    socket.on("close", () => {
      if (this.waiting.get(ends) === handshake) this.waiting.delete(ends);
    });
    this.server.emit("connection", socket);
  }

  private onHandshake(socket: TLSSocket): void {
    // An error is followed by "close", which is where it is handled.
    socket.on("error", () => undefined);
    const ends = endsOf(socket);
    const handshake = this.waiting.get(ends);
    this.waiting.delete(ends);
    const policy = this.policyFor(socket);
    if (handshake !== undefined && policy !== null) this.onSecure(socket, handshake, policy);
    else socket.destroy();
  }

  /** Null: the client's certificate is refused. */
  private policyFor(socket: TLSSocket): ListenerPolicy | null {
    const { client_certificates: clients, use_identity_as_username: named } = this.settings;
    const { policy } = this.parts;
    if (clients === "none") return policy;
    const { subject } = socket.getPeerCertificate();
    // Nothing was shown, where that is allowed.
    if (subject === undefined && clients === "optional") return policy;
    if (subject === undefined) return this.refuse("none was shown");
    if (!socket.authorized) return this.refuse("not signed by a known authority");
    if (!named) return policy;
    const name: unknown = subject.CN;
    if (typeof name !== "string" || name === "") return this.refuse("without one common name");
    return { ...policy, certificateUser: name };
  }

  private refuse(why: string): null {
    this.parts.counters.certificatesRefused++;
    this.parts.log.debug({ listener: this.parts.policy.name, why }, "client certificate refused");
    return null;
  }
}

function loaded(...parts: ConstructorParameters<typeof Certificates>): Certificates {
  try {
    return new Certificates(...parts);
  } catch (error) {
    const [, { policy }] = parts;
    const why = error instanceof Error ? error.message : String(error);
    throw new Refusal(`the listener ${policy.name} cannot use its certificates: ${why}`);
  }
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
