/** Tests of mosquitto's suite that do not pass, and why. Everything else has to. */

/** Of something that is not MQTT and that we do not have; these are not run. */
export const absent: readonly (readonly [test: RegExp, what: string])[] = [
  [/^06-bridge|^08-(ssl|tls-psk)-bridge/, "a bridge"],
  [/^09-(plugin|extended-auth-(?!unsupported))/, "a plugin in C"],
  [/^14-dynsec/, "the dynamic-security plugin"],
  [/^08-tls-psk/, "TLS with pre-shared keys"],
  [/^08-ssl-connect-cert-auth-(crl|revoked)/, "a list of revoked certificates"],
  [
    /^04-retain-check-source/,
    "check_retain_source: the rules of who may publish, applied to what is retained",
  ],
  [/oversize-payload/, "message_size_limit, a limit of payloads besides that of packets"],
];

const tells = "MQTT 5: we say why before we close [MQTT-4.13.1-1], mosquitto closes without a word";
const connack = "MQTT 5: a CONNECT that is malformed gets a CONNACK that says so [MQTT-3.2.2-7]";
const password =
  "a wrong password is 0x86, in MQTT 3 return code 4; mosquitto says not authorized (0x87, 5)";
const levels =
  "a filter with too many levels gets a failure code in SUBACK [MQTT-3.9.3-1]; mosquitto closes";
const delay =
  "a will whose session ends with its connection is not delayed [MQTT-3.1.3-9]; mosquitto waits";
const alert =
  "Node.js closes without a TLS alert when it does not take a client's certificate; refused all the same";
const size =
  "a client that takes 20 bytes is sent no packet of 21 [MQTT-3.1.2-24]; mosquitto does not count the first byte";
const unchecked =
  "rules for a user hold for a user name that was checked; mosquitto believes any where there is no password file";

export const explained: Readonly<Record<string, string>> = {
  "01-connect-connack-2163.py": tells,
  "01-connect-duplicate.py": tells,
  "02-subpub-qos1-bad-pubcomp.py": tells,
  "02-subpub-qos1-bad-pubrec.py": tells,
  "02-subpub-qos2-bad-puback-1.py": tells,
  "02-subpub-qos2-bad-puback-2.py": tells,
  "02-subpub-qos2-bad-pubcomp.py": tells,
  "01-connect-invalid-id-utf8.py": connack,
  "01-connect-uname-invalid-utf8.py": connack,
  "01-connect-uname-no-flag.py": connack,
  "01-connect-uname-pwd-no-flag.py": connack,
  "07-will-invalid-utf8.py": connack,
  "07-will-no-flag.py": connack,
  "07-will-null-topic.py": connack,
  "01-connect-uname-no-password-denied.py": password,
  "01-connect-uname-or-anon.py": password,
  "01-connect-uname-password-denied-no-will.py": password,
  "01-connect-uname-password-denied.py": password,
  "09-pwfile-parse-invalid.py": password,
  "01-connect-zero-length-id.py":
    "wants allow_zero_length_clientid; we always give an id where one may be given [MQTT-3.1.3-6]",
  "02-subpub-qos0-long-topic.py": levels,
  "02-subscribe-long-topic.py": levels,
  "03-publish-dollar-v5.py":
    "lets bridges publish below $SYS; we let no client do so [MQTT-4.7.2-1]",
  "03-publish-long-topic.py":
    "a topic with too many levels is 0x90, topic name invalid [MQTT5 3.3.2.1]; mosquitto says 0x82",
  "04-retain-upgrade-outgoing-qos.py":
    "wants upgrade_outgoing_qos, by which a QoS above the publisher's is delivered [MQTT-3.8.4-8]",
  "07-will-delay-reconnect.py": delay,
  "07-will-delay-recover.py": delay,
  "07-will-delay.py": delay,
  "07-will-takeover.py":
    "a will without delay is published when its client id is taken over [MQTT-3.1.2-8]; mosquitto: not always",
  "08-ssl-connect-cert-auth-expired.py": alert,
  "08-ssl-connect-cert-auth-without.py": alert,
  "08-ssl-connect-no-identity.py":
    "who has no certificate is anonymous and not authorized (return code 5); mosquitto: a wrong password (4)",
  "08-ssl-hup-disconnect.py":
    "wants use_subject_as_username besides use_identity_as_username, which works",
  "09-acl-access-variants.py": unchecked,
  "09-acl-change.py": unchecked,
  "12-prop-maximum-packet-size-publish-qos1.py": size,
  "12-prop-maximum-packet-size-publish-qos2.py": size,
  "13-malformed-subscribe-v5.py":
    "retain handling 3 and no filter at all are protocol errors, 0x82 [MQTT5 3.8.3.1, MQTT-3.8.3-2]; it wants 0x81",
  "12-prop-subpub-payload-format.py":
    "sends a payload format of 0xED, which must be 0 or 1 [MQTT5 3.3.2.3.2]: we refuse it, mosquitto passes it on",
};
