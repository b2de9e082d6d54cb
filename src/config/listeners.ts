/**
 * The settings of listeners, and what must hold among them. Each kind has one section; further listeners
 * of any kind stand in the list `listeners.more` and take the same settings.
 */
import { isIP } from "node:net";
import { z } from "zod";
import { flag, flagOrUnset, integer, list, objects, oneOf, size, text } from "./setting.js";

const addressPattern = /^[0-9A-Za-z.:-]{1,253}$/;
const anyPath = /^.*$/;
/** Whole levels, so that what is inside cannot be confused with a neighbour's topics. */
const mountPointPattern = /^(?:[^+#$/\0][^+#\0]*\/)?$/;
const serverNamePattern = /^(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;

const everywhere = (enabled: boolean) => ({
  enabled: flag({
    default: enabled,
    about: "Whether the listener is opened. One that is not listens nowhere, whatever else is set.",
  }),
  max_connections: integer({
    min: 0,
    max: 10_000_000,
    default: 0,
    unit: "connections",
    about:
      "Most client connections at once through this listener; further ones are closed and counted. 0: " +
      "no limit but limits.connections, which holds over all listeners.",
  }),
  mount_point: text({
    type: "topic prefix",
    pattern: mountPointPattern,
    allowed: "levels without wildcards that end with a slash, such as site1/, or empty",
    default: "",
    about:
      "Put before every topic and filter of the clients of this listener, and taken off what they get: " +
      "they see nothing outside of it. Access rules and commands see the whole name. A filter counts " +
      "with it against limits.topic_bytes. Empty: clients see all topics.",
  }),
  anonymous: flagOrUnset({
    about:
      "Whether clients of this listener may connect without showing who they are. Not set (null): as the " +
      "settings of authentication say for all listeners.",
  }),
});

const internet = (port: number) => ({
  bind: text({
    type: "address",
    pattern: addressPattern,
    allowed: "an IP address or a host name of this machine",
    default: "127.0.0.1",
    about:
      "Address on which clients are accepted. The default takes clients of this machine only; 0.0.0.0 " +
      "takes them from everywhere over IPv4, and :: over IPv6 and IPv4.",
  }),
  port: integer({
    min: 0,
    max: 65535,
    default: port,
    unit: "port",
    about:
      "Port for clients of this listener. 0 takes any free one, which the start report and " +
      "`broker ctl listeners` then name.",
  }),
  proxy_protocol: flag({
    default: false,
    about:
      "Whether a proxy stands before this listener and begins every connection with a PROXY protocol header " +
      "(version 1 or 2), from which the client's address is taken. Without the header, or from an " +
      "address that is not in trusted_proxies, a connection is refused and counted.",
  }),
  trusted_proxies: list({
    pattern: /^[0-9A-Fa-f:.]+(?:\/\d{1,3})?$/,
    allowed: "a list of addresses or networks, such as 10.0.0.7 or 10.1.0.0/16",
    about:
      "Addresses of the proxies that may say where a client comes from, with proxy_protocol. Whoever has one " +
      "of them can claim any address, so name the proxies only.",
  }),
});

const serverNames = z.strictObject({
  name: text({
    type: "host name",
    pattern: serverNamePattern,
    allowed: "a host name, or *. and a domain for all names right below it",
    default: "",
    about:
      "Name that a client asks for in its TLS handshake (SNI) and that this certificate is for.",
  }),
  certificate: text({
    type: "path",
    pattern: anyPath,
    allowed: "a path of a PEM file",
    default: "",
    about: "Certificate for this name, with the intermediate ones after it, in PEM.",
  }),
  key: text({
    type: "path",
    pattern: anyPath,
    allowed: "a path of a PEM file",
    default: "",
    about: "Private key of the certificate for this name, in PEM, without a pass phrase.",
  }),
});

const encrypted = () => ({
  certificate: text({
    type: "path",
    pattern: anyPath,
    allowed: "a path of a PEM file",
    default: "",
    about:
      "The server's certificate, with the intermediate ones after it, in PEM. When the file changes it is " +
      "read again (or at once by `broker ctl listeners reload`): new connections get the new one, and " +
      "when it cannot be used the old one stays, with an error in the log.",
  }),
  key: text({
    type: "path",
    pattern: anyPath,
    allowed: "a path of a PEM file",
    default: "",
    about: "Private key of the certificate, in PEM, without a pass phrase. Read again with it.",
  }),
  ca: text({
    type: "path",
    pattern: anyPath,
    allowed: "a path of a PEM file, or empty",
    default: "",
    about:
      "Certificates of the authorities that sign client certificates, in PEM. Needed to check them; the " +
      "authorities that the system knows are not asked.",
  }),
  client_certificates: oneOf(["none", "optional", "required"], {
    default: "none",
    about:
      "Whether clients show a certificate. required: a handshake without one that `ca` signed fails. " +
      "optional: clients may have none, but one that is wrong is refused. none: they are not asked.",
  }),
  use_identity_as_username: flag({
    default: false,
    about:
      "Whether the common name of a client's verified certificate is its user name, whatever its CONNECT says. " +
      "A certificate without exactly one common name is refused then.",
  }),
  min_version: oneOf(["TLSv1.2", "TLSv1.3"], {
    default: "TLSv1.2",
    about: "Oldest version of TLS that is spoken. Clients without it fail in the handshake.",
  }),
  sni: objects(serverNames, {
    allowed: "a list of { name, certificate, key }",
    about:
      "Further certificates by the name that the client asks for. A client that asks for none of these names " +
      "gets the listener's own certificate.",
  }),
});

const webSocket = () => ({
  path: text({
    type: "path",
    pattern: /^\/[^\s?#]{0,255}$/,
    allowed: "the path of a URL, such as /mqtt",
    default: "/mqtt",
    about: "Path at which WebSockets are opened; a request for another one is answered with 404.",
  }),
  max_message: size({
    min: "1KiB",
    max: "256MiB",
    default: "2MiB",
    about:
      "Largest WebSocket message, over all its fragments; a larger one closes the connection. Many clients put " +
      "each packet into one message: for them nothing larger than this can pass.",
  }),
});

const unixSocket = () => ({
  path: text({
    type: "path",
    pattern: anyPath,
    allowed: "a path of at most 100 bytes, or empty",
    default: "",
    about:
      "File of the socket on which programs of this machine connect. A socket file that a dead process left " +
      "there is replaced; anything else there is refused.",
  }),
  mode: text({
    type: "file mode",
    pattern: /^0?[0-7]{3}$/,
    allowed: 'a file mode in octal and in quotes, such as "0660"',
    default: "0660",
    about: "Who may connect, as the mode of the socket file: all that can write to it.",
  }),
});

const kinds = {
  tcp: (enabled: boolean) => ({ ...everywhere(enabled), ...internet(1883) }),
  tls: (enabled: boolean) => ({ ...everywhere(enabled), ...internet(8883), ...encrypted() }),
  ws: (enabled: boolean) => ({ ...everywhere(enabled), ...internet(8083), ...webSocket() }),
  wss: (enabled: boolean) => ({
    ...everywhere(enabled),
    ...internet(8084),
    ...encrypted(),
    ...webSocket(),
  }),
  unix: (enabled: boolean) => ({ ...everywhere(enabled), ...unixSocket() }),
};

const named = <const K extends string>(kind: K) => ({
  kind: z.literal(kind),
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
});

const further = z.discriminatedUnion("kind", [
  z.strictObject({ ...named("tcp"), ...kinds.tcp(true) }),
  z.strictObject({ ...named("tls"), ...kinds.tls(true) }),
  z.strictObject({ ...named("ws"), ...kinds.ws(true) }),
  z.strictObject({ ...named("wss"), ...kinds.wss(true) }),
  z.strictObject({ ...named("unix"), ...kinds.unix(true) }),
]);

/** The section `listeners`. */
export const listenersSchema = z.strictObject({
  tcp: z.strictObject(kinds.tcp(true)).prefault({}),
  tls: z.strictObject(kinds.tls(false)).prefault({}),
  ws: z.strictObject(kinds.ws(false)).prefault({}),
  wss: z.strictObject(kinds.wss(false)).prefault({}),
  unix: z.strictObject(kinds.unix(false)).prefault({}),
  more: objects(further, {
    allowed: "a list of { name, kind, ... } with the settings of that kind",
    about:
      "Further listeners, each with a name of its own, a kind (tcp, tls, ws, wss, unix) and the settings that " +
      "the section of that kind has, with the same defaults; each is enabled unless it says otherwise.",
  }),
});

type Sections = z.output<typeof listenersSchema>;

/** One listener of any kind, with its name: that of its section, or its own in `listeners.more`. */
export type ListenerSettings = z.output<typeof further>;
export type ListenerKind = ListenerSettings["kind"];
export type TlsSettings = Extract<ListenerSettings, { kind: "tls" | "wss" }>;
export type WebSocketSettings = Extract<ListenerSettings, { kind: "ws" | "wss" }>;
export type UnixSettings = Extract<ListenerSettings, { kind: "unix" }>;

/** The listeners that are to be opened. */
export function enabledListeners(sections: Sections): ListenerSettings[] {
  return allListeners(sections).filter(({ enabled }) => enabled);
}

function allListeners(sections: Sections): ListenerSettings[] {
  const { tcp, tls, ws, wss, unix, more } = sections;
  return [
    { kind: "tcp", name: "tcp", ...tcp },
    { kind: "tls", name: "tls", ...tls },
    { kind: "ws", name: "ws", ...ws },
    { kind: "wss", name: "wss", ...wss },
    { kind: "unix", name: "unix", ...unix },
    ...more,
  ];
}

/** Can this machine alone reach it? A proxy before it brings in clients from elsewhere. */
export function isLocal(listener: ListenerSettings): boolean {
  if (listener.kind === "unix") return true;
  return isLoopback(listener.bind) && !listener.proxy_protocol;
}

/**
 * Do clients from elsewhere reach it, and nobody has said whether they may be anonymous? Then they may not.
 * `anonymous`: that of all listeners.
 */
export function isClosedToStrangers(
  listener: ListenerSettings,
  anonymous: boolean | null,
): boolean {
  return (listener.anonymous ?? anonymous) === null && !isLocal(listener);
}

/** An address that is only reached from the same machine. */
export function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || /^127(\.\d+){3}$/.test(address);
}

/** The same with `path` applied to every path of a file. */
export function withPaths(sections: Sections, path: (given: string) => string): Sections {
  const file = (given: string): string => (given === "" ? "" : path(given));
  const tls = <T extends Pick<TlsSettings, "certificate" | "key" | "ca" | "sni">>(
    section: T,
  ): T => ({
    ...section,
    certificate: file(section.certificate),
    key: file(section.key),
    ca: file(section.ca),
    sni: section.sni.map(({ name, certificate, key }) => {
      return { name, certificate: file(certificate), key: file(key) };
    }),
  });
  const one = (listener: ListenerSettings): ListenerSettings => {
    if (listener.kind === "unix") return { ...listener, path: file(listener.path) };
    return listener.kind === "tls" || listener.kind === "wss" ? tls(listener) : listener;
  };
  return {
    ...sections,
    tls: tls(sections.tls),
    wss: tls(sections.wss),
    unix: { ...sections.unix, path: file(sections.unix.path) },
    more: sections.more.map(one),
  };
}

/** A key, and a sentence that says what is wrong there. */
export interface ListenerProblem {
  readonly key: string;
  readonly sentence: string;
}

/** What is allowed setting by setting, and wrong together. Listeners that are not enabled may be anything. */
export function listenerProblems(sections: Sections): ListenerProblem[] {
  const found: ListenerProblem[] = [];
  const names = new Set<string>();
  const places = new Map<string, string>();
  for (const listener of allListeners(sections)) {
    const { name, enabled } = listener;
    const place = names.has(name) ? "listeners.more" : keyOf(listener, sections);
    if (names.has(name)) {
      found.push({ key: place, sentence: `two listeners have the name ${name}` });
    }
    names.add(name);
    if (!enabled) continue;
    for (const [setting, sentence] of problemsOf(listener)) {
      const isSection = place !== "listeners.more";
      const what = isSection ? `${place}.${setting}` : `${place} (${name}): ${setting}`;
      found.push({ key: isSection ? what : place, sentence: `${what} ${sentence}` });
    }
    const where = placeOf(listener);
    const other = where === null ? undefined : places.get(where);
    if (other !== undefined) {
      found.push({ key: place, sentence: `the listeners ${other} and ${name} both want ${where}` });
    }
    if (where !== null) places.set(where, name);
  }
  return found;
}

function keyOf({ name, kind }: ListenerSettings, { more }: Sections): string {
  return more.some((listener) => listener.name === name) ? "listeners.more" : `listeners.${kind}`;
}

/** Setting and the rest of the sentence. */
function problemsOf(listener: ListenerSettings): [string, string][] {
  if (listener.kind === "unix") {
    const bytes = Buffer.byteLength(listener.path);
    if (bytes === 0) return [["path", "must be given for a Unix socket"]];
    return bytes > 100 ? [["path", "is longer than the 100 bytes that systems allow"]] : [];
  }
  const found: [string, string][] = [];
  const wrong = listener.trusted_proxies.filter((text) => parseNetwork(text) === undefined);
  if (wrong.length > 0) found.push(["trusted_proxies", `holds ${wrong[0]}, which is no network`]);
  if (listener.proxy_protocol && listener.trusted_proxies.length === 0) {
    found.push(["trusted_proxies", "must name the proxies when proxy_protocol is on"]);
  }
  if (listener.kind === "tls" || listener.kind === "wss") found.push(...tlsProblems(listener));
  return found;
}

function tlsProblems(listener: TlsSettings): [string, string][] {
  const { certificate, key, ca, client_certificates: clients, sni } = listener;
  const found: [string, string][] = [];
  if (certificate === "") found.push(["certificate", "must be given for TLS"]);
  if (key === "") found.push(["key", "must be given for TLS"]);
  if (clients !== "none" && ca === "") {
    found.push(["ca", `must be given when client_certificates is ${clients}`]);
  }
  if (listener.use_identity_as_username && clients === "none") {
    found.push(["client_certificates", "must not be none when use_identity_as_username is on"]);
  }
  for (const { name, certificate: own, key: ownKey } of sni) {
    if (name !== "" && own !== "" && ownKey !== "") continue;
    found.push(["sni", "must have name, certificate and key in each of its items"]);
  }
  return found;
}

/** What two listeners cannot share; null: any free port. */
function placeOf(listener: ListenerSettings): string | null {
  if (listener.kind === "unix") return listener.path;
  return listener.port === 0 ? null : `${listener.bind} port ${listener.port}`;
}

/** A network of addresses. */
export interface Network {
  readonly address: string;
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

/** `address` or `address/prefix`; undefined: neither. */
export function parseNetwork(text: string): Network | undefined {
  const [, address = "", length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return undefined;
  const most = version === 4 ? 32 : 128;
  const prefix = length === undefined ? most : Number(length);
  if (prefix > most) return undefined;
  return { address, prefix, family: version === 4 ? "ipv4" : "ipv6" };
}
