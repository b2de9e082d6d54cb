/** Tests of mosquitto's suite that do not pass, and why. Everything else has to. */
export const explained: Readonly<Record<string, string>> = {};
