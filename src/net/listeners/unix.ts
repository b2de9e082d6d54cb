/**
 * MQTT over a Unix socket, for programs of this machine. The file is there, with its mode, as long as the
 * listener is open; one that a dead process left behind is replaced.
 */
import { chmodSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import type { UnixSettings } from "../../config/listeners.js";
import { Refusal } from "../../lib/refusal.js";
import { Acceptor } from "./acceptor.js";
import { readDirectly } from "../../lib/direct-reads.js";
import type { Listener, ListenerParts, Place } from "./listener.js";
import { isWorker } from "./sharing.js";

export function unix(settings: UnixSettings, parts: ListenerParts): Listener {
  return new UnixListener(settings, parts);
}

class UnixListener implements Listener {
  readonly pending = 0;
  private readonly acceptor: Acceptor;

  constructor(
    private readonly settings: UnixSettings,
    private readonly parts: ListenerParts,
  ) {
    const { onClient, policy } = parts;
    const address = `unix:${settings.path}`;
    this.acceptor = new Acceptor(settings.max_connections, parts, (socket) => {
      readDirectly(socket);
      onClient(socket, policy, address);
    });
  }

  get place(): Place {
    return this.acceptor.place;
  }

  async listen(): Promise<void> {
    const { path, mode } = this.settings;
    // What the workers of a node share is cleared once, by their supervisor.
    if (!isWorker) await clearSocket(path, this.parts.policy.name);
    // Nobody else may connect before the mode is set.
    const before = process.umask(0o177);
    const listening = this.acceptor.listen({ path });
    process.umask(before);
    await listening;
    chmodSync(path, Number.parseInt(mode, 8));
  }

  close(): Promise<void> {
    return this.acceptor.close();
  }

  reload(): null {
    return null;
  }
}

/**
 * Removes the socket that a dead process has left at `path`.
 * @throws Refusal when something is there that is no such socket; `name`: of the listener
 */
export async function clearSocket(path: string, name: string): Promise<void> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  const who = `the listener ${name} cannot listen at ${path}`;
  if (!found.isSocket()) throw new Refusal(`${who}: there is a file that is no socket`);
  if (await answers(path)) throw new Refusal(`${who}: another program listens there`);
  rmSync(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}
