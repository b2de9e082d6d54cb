/** What listeners count beyond connections, over all listeners. */
export class ListenerCounters {
  /** Connections that did not come from a trusted proxy, where one is expected. */
  proxyUntrusted = 0;
  /** Connections without a right PROXY protocol header, where one is expected. */
  proxyMalformed = 0;
  /** TLS handshakes that failed; connections that closed before they sent anything do not count. */
  tlsFailed = 0;
  /** Clients without a right certificate, or without one common name in it where that is the user. */
  certificatesRefused = 0;
  /** HTTP requests that open no WebSocket: wrong path, no MQTT subprotocol, no upgrade, no HTTP at all. */
  webSocketsRefused = 0;
  /** WebSockets closed for what came in them: text, too large, against the protocol. */
  webSocketsFailed = 0;
  /** Connections that were not through with PROXY header, TLS and WebSocket in time. */
  handshakesLate = 0;
  certificatesReloaded = 0;
  certificatesNotReloaded = 0;
}
