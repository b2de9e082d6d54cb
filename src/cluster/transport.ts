/** The network as the cluster sees it. tcp.ts is the real one; the simulator has its own. */

/** An ordered byte stream to one process. Exactly one `onClose` comes, nothing after it. */
export interface Pipe {
  /** Address of the other end, for the log. */
  readonly remote: string;
  /** Bytes written and not yet taken by the network. */
  readonly bufferedBytes: number;
  /** Set: what comes takes long to handle, and is read a little in each turn, where the pipe can do that. */
  paced?: boolean;
  onData: (bytes: Buffer) => void;
  onClose: () => void;
  /** Returns whether `bytes` are the caller's again; else the pipe keeps them, and they must not be changed. */
  write(bytes: Buffer): boolean;
  /** Closes after what was written has left. `onClose` comes later, never within this call. */
  close(): void;
  /** Closes at once. `onClose` comes later, never within this call. */
  destroy(): void;
}

export interface PipeListener {
  readonly port: number;
  close(): void;
}

/** Why a dial failed: nobody listens there, or no answer came. */
export type DialFailure = "refused" | "unreachable";

export interface Transport {
  /** Listens on the first free port of `ports` (first and last). Rejects when none is free. */
  listen(
    host: string,
    ports: readonly [number, number],
    onPipe: (pipe: Pipe) => void,
  ): Promise<PipeListener>;
  /** Connects; calls `done` once, later, with the pipe or the reason (time-out: 2 s). */
  dial(host: string, port: number, done: (result: Pipe | DialFailure) => void): void;
}
