/**
 * The settings as text: the annotated YAML file that `broker config reference` prints and that
 * conf/broker.yaml is, and the effective values that `broker config show` prints.
 */
import { type ChangedSetting, settingValue } from "./load.js";
import { type Config, configSchema } from "./schema.js";
import type { SettingInfo } from "./setting.js";
import { type Setting, settings } from "./settings.js";

const width = 96;

const opening = [
  "Every setting of the broker, with its default. Take out the '#' before a line to change it.",
  "",
  "The file is given with `--config FILE`. The environment goes before the file (node.name is",
  "BROKER_NODE__NAME: two underscores stand for a dot), and flags go before both",
  "(--set node.name=a@10.0.0.1). A key that is unknown or a value that is not allowed is refused.",
  "Relative paths are relative to the directory in which the broker is started.",
  "",
  "This file is written by `broker config reference`.",
];

/** Every setting with type, unit, allowed range, default and consequence, as a YAML file. */
export function referenceText(): string {
  const lines = opening.map((line) => `# ${line}`.trimEnd());
  const standard = configSchema.parse({});
  render(lines, ({ key, info }, indent) => {
    const value = info.format(settingValue(standard, key));
    return [
      ...(lines.at(-1)?.endsWith(":") ? [] : [""]),
      ...wrap(info.about, `${indent}# `),
      ...wrap(facts(info), `${indent}# `),
      `${indent}# ${key.split(".").at(-1)}: ${value}`,
    ];
  });
  return `${lines.join("\n")}\n`;
}

/** The effective configuration as YAML; what is not the default says where it came from. */
export function effectiveText(config: Config, changed: readonly ChangedSetting[]): string {
  const origins = new Map(changed.map((setting) => [setting.key, setting.origin]));
  const lines: string[] = [];
  render(lines, ({ key, info }, indent) => {
    const origin = origins.get(key);
    const value = info.format(settingValue(config, key));
    const note = origin === undefined ? "" : `  # ${origin}`;
    return [`${indent}${key.split(".").at(-1)}: ${value}${note}`];
  });
  return `${lines.join("\n")}\n`;
}

/** Calls `entry` for each setting, and writes the names of the sections between them. */
function render(lines: string[], entry: (setting: Setting, indent: string) => string[]): void {
  let open: readonly string[] = [];
  for (const setting of settings.values()) {
    const path = setting.key.split(".").slice(0, -1);
    const shared = path.findIndex((word, level) => open[level] !== word);
    for (const [level, word] of path.entries()) {
      if (shared === -1 || level < shared) continue;
      if (lines.length > 0 && !lines.at(-1)?.endsWith(":")) lines.push("");
      lines.push(`${"  ".repeat(level)}${word}:`);
    }
    open = path;
    lines.push(...entry(setting, "  ".repeat(path.length)));
  }
}

function facts({ type, unit, allowed, defaultText }: SettingInfo): string {
  const units = unit === "" ? "" : ` | unit: ${unit}`;
  return `type: ${type}${units} | allowed: ${allowed} | default: ${defaultText}`;
}

function wrap(sentence: string, prefix: string): string[] {
  const lines: string[] = [];
  let line = prefix.trimEnd();
  for (const word of sentence.split(" ")) {
    if (line.length + word.length + 1 > width) {
      lines.push(line);
      line = prefix.trimEnd();
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
