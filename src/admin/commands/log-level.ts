/** `log level [LEVEL]`: shows the least level that is logged, or sets it until the next start. */
import { Refusal } from "../../lib/refusal.js";
import { command, optionalArgument } from "../command.js";

const levels = ["debug", "info", "warn", "error"];

export const logLevel = command({
  summary: "show or set the least level that is logged",
  args: { level: optionalArgument(`one of ${levels.join(", ")}`) },
  run: ({ log }, { level }) => {
    if (level !== undefined && !levels.includes(level)) {
      throw new Refusal(`${level} is no log level; it must be one of ${levels.join(", ")}`);
    }
    if (level !== undefined) log.setLevel(level);
    return { level: log.level() };
  },
  text: ({ level }) => `The log level is ${level}`,
});
