/** `listeners [reload]`: where this node accepts clients and links; reads their certificates again. */
import { Refusal } from "../../lib/refusal.js";
import { command, optionalArgument } from "../command.js";
import type { ListenerInfo, ReloadInfo } from "../parts.js";
import { table } from "../render.js";

type Result =
  | { readonly listeners: readonly ListenerInfo[] }
  | { readonly reloaded: readonly string[] };

export const listeners = command({
  summary: "list where this node accepts clients and links, or read certificates again",
  args: { action: optionalArgument("reload: read the certificates again, for new connections") },
  run: (parts, { action }): Result => {
    if (action === undefined) return { listeners: parts.listeners() };
    if (action === "reload") return { reloaded: allReloaded(parts.reloadCertificates()) };
    throw new Refusal(`${action} is nothing that can be done with listeners; it must be reload`);
  },
  text: (result) =>
    "reloaded" in result
      ? `The certificates of ${result.reloaded.join(", ")} have been read again`
      : listing(result.listeners),
});

/** @throws Refusal when some could not be used */
function allReloaded(infos: readonly ReloadInfo[]): string[] {
  const problems = infos.flatMap(({ name, problem }) =>
    problem === null ? [] : [`${name}: ${problem}`],
  );
  if (problems.length === 0) return infos.map(({ name }) => name);
  throw new Refusal(`the old certificates stay in use: ${problems.join("; ")}`);
}

function listing(infos: readonly ListenerInfo[]): string {
  const rows = infos.map(({ kind, address, port, connections, name }) => {
    return [kind, address, port === 0 ? "" : port, connections, name];
  });
  return table(["kind", "address", "port", "connections", "name"], rows);
}
