/** The section `auth` of the settings: who may connect. */
import { z } from "zod";
import { http, jwt, scrypt } from "./auth-methods.js";
import { flagOrUnset, integer, list, oneOf, text } from "./setting.js";

export const auth = z.strictObject({
  anonymous: flagOrUnset({
    about:
      "Whether clients without a user name may connect. Not set (null): only through listeners that this " +
      "machine alone can reach (bound to loopback and without proxy_protocol, or a Unix socket). true: " +
      "through all. false: through none. A listener may decide otherwise for its clients. Those who may not " +
      "are refused (0x87, MQTT 3: 5), and every user name is checked. Where they may, and while there is " +
      "no users file, user names are taken and not looked at.",
  }),
  methods: list({
    pattern: /^(?:password|jwt|http|SCRAM-SHA-256)$/,
    allowed: "a list of password, jwt, http and SCRAM-SHA-256",
    default: ["password", "SCRAM-SHA-256"],
    about:
      "How clients may show who they are. password, jwt and http look at user name and password of CONNECT, which " +
      "travel as they are, so use them with TLS; they are asked in this order, and the first that knows the " +
      "client decides. password: the users file. jwt: a JSON Web Token. http: a service of yours. " +
      "Whom none of them knows is refused (0x86, MQTT 3: 4). SCRAM-SHA-256: enhanced authentication of " +
      "MQTT 5, which never sends the password. Other methods of it are refused (0x8C).",
  }),
  users_file: text({
    type: "path",
    pattern: /^.*$/,
    allowed: "a path of a file, or empty",
    default: "",
    defaultText: "<node.data_dir>/users.json",
    about:
      "File with the users of this node, the hashes (scrypt) of their passwords and verifiers for " +
      "SCRAM-SHA-256; `broker ctl users` writes it, and changes by hand are noticed within a second. Once " +
      "there is one, every user name is checked. Each node reads its own: copy it to all, or share it.",
  }),
  iterations: integer({
    min: 4096,
    max: 10_000_000,
    default: 4096,
    unit: "rounds",
    about:
      "Work of PBKDF2 in the SCRAM verifiers of new passwords. Higher makes a stolen users file harder to use, " +
      "and costs the client more at each CONNECT with SCRAM. Passwords that exist keep theirs until `users passwd`.",
  }),
  scrypt,
  checks_at_once: integer({
    min: 1,
    max: 64,
    default: 2,
    unit: "checks",
    about:
      "Passwords and tokens of CONNECTs that are checked at the same time, each in a worker thread (there " +
      "are four, which files and names use too). More finishes a rush of clients sooner and takes more " +
      "processor time from everything else.",
  }),
  checks_waiting: integer({
    min: 0,
    max: 1_000_000,
    default: 10_000,
    unit: "checks",
    about:
      "Most CONNECTs that wait for the check of their password or token, and as many for the HTTP service; " +
      "further ones are refused as busy (0x89, MQTT 3: 3) and counted. More than can be checked within limits.connect_timeout is of no use.",
  }),
  acl_file: text({
    type: "path",
    pattern: /^.*$/,
    allowed: "a path of a file, or empty",
    default: "",
    about:
      "File with the rules of who may publish and subscribe to what. Empty: everybody to everything. A node " +
      "does not start when it cannot be read or has a line that is no rule; it is read again at SIGHUP and " +
      "`broker ctl acl reload`, and when it is not usable then the rules stay as they were, with an error " +
      "in the log and the metric acl.failing at 1. Each node reads its own.",
  }),
  acl_format: oneOf(["trellis", "mosquitto"], {
    default: "trellis",
    about:
      "How the ACL file is written. trellis: lines such as `allow user anna subscribe sensors/#`, of which " +
      "the first that fits decides. mosquitto: an acl_file of mosquitto as it is, with its order; every " +
      "SUBSCRIBE is granted then, as mosquitto does, and what may not be read is not delivered.",
  }),
  acl_default: oneOf(["deny", "allow"], {
    default: "deny",
    about:
      "What holds where no rule fits, once there is an ACL file or a client has rules of its own. deny: what " +
      "nothing allows is denied, as in mosquitto. allow: what nothing denies is allowed, as EMQX does " +
      "unless it is told otherwise.",
  }),
  jwt,
  http,
});

type Auth = z.output<typeof auth>;

/** What a method in `auth.methods` needs and does not have. */
export function authProblems({ methods, jwt, http }: Auth): { key: string; sentence: string }[] {
  const problems: { key: string; sentence: string }[] = [];
  const keyFiles = [jwt.secret_file, jwt.public_key_file, jwt.jwks_file];
  if (methods.includes("jwt") && keyFiles.filter((file) => file !== "").length !== 1) {
    const sentence =
      "the method jwt needs exactly one of auth.jwt.secret_file, auth.jwt.public_key_file and auth.jwt.jwks_file";
    problems.push({ key: "auth.jwt.secret_file", sentence });
  }
  if (methods.includes("http") && http.url === "") {
    problems.push({ key: "auth.http.url", sentence: "the method http needs auth.http.url" });
  }
  return problems;
}

/** The section with `path` applied to the files that are set. */
export function withKeyPaths(jwt: Auth["jwt"], path: (text: string) => string): Auth["jwt"] {
  const of = (file: string): string => (file === "" ? "" : path(file));
  const { secret_file, public_key_file, jwks_file } = jwt;
  return {
    ...jwt,
    secret_file: of(secret_file),
    public_key_file: of(public_key_file),
    jwks_file: of(jwks_file),
  };
}
