/** The settings of health checks and metrics over HTTP. */
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
