/**
 * The environment of the process. The only file that reads it: settings as BROKER_SECTION__NAME (two
 * underscores stand for a dot), the cookie, and where the system wants run-time files.
 */
import { settings, unknownKey } from "./settings.js";

/** The text of one setting from outside the file, and where it came from. */
export interface GivenText {
  readonly key: string;
  readonly text: string;
  readonly origin: string;
}

export interface Environment {
  readonly settings: readonly GivenText[];
  /** A sentence for each variable that looks like a setting and is none. */
  readonly problems: readonly string[];
  /** BROKER_COOKIE: the cookie itself, not the name of a file. */
  readonly cookie: string | undefined;
  /** XDG_RUNTIME_DIR, when the system sets it. */
  readonly runtimeDir: string | undefined;
}

const prefix = "BROKER_";
const cookieVariable = "BROKER_COOKIE";

/** Reads `variables`, or those of this process. */
export function readEnvironment(
  variables: Readonly<Record<string, string | undefined>> = process.env,
): Environment {
  const given: GivenText[] = [];
  const problems: string[] = [];
  for (const [name, text] of Object.entries(variables)) {
    if (!name.startsWith(prefix) || name === cookieVariable || text === undefined) continue;
    const key = name.slice(prefix.length).toLowerCase().replaceAll("__", ".");
    if (settings.has(key)) given.push({ key, text, origin: `environment ${name}` });
    else problems.push(`environment ${name}: ${unknownKey(key)}`);
  }
  return {
    settings: given,
    problems,
    cookie: variables[cookieVariable],
    runtimeDir: variables.XDG_RUNTIME_DIR || undefined,
  };
}
