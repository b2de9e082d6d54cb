/**
 * Reads the PROXY protocol header from connections of trusted proxies, before anything else sees their bytes.
 * All others are cut off and counted: an address that anybody may claim is worse than none.
 */
import { BlockList, isIPv6 } from "node:net";
import { parseNetwork } from "../../config/listeners.js";
import { addressText } from "../client-socket.js";
import type { Handshake } from "./handshakes.js";
import type { ListenerParts } from "./listener.js";
import { parseProxyHeader } from "./proxy-header.js";

export class ProxyGate {
  private readonly trusted = new BlockList();

  constructor(
    trustedProxies: readonly string[],
    private readonly parts: Pick<ListenerParts, "counters" | "log" | "isBanned">,
  ) {
    for (const text of trustedProxies) {
      const network = parseNetwork(text);
      if (network === undefined) continue; // refused when the configuration was read
      this.trusted.addSubnet(network.address, network.prefix, network.family);
    }
  }

  /** Takes the header off; calls `done` with the address in place and the stream right after it. */
  read(handshake: Handshake, done: () => void): void {
    const { socket } = handshake;
    const { counters, log } = this.parts;
    const { remoteAddress } = socket;
    if (remoteAddress === undefined) {
      // Closed again already: health checks are like that.
      socket.destroy();
      return;
    }
    if (!this.trusts(remoteAddress)) {
      counters.proxyUntrusted++;
      log.debug({ address: remoteAddress }, "not a trusted proxy");
      socket.destroy();
      return;
    }
    let held: Buffer = Buffer.alloc(0);
    const onReadable = (): void => {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const header = parseProxyHeader(held);
      if (header.state === "more") return;
      socket.off("readable", onReadable);
      if (header.state === "malformed") {
        counters.proxyMalformed++;
        log.debug({ address: remoteAddress }, "no PROXY protocol header");
        socket.destroy();
        return;
      }
      if (header.host !== null && this.parts.isBanned({ remoteAddress: header.host })) {
        socket.destroy();
        return;
      }
      if (header.host !== null) handshake.address = addressText(header.host, header.port);
      if (header.length < held.length) socket.unshift(held.subarray(header.length));
      done();
    };
    socket.on("readable", onReadable);
  }

  private trusts(address: string): boolean {
    return this.trusted.check(address, isIPv6(address) ? "ipv6" : "ipv4");
  }
}
