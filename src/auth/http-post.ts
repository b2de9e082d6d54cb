/**
 * One POST of JSON to one URL: a bounded time, a bounded answer, no redirects. It knows nothing of what
 * is asked, and what goes wrong it says in a few words that hold nothing of the question or the answer.
 */
import { type Agent as HttpAgent, Agent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { ClientRequest, IncomingMessage } from "node:http";
import type { Clock } from "../lib/clock.js";

export interface PostPlace {
  /** http or https. */
  readonly url: string;
  /** From the beginning of the request to the end of the answer. */
  readonly timeoutMs: number;
  readonly atOnce: number;
  readonly clock: Clock;
}

/** `failure`: in place of an answer of status 200. */
export type PostResult =
  | { readonly text: string; readonly failure: null }
  | { readonly text: null; readonly failure: string };

/** Longest answer that is read. */
export const answerBytesMax = 64 * 1024;

export class HttpPost {
  private readonly url: URL;
  private readonly agent: HttpAgent;

  constructor(private readonly place: PostPlace) {
    this.url = new URL(place.url);
    const options = { keepAlive: true, maxSockets: place.atOnce };
    this.agent = this.url.protocol === "https:" ? new HttpsAgent(options) : new Agent(options);
  }

  /** Never rejects. */
  async post(body: string): Promise<PostResult> {
    const first = await this.once(body);
    // The other side had closed a connection that was kept: that says nothing about the question.
    return first === stale ? this.once(body) : first;
  }

  close(): void {
    this.agent.destroy();
  }

  private once(body: string): Promise<PostResult> {
    return new Promise((resolve) => {
      const { clock, timeoutMs } = this.place;
      const send = this.url.protocol === "https:" ? httpsRequest : httpRequest;
      const headers = {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        accept: "application/json",
      };
      const request = send(this.url, { method: "POST", agent: this.agent, headers });
      const end = (result: PostResult): void => {
        clock.clearTimer(timer);
        resolve(result);
        if (result.failure !== null) request.destroy();
      };
      const timer = clock.setTimer(timeoutMs, () => end(failed("timeout")));
      request.on("error", () => end(isStale(request) ? stale : failed("no connection")));
      request.on("response", (response) => readAnswer(response, end));
      request.end(body);
    });
  }
}

const stale = failed("no connection");

/** Closed before an answer began, on a connection that was used before. */
function isStale(request: ClientRequest): boolean {
  return request.reusedSocket;
}

function failed(failure: string): PostResult {
  return { text: null, failure };
}

function readAnswer(response: IncomingMessage, end: (result: PostResult) => void): void {
  if (response.statusCode !== 200) {
    response.resume();
    end(failed(`status ${response.statusCode ?? 0}`));
    return;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  response.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length > answerBytesMax) end(failed("too long"));
    else chunks.push(chunk);
  });
  response.on("error", () => end(failed("cut off")));
  response.on("end", () => end({ text: Buffer.concat(chunks).toString(), failure: null }));
}
