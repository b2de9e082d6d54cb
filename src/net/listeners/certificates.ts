/**
 * The certificates of one TLS listener, as contexts for new handshakes. They are replaced all together or not
 * at all, and the files are looked at again as long as the listener is open.
 */
import { constants } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import type { TlsSettings } from "../../config/listeners.js";
import type { Timer } from "../../lib/clock.js";
import type { ListenerParts } from "./listener.js";

const checkMs = 5000;

/** The listener's own certificate, and those by server name. */
export interface LoadedCertificates {
  readonly options: SecureContextOptions;
  readonly byName: ReadonlyMap<string, SecureContext>;
}

type FileSettings = Pick<
  TlsSettings,
  "certificate" | "key" | "ca" | "sni" | "min_version" | "client_certificates"
>;

export class Certificates {
  private loaded: LoadedCertificates;
  private stamp: string;
  private timer: Timer | undefined;

  /** @throws Error when a file cannot be read, or what is in it cannot be used */
  constructor(
    private readonly settings: FileSettings,
    private readonly parts: Pick<ListenerParts, "clock" | "log" | "counters" | "policy">,
    /** The listener's own certificate is another one. */
    private readonly onReloaded: (options: SecureContextOptions) => void,
  ) {
    this.stamp = stampOf(settings);
    this.loaded = load(settings);
  }

  get options(): SecureContextOptions {
    return this.loaded.options;
  }

  /** The certificate for a name that a client asks for; undefined: the listener's own. */
  contextFor(serverName: string): SecureContext | undefined {
    const { byName } = this.loaded;
    const name = serverName.toLowerCase();
    return byName.get(name) ?? byName.get(name.replace(/^[^.]+/, "*"));
  }

  /** Looks at the files from time to time, until `close`. */
  watch(): void {
    this.timer = this.parts.clock.setTimer(checkMs, () => {
      this.watch();
      if (stampOf(this.settings) !== this.stamp) this.reload();
    });
  }

  close(): void {
    this.parts.clock.clearTimer(this.timer);
  }

  /** Reads the files again. Returns what is wrong with them, if anything: then nothing has changed. */
  reload(): string | null {
    const { log, counters, policy } = this.parts;
    const listener = policy.name;
    // Also of files that cannot be used: the same complaint need not be made again and again.
    this.stamp = stampOf(this.settings);
    try {
      this.loaded = load(this.settings);
      this.onReloaded(this.loaded.options);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      counters.certificatesNotReloaded++;
      log.error({ listener, why }, "the new certificates cannot be used; the old ones stay");
      return why;
    }
    counters.certificatesReloaded++;
    log.info({ listener }, "certificates were read again");
    return null;
  }
}

function load(settings: FileSettings): LoadedCertificates {
  const { certificate, key, ca, sni, min_version: minVersion } = settings;
  const common: SecureContextOptions = { minVersion };
  if (ca !== "") common.ca = readFileSync(ca);
  if (settings.client_certificates !== "none") {
    // A session that goes on by a ticket is not asked for its certificate again.
    common.secureOptions = constants.SSL_OP_NO_TICKET;
  }
  const options = contextOptions(common, certificate, key);
  const byName = new Map<string, SecureContext>();
  for (const item of sni) {
    const own = contextOptions(common, item.certificate, item.key);
    byName.set(item.name.toLowerCase(), createSecureContext(own));
  }
  return { options, byName };
}

function contextOptions(
  common: SecureContextOptions,
  certificate: string,
  key: string,
): SecureContextOptions {
  const options = { ...common, cert: readFileSync(certificate), key: readFileSync(key) };
  try {
    createSecureContext(options);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${certificate} and ${key}: ${why}`);
  }
  return options;
}

/** Changes whenever one of the files does. */
function stampOf({ certificate, key, ca, sni }: FileSettings): string {
  const paths = [certificate, key, ca, ...sni.flatMap((item) => [item.certificate, item.key])];
  return paths.map((path) => stampOfFile(path)).join(" ");
}

function stampOfFile(path: string): string {
  try {
    const { mtimeMs, ino, size } = statSync(path);
    return `${mtimeMs}/${ino}/${size}`;
  } catch {
    return "-";
  }
}
