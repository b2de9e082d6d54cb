/** `stop`: begins an orderly stop; `broker stop` sends it and waits for the process to end. */
import { command } from "../command.js";

export const stop = command({
  summary: "stop the node (`broker stop` also waits until it has stopped)",
  args: {},
  run: (parts) => {
    parts.stop();
    return { stopping: parts.cluster.name, pid: process.pid };
  },
  text: ({ stopping }) => `The node ${stopping} is stopping`,
});
