/**
 * What a connection needs of the stream to its client. A plain TCP or Unix socket of Node is one as it
 * is; TLS and WebSocket come in adapters (listeners/tls-client.ts, listeners/web-socket-client.ts).
 */
export interface ClientSocket {
  /** Undefined once it is closed. */
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  /** Bytes that are not handed to the system yet. */
  readonly writableLength: number;
  readonly destroyed: boolean;
  /**
   * The bytes of a write are the caller's again when it returns. Otherwise only once `writableLength`
   * is 0.
   */
  readonly copiesWrites?: boolean;
  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  /** "close" comes once and last. */
  on(event: "drain" | "error" | "close", listener: () => void): unknown;
  /** False: "drain" follows when there is room again. */
  write(bytes: Buffer): boolean;
  /** Writes are held back and leave together with `uncork`; left out: that cannot be had. */
  cork?(): void;
  uncork?(): void;
  /** No "data" until `resume`. */
  pause(): unknown;
  resume(): unknown;
  /** Closes when everything that was written has left. */
  destroySoon(): void;
  /** Closes at once. */
  destroy(): unknown;
}

/** `host:port`; IPv6 in brackets. */
export function addressText(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
