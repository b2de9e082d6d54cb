/** The operator's end of `broker ctl`: finds control sockets, sends a request, waits for its answer. */
import { readdir } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { Refusal } from "../lib/refusal.js";
import {
  type CtlRequest,
  type CtlResponse,
  nodeOfSocket,
  responseSchema,
  WholeAnswer,
} from "./ctl-protocol.js";

/** Does somebody listen on this control socket? */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** Names of the nodes whose control sockets in `runDir` answer, in alphabetical order. */
export async function liveNodes(runDir: string): Promise<string[]> {
  let files: string[];
  try {
    files = await readdir(runDir);
  } catch {
    return [];
  }
  const live: string[] = [];
  for (const file of files.sort()) {
    const name = nodeOfSocket(file);
    if (name !== undefined && (await answers(join(runDir, file)))) live.push(name);
  }
  return live;
}

/**
 * Sends one request to the node behind `path`.
 * @throws Refusal when nobody listens, the connection ends without an answer, or `timeoutMs` passes
 */
export function request(
  path: string,
  message: CtlRequest,
  timeoutMs = 120_000,
): Promise<CtlResponse> {
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    const whole = new WholeAnswer();
    const socket = createConnection(path);
    const fail = (sentence: string): void => {
      socket.destroy();
      reject(new Refusal(sentence));
    };
    socket.setTimeout(timeoutMs, () => fail(`no answer came within ${timeoutMs} ms`));
    socket.on("error", (error) => fail(`the node does not answer on ${path} (${error.message})`));
    socket.on("close", () => fail("the node closed the connection without an answer"));
    socket.on("connect", () => socket.write(`${JSON.stringify(message)}\n`));
    socket.on("data", (bytes) => {
      let rest = bytes;
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        chunks.push(rest.subarray(0, end));
        rest = rest.subarray(end + 1);
        const response = parse(Buffer.concat(chunks).toString("utf8"), whole);
        chunks = [];
        if (response === undefined) return fail("the node's answer is not understood");
        if (response === null) continue;
        resolve(response);
        socket.destroy();
        return;
      }
      chunks.push(rest);
    });
  });
}

/** The answer when this was its last document, null when there are more, undefined when it is none. */
function parse(line: string, whole: WholeAnswer): CtlResponse | null | undefined {
  try {
    return whole.add(responseSchema.parse(JSON.parse(line)));
  } catch {
    return undefined;
  }
}
