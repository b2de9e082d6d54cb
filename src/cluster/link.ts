/**
 * The link to one peer: a control and a data connection that were both proved. Frames of one turn of the
 * event loop leave together. When either connection ends, both do, and the link is over for good.
 */
import type { Clock } from "../lib/clock.js";
import type { Identity } from "./handshake.js";
import { LinkOutput } from "./link-output.js";
import type { Run } from "./run.js";
import { type OnFrame, WireError } from "./wire/frames.js";
import {
  type Body,
  type BodyKind,
  type CallBody,
  type CallVerb,
  decodeReply,
  encode,
  type ReplyBody,
} from "./wire/messages.js";
import type { Wire } from "./wire/wire.js";

interface PendingCall {
  readonly verb: CallVerb;
  readonly done: (reply: unknown) => void;
}

export interface LinkListener {
  /** The forwards of a turn are about to leave: more may still be sent. */
  beforeData(): void;
  /** The same of the control connection. */
  beforeControl(): void;
  /** A frame of the control connection other than CALL and REPLY, or one of the data connection. */
  onFrame: OnFrame;
  /** A peer's question; answer with `link.reply`. */
  onCall(id: number, verb: string, body: unknown): void;
  /** The link is over. `fault`: how the peer broke the protocol, if it did. */
  onClose(fault: string | null): void;
}

export class Link {
  private readonly controlOut: LinkOutput;
  private readonly dataOut: LinkOutput;
  private readonly pending = new Map<number, PendingCall>();
  private nextCall = 1;
  private listener: LinkListener | null = null;
  private over = false;
  private closing = false;

  constructor(
    readonly peer: Identity,
    private readonly control: Wire,
    private readonly data: Wire,
    clock: Clock,
  ) {
    this.controlOut = new LinkOutput(control, clock);
    this.dataOut = new LinkOutput(data, clock);
  }

  get remote(): string {
    return this.control.remote;
  }

  /** Nothing more comes, and what was asked and not answered is not. */
  get isOver(): boolean {
    return this.over;
  }

  /** Bytes of forwards that the network has not taken yet. */
  get dataBufferedBytes(): number {
    return this.dataOut.bufferedBytes;
  }

  /** Bytes of everything else that the network has not taken yet. */
  get controlBufferedBytes(): number {
    return this.controlOut.bufferedBytes;
  }

  /** Starts to hand on frames, those that came early first. */
  start(listener: LinkListener): void {
    this.listener = listener;
    this.dataOut.beforeFlush = () => listener.beforeData();
    this.controlOut.beforeFlush = () => listener.beforeControl();
    this.control.onClose = (fault) => this.end(fault);
    this.data.onClose = (fault) => this.end(fault);
    // A snapshot of a million rows comes there.
    this.control.pace();
    this.control.listen(listener.onFrame);
    this.data.listen(listener.onFrame);
    // One of them may have ended before anybody listened.
    if (this.control.isClosed || this.data.isClosed) this.end(null);
  }

  send<K extends BodyKind>(kind: K, body: Body<K>): void {
    if (!this.over) this.controlOut.push(encode(kind, body));
  }

  sendControl(frame: Buffer): void {
    if (!this.over) this.controlOut.push(frame);
  }

  sendData(frame: Buffer): void {
    if (!this.over) this.dataOut.push(frame);
  }

  /** What is sent with the data of this turn leaves with it. Not while the link is being closed. */
  get dataLeavesSoon(): boolean {
    return !this.closing && this.dataOut.leavesSoon;
  }

  /** Sends a run of forwards, whose bytes are copied once. */
  sendRun(run: Pick<Run, "frameBytes" | "encode">, incarnation: number): void {
    if (this.over) return;
    const { frameBytes } = run;
    const at = this.dataOut.reserve(frameBytes);
    run.encode(incarnation, this.dataOut.buffer, at);
  }

  /** `beforeData` is to be called at the end of this turn. */
  scheduleData(): void {
    if (!this.over) this.dataOut.schedule();
  }

  /** `beforeControl` is to be called at the end of this turn. */
  scheduleControl(): void {
    if (!this.over) this.controlOut.schedule();
  }

  /** Asks the peer. `done` gets null when the link ends before the answer comes. */
  call<V extends CallVerb>(
    verb: V,
    body: CallBody<V>,
    done: (reply: ReplyBody<V> | null) => void,
  ): void {
    if (this.over) {
      done(null);
      return;
    }
    const id = this.nextCall++;
    // onReply checks what it hands on against the verb's schema.
    this.pending.set(id, { verb, done: done as (reply: unknown) => void });
    this.send("call", { id, verb, body });
  }

  reply<V extends CallVerb>(id: number, _verb: V, body: ReplyBody<V>): void {
    this.send("reply", { id, body });
  }

  /** @throws WireError when it answers nothing that was asked, or in a wrong form */
  onReply(id: number, body: unknown): void {
    const call = this.pending.get(id);
    if (call === undefined) throw new WireError(`a reply to nothing (${id})`);
    this.pending.delete(id);
    call.done(decodeReply(call.verb, body));
  }

  /** Ends the link. With `why` the peer is told first. */
  close(why?: Body<"bye">["why"]): void {
    if (this.over) return;
    this.closing = true;
    if (why !== undefined) {
      // Who hears the goodbye reads no further.
      this.controlOut.flush();
      this.send("bye", { why });
      this.controlOut.flush();
      this.control.close();
    } else this.control.destroy();
    this.dataOut.flush();
    this.data.close();
    this.end(null);
  }

  private end(fault: string | null): void {
    if (this.over) return;
    this.over = true;
    this.control.destroyUnlessClosing();
    this.data.destroyUnlessClosing();
    const pending = [...this.pending.values()];
    this.pending.clear();
    for (const call of pending) call.done(null);
    this.listener?.onClose(fault);
  }
}
