/** The settings of what a node tells of itself: health checks and metrics over HTTP, events of clients. */
import { z } from "zod";
import { flag, integer, text } from "./setting.js";

const addressPattern = /^[0-9A-Za-z.:-]{1,253}$/;

export const admin = z.strictObject({
  enabled: flag({
    default: false,
    about:
      "Whether /health, /ready and /metrics are served over HTTP, for load balancers and Prometheus. It " +
      "can only be read from; `broker ctl` does not need it.",
  }),
  bind: text({
    type: "address",
    pattern: addressPattern,
    allowed: "an IP address or a host name of this machine",
    default: "127.0.0.1",
    about:
      "Address on which health checks and metrics are served, without encryption and without a password: " +
      "beyond loopback whoever reaches it can read counters, reasons and the names of nodes.",
  }),
  port: integer({
    min: 0,
    max: 65535,
    default: 18083,
    unit: "port",
    about:
      "Port of health checks and metrics. 0 takes any free one, which the log and `broker ctl listeners` " +
      "name. With workers each has its own: worker 1 this one, worker 2 the next, and so on.",
  }),
  max_connections: integer({
    min: 1,
    max: 10_000,
    default: 64,
    unit: "connections",
    about:
      "Most HTTP connections at once; further ones are closed and counted. They come on top of " +
      "limits.connections.",
  }),
});

export const presence = z.strictObject({
  events: flag({
    default: true,
    about:
      "Whether $SYS/brokers/NODE/clients/ID/connected and .../disconnected are published while somebody subscribes " +
      "to them. They hold client ids, user names and addresses: access rules say who may read them. When off, " +
      "nothing is published and nothing is kept for it.",
  }),
  events_per_second: integer({
    min: 1,
    max: 1_000_000,
    default: 1000,
    unit: "events",
    about:
      "Most of these events that a node publishes in a second; others wait. A node that dies makes one for each " +
      "of its clients. Higher tells sooner, at the expense of other messages.",
  }),
  events_waiting: integer({
    min: 1,
    max: 10_000_000,
    default: 100_000,
    unit: "events",
    about: "Most events that wait for their turn; further ones are dropped and counted.",
  }),
});
