/** The container files only use settings that exist, and three nodes of one cluster come out of them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "yaml";
import { z } from "zod";
import { readEnvironment } from "../../src/config/environment.js";
import { loadConfig } from "../../src/config/load.js";

const read = (name: string): string => {
  return readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");
};

const composeSchema = z.object({
  services: z.record(
    z.string(),
    z.object({
      environment: z.record(z.string(), z.string()),
      ports: z.array(z.string()),
      volumes: z.array(z.string()),
      healthcheck: z.object({ test: z.array(z.string()) }),
    }),
  ),
});

function settingsOf(image: Record<string, string>, service: Record<string, string>) {
  const environment = readEnvironment({ ...image, ...service });
  const place = { cwd: "/opt/trellis", home: "/home/node", uid: 1000 };
  return loadConfig({ file: undefined, environment, flags: [], place }).config;
}

test("docker-compose.yml makes three nodes that name each other", () => {
  const { services } = composeSchema.parse(parse(read("docker-compose.yml"), { merge: true }));
  const image = Object.fromEntries(
    [...read("Dockerfile").matchAll(/(BROKER_\w+)=(\S+?)(?: \\)?$/gm)].map((match) => {
      return [match[1] ?? "", match[2] ?? ""];
    }),
  );
  const nodes = Object.entries(services).map(([service, { environment, ports, volumes }]) => {
    const config = settingsOf(image, environment);
    assert.equal(config.node.name, `trellis@${service}`);
    assert.equal(config.node.data_dir, "/var/lib/trellis");
    assert.deepEqual(volumes, [`${service}:${config.node.data_dir}`]);
    assert.equal(config.listeners.tcp.bind, "0.0.0.0");
    return { name: config.node.name, port: ports[0], config };
  });
  const names = nodes.map(({ name }) => name);
  assert.equal(names.length, 3);
  for (const { config } of nodes) assert.deepEqual(config.cluster.discovery.static.nodes, names);
  assert.deepEqual(
    nodes.map(({ port }) => port),
    ["127.0.0.1:1883:1883", "127.0.0.1:1884:1883", "127.0.0.1:1885:1883"],
  );
});

test("the image runs a node in the foreground and asks it whether it has started", () => {
  const dockerfile = read("Dockerfile");
  assert.match(dockerfile, /^ENTRYPOINT \["broker"\]\nCMD \["foreground"\]$/m);
  assert.match(dockerfile, /CMD \["broker", "started", "--timeout", "1"\]/);
  assert.match(dockerfile, /^USER node$/m);
});
