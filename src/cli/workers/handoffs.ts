/**
 * Accepted connections on their way to a worker (node:cluster, where workers cannot listen for themselves). One that a
 * worker had not taken when it ended would stay open in this process for ever, with nobody to answer; it is given
 * to another worker, and closed when there is none.
 */
import type { ChildProcess, SendHandle } from "node:child_process";

interface Handoff {
  readonly message: object;
  readonly handle: Exclude<SendHandle, undefined>;
}

export class Handoffs {
  /** By worker, and by the number that node:cluster gives each of its messages. */
  private readonly open = new Map<ChildProcess, Map<number, Handoff>>();

  /** Looks after what is handed to this worker from now on. */
  watch(worker: ChildProcess): void {
    const pending = new Map<number, Handoff>();
    this.open.set(worker, pending);
    const send = worker.send.bind(worker);
    let isGone = false;
    // node:cluster sends handles by this method of the process; there is no other way to see them.
    worker.send = (message: unknown, handle?: unknown, ...rest: unknown[]): boolean => {
      const seq = seqOf(message);
      if (seq !== undefined && isHandle(handle)) {
        // seqOf() has looked at it.
        const handoff = { message: message as object, handle };
        if (isGone) {
          this.passOn(handoff);
          return true;
        }
        pending.set(seq, handoff);
      }
      // What came in goes on as it is.
      return (send as (...words: unknown[]) => boolean)(message, handle, ...rest);
    };
    worker.on("internalMessage", (message: unknown) => {
      const ack = ackOf(message);
      if (ack !== undefined) pending.delete(ack);
    });
    worker.once("exit", () => {
      isGone = true;
      this.open.delete(worker);
      for (const handoff of pending.values()) this.passOn(handoff);
    });
  }

  /** node:cluster hears of the answer as if it came from the first worker. */
  private passOn({ message, handle }: Handoff): void {
    for (const worker of this.open.keys()) {
      if (!worker.connected) continue;
      // It is sent again as it was, by the method above.
      worker.send(message, handle);
      return;
    }
    closeHandle(handle);
  }
}

function seqOf(message: unknown): number | undefined {
  if (typeof message !== "object" || message === null) return undefined;
  const isNew = "act" in message && message.act === "newconn";
  return isNew && "seq" in message && typeof message.seq === "number" ? message.seq : undefined;
}

function ackOf(message: unknown): number | undefined {
  if (typeof message !== "object" || message === null || !("ack" in message)) return undefined;
  return typeof message.ack === "number" ? message.ack : undefined;
}

/** A raw handle, which has no class of its own that could be asked for. */
function isHandle(value: unknown): value is Exclude<SendHandle, undefined> {
  return typeof value === "object" && value !== null && "close" in value;
}

function closeHandle(handle: object): void {
  if ("close" in handle && typeof handle.close === "function") handle.close();
}
