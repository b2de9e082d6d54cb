/**
 * HTTP for load balancers and monitoring: `/health` (send clients here?), `/ready` (does it take everything?) and
 * `/metrics`. It only reads: whoever can reach it can change nothing. Few connections, short requests.
 */
import fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import type { Config } from "../../config/schema.js";
import type { Log } from "../../lib/log.js";
import { Refusal } from "../../lib/refusal.js";
import type { Service } from "../../lib/service.js";
import { prometheusText, prometheusType } from "./prometheus.js";

export interface AdminParts {
  readonly settings: Config["admin"];
  readonly node: string;
  readonly version: string;
  readonly service: Pick<Service, "report" | "inService">;
  /** What is wrong with a node that serves, in sentences. */
  readonly alarms: () => readonly string[];
  readonly metrics: () => Readonly<Record<string, number>>;
  readonly log: Log;
}

export interface AdminServer {
  readonly counters: AdminCounters;
  readonly address: string;
  readonly port: number;
  /** Connections open now. */
  readonly connections: number;
  /** Ends it, with the connections that are open. */
  close(): Promise<void>;
}

export class AdminCounters {
  requests = 0;
  /** Paths that there are not, methods that are not offered, and requests that are none. */
  requestsRefused = 0;
  /** Connections beyond `admin.max_connections`. */
  connectionsRefused = 0;
}

const requestMs = 10_000;
/** A scraper or balancer sends no body; what it sends besides is not for us. */
const bodyBytesMax = 1024;

/**
 * Opens it.
 * @throws Refusal when the address cannot be listened on
 */
export async function openAdmin(parts: AdminParts): Promise<AdminServer> {
  const { settings, log } = parts;
  const { bind: host, port } = settings;
  const counters = new AdminCounters();
  const app = fastify({
    ...{ bodyLimit: bodyBytesMax, requestTimeout: requestMs, connectionTimeout: requestMs },
    ...{ keepAliveTimeout: requestMs, forceCloseConnections: true, exposeHeadRoutes: true },
    clientErrorHandler: (_error, socket) => {
      counters.requestsRefused++;
      socket.destroy();
    },
  });
  app.server.maxConnections = settings.max_connections;
  app.server.on("drop", () => counters.connectionsRefused++);
  addRoutes(app, parts, counters);
  try {
    // exclusive: each worker answers for itself.
    await app.listen({ host, port, exclusive: true });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Refusal(
      `the admin port cannot be opened on ${host} port ${port}: ${why}; set admin.port to another, or 0 for any`,
    );
  }
  const bound = app.server.address();
  // The address of a TCP server is an object while it listens.
  const place = typeof bound === "object" && bound !== null ? bound : { address: host, port };
  log.info({ address: place.address, port: place.port }, "health checks and metrics are served");
  let connections = 0;
  app.server.on("connection", (socket) => {
    connections++;
    socket.once("close", () => connections--);
  });
  return {
    ...{ counters, address: place.address, port: place.port },
    get connections() {
      return connections;
    },
    close: () => app.close(),
  };
}

function addRoutes(app: FastifyInstance, parts: AdminParts, counters: AdminCounters): void {
  const { node, version, service, alarms, metrics } = parts;
  app.addHook("onRequest", async (_request, reply) => {
    counters.requests++;
    reply.header("cache-control", "no-store");
  });
  app.setNotFoundHandler(async (_request, reply) => {
    counters.requestsRefused++;
    return reply.code(404).send({ error: "there is /health, /ready and /metrics, by GET" });
  });
  app.setErrorHandler(async (_error, _request, reply) => {
    counters.requestsRefused++;
    return reply.code(400).send({ error: "the request is not understood" });
  });
  const answer = (reply: FastifyReply, ok: boolean): FastifyReply =>
    reply.code(ok ? 200 : 503).send({ node, version, ...service.report(), alarms: alarms() });
  app.get("/health", async (_request, reply) => answer(reply, service.inService));
  app.get("/ready", async (_request, reply) =>
    answer(reply, service.inService && alarms().length === 0),
  );
  app.get("/metrics", async (_request, reply) =>
    reply.type(prometheusType).send(await prometheusText(metrics(), node)),
  );
}
