/** `ctl status` of a node with workers: the cluster as one of them sees it, and the workers as a group. */
import type { ClusterStatus, MemberStatus } from "../../admin/parts.js";
import type { WorkerState } from "../supervisor-socket.js";

/** One worker: what its supervisor knows of the process, and its peers of the member. */
export interface WorkerStatus
  extends WorkerState,
    Pick<MemberStatus, "connections" | "sessions" | "routes"> {}

export interface GroupStatus extends ClusterStatus {
  readonly workers: readonly WorkerStatus[];
}

/** `status`: what a worker answered, which is the same program. */
export function statusOf(
  name: string,
  workers: readonly WorkerState[],
  status: unknown,
): GroupStatus {
  // Both ends of the control socket are the same program.
  const seen = status as ClusterStatus;
  return {
    ...seen,
    node: name,
    workers: workers.map((worker) => {
      const member = seen.members.find((one) => one.name === worker.name);
      const { connections = 0, sessions = 0, routes = 0 } = member ?? {};
      return { ...worker, connections, sessions, routes };
    }),
  };
}
