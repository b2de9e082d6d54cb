/**
 * Every setting of the broker, once: its key, type, unit, default, allowed range, and what follows from
 * it. The file, the environment, flags, the reference and conf/broker.yaml all come from this tree; a
 * setting that is not read by some code must not be in it.
 */
import { z } from "zod";
import { admin, presence } from "./admin-settings.js";
import { auth } from "./auth-settings.js";
import { listenersSchema } from "./listeners.js";
import { duration, flag, integer, list, oneOf, portRange, size, text } from "./setting.js";
import { store } from "./store-settings.js";

const host = String.raw`(?:[a-z0-9_][a-z0-9_.-]{0,252}|\[[0-9a-f:.]{2,45}\])`;
const port = String.raw`(?::[1-9]\d{0,4})?`;

/** `name@host`: what operators, peers and logs call a node. The host is in lower case. */
export const nodeNamePattern = new RegExp(`^[A-Za-z0-9_.-]{1,64}@${host}$`);

const peerPattern = new RegExp(`^[A-Za-z0-9_.-]{1,64}@${host}${port}$`);
const addressPattern = /^[0-9A-Za-z.:-]{1,253}$/;
const advertisePattern = new RegExp(`^(?:${host}${port})?$`);

/** Link ports, memory and the links of each with each set the limit, long before the number of cores. */
const workersMax = 64;

const node = z.strictObject({
  name: text({
    type: "node name",
    pattern: nodeNamePattern,
    allowed: "name@host (host in lower case, IPv6 in brackets), such as node1@10.0.0.5",
    default: "trellis@127.0.0.1",
    about:
      "Name of this node, name@host. Peers reach it at the host part, so that must be an address or a " +
      "host name which they can reach. It must differ from every other node's, and changing it " +
      "later makes this another node, which the cluster has not met.",
  }),
  data_dir: text({
    type: "path",
    pattern: /^.*$/,
    allowed: "a path of a directory that this user can write, or empty",
    default: "",
    defaultText: "./data/<node.name>",
    about:
      "Directory of what must survive a restart: the store, the members of the cluster, the node's own id, the users. " +
      "Two nodes must not share one. Losing it means that the node comes back as one that lost its data.",
  }),
  run_dir: text({
    type: "path",
    pattern: /^.*$/,
    allowed: "a path of a directory that this user owns, or empty",
    default: "",
    defaultText: "$XDG_RUNTIME_DIR/trellis, else /tmp/trellis-<uid>",
    about:
      "Directory of the control socket, one per node, through which `broker ctl` speaks to it. It is " +
      "made with mode 0700: whoever can open the socket can do everything. Commands find a node only " +
      "in the same directory.",
  }),
  workers: integer({
    min: 0,
    max: workersMax,
    default: 0,
    unit: "processes",
    about:
      "How many broker processes serve the listeners together, to use as many cores. Each is a node of its " +
      "own, NAME-1@HOST, NAME-2@HOST and so on, in a directory of its own below node.data_dir, and all " +
      "limits hold for each of them. A message between clients of two workers costs about as much as " +
      "between two nodes. 0: this process is the node, and there are no workers.",
  }),
});

const cluster = z.strictObject({
  bind: text({
    type: "address",
    pattern: addressPattern,
    allowed: "an IP address or a host name of this machine",
    default: "127.0.0.1",
    about:
      "Address on which links of other nodes are accepted. With the default only nodes on this machine " +
      "can join. Links are authenticated by the cookie but not encrypted: beyond loopback, use a " +
      "network that you trust.",
  }),
  port_range: portRange({
    default: "4370-4399",
    about:
      "Ports for links: a node takes the first free one. A node that joins asks each port of its own " +
      "range at the other's host, so all nodes need the same range, and firewalls must let it through. " +
      "Nodes on one host need one port each.",
  }),
  advertise: text({
    type: "address",
    pattern: advertisePattern,
    allowed: "a host or host:port, or empty",
    default: "",
    about:
      "Host, or host:port, that peers are told to dial instead of the host in the node's name and its " +
      "link port. Needed behind NAT or a port mapping; a wrong one means that this node can dial " +
      "others but they can never dial it.",
  }),
  cookie_file: text({
    type: "path",
    pattern: /^.+$/,
    allowed: "a path of a file that only this user can read",
    default: "~/.broker.cookie",
    about:
      "File with the secret that all nodes of a cluster share; made with fresh random bytes when it does " +
      "not exist. Nodes with different cookies refuse each other. A file that others can read, or with " +
      "fewer than 32 characters, is refused. BROKER_COOKIE in the environment takes its place.",
  }),
  discovery: z
    .strictObject({
      static: z
        .strictObject({
          nodes: list({
            pattern: peerPattern,
            allowed: "a list of name@host or name@host:port",
            about:
              "Nodes to join at start, tried for ever until one answers. This node itself may be in the " +
              "list, so that all nodes can share one file. Empty: join with `broker ctl join_cluster`.",
          }),
        })
        .prefault({}),
    })
    .prefault({}),
  heartbeat_interval: duration({
    min: "50ms",
    max: "10s",
    default: "500ms",
    about:
      "How often a node tells each peer that it lives. Shorter finds dead nodes sooner only together " +
      "with cluster.suspect_after, and costs two small frames per peer each time.",
  }),
  suspect_after: duration({
    min: "200ms",
    max: "60s",
    default: "2500ms",
    about:
      "A peer that was silent for so long is suspect, and another peer is asked about it. Longer bears " +
      "longer stalls; shorter notices a dead node sooner. Must be longer than two heartbeat intervals.",
  }),
  confirm_timeout: duration({
    min: "50ms",
    max: "10s",
    default: "500ms",
    about:
      "How long to wait for another peer's word on a suspect before it is taken as down. Together with " +
      "cluster.suspect_after it bounds how long subscribers behind a dead node hold up publishers.",
  }),
  redial_max: duration({
    min: "100ms",
    max: "5m",
    default: "5s",
    about:
      "Longest wait between two tries to reach a member that is down (waits double up to it, for ever). " +
      "Longer means fewer tries; a node that comes back dials too, so it rarely decides how long.",
  }),
  forget_after: duration({
    min: "1m",
    max: "365d",
    default: "7d",
    about:
      "How long the deletion of a retained message is remembered, and how long messages wait for a node that " +
      "is down. After a longer absence a node lacks what was older, and takes the retained messages that the " +
      "others have in place of its own; two sides that were cut from each other for so long may bring " +
      "deleted ones back. Higher costs a small record per deleted message, and the room of what waits.",
  }),
  output_bytes: size({
    min: "64KiB",
    max: "1GiB",
    default: "8MiB",
    about:
      "Bytes that may wait to be sent on the data link to one peer. Beyond it QoS 0 messages for that " +
      "peer are dropped and counted, and QoS 1 and 2 wait in its stream. Higher bears longer " +
      "stalls of the network, for memory.",
  }),
});

const limits = z.strictObject({
  max_packet: size({
    min: "20B",
    max: "268435455B",
    default: "1MiB",
    about:
      "Largest MQTT packet accepted from a client; a larger one closes its connection (v5: 0x95). The " +
      "protocol's own limit is 268435455 bytes. Each connection may buffer one packet of this size.",
  }),
  max_packet_before_connect: size({
    min: "20B",
    max: "268435455B",
    default: "128KiB",
    about:
      "Largest CONNECT packet accepted; it bounds what a stranger can make the node buffer. Wills are " +
      "part of CONNECT. Must not be larger than limits.max_packet.",
  }),
  connect_timeout: duration({
    min: "100ms",
    max: "10m",
    default: "10s",
    about:
      "A connection that has not sent its CONNECT by then is closed. Shorter frees places sooner when " +
      "somebody opens connections and stays silent; slow networks need longer.",
  }),
  keep_alive_max: integer({
    min: 0,
    max: 65535,
    default: 0,
    unit: "seconds",
    about:
      "Longest keep-alive a client may have; 0: no cap. v5 clients that ask for more, or for none, are " +
      "given this one; others are told so by being closed at 1.5 times it. Lower finds dead clients " +
      "sooner, for more pings.",
  }),
  client_id_bytes: integer({
    min: 23,
    max: 65535,
    default: 256,
    unit: "bytes",
    about:
      "Longest client id accepted; a longer one is refused (0x85). 23 is the least that the protocol " +
      "asks a server to accept.",
  }),
  topic_bytes: integer({
    min: 16,
    max: 65535,
    default: 4096,
    unit: "bytes",
    about:
      "Longest topic or filter accepted. Longer ones are refused: a publish closes the connection, a " +
      "subscription gets a failure code.",
  }),
  topic_levels: integer({
    min: 2,
    max: 65535,
    default: 128,
    unit: "levels",
    about:
      "Most levels ('/' plus one) in a topic or filter. It bounds the work that one match with wildcards " +
      "can cause; beyond it, as for limits.topic_bytes.",
  }),
  user_properties: integer({
    min: 0,
    max: 65535,
    default: 64,
    unit: "properties",
    about: "Most MQTT 5 user properties in one packet; a packet with more closes the connection.",
  }),
  receive_maximum: integer({
    min: 1,
    max: 65535,
    default: 1024,
    unit: "messages",
    about:
      "QoS 1 and 2 messages that may be unacknowledged at once: from a client (v5 is told so; of others " +
      "nothing more is read until some are answered), and to a persistent session, whatever its " +
      "client allows. Higher helps over long distances, for memory.",
  }),
  topic_aliases: integer({
    min: 0,
    max: 65535,
    default: 32,
    unit: "aliases",
    about:
      "Topic aliases of one MQTT 5 connection, each way: how many a client may use (CONNACK says so; a higher " +
      "one closes with 0x94), and at most how many this node uses towards a client that takes them. " +
      "More saves bytes of long topics, for a table in each connection.",
  }),
  max_qos: integer({
    min: 0,
    max: 2,
    default: 2,
    unit: "QoS",
    about:
      "Highest QoS of publishes and wills; v5 clients are told. A publish above it closes the connection " +
      "and such a will refuses it (v5: 0x9B). Subscriptions are granted this one at most.",
  }),
  retain_available: flag({
    default: true,
    about:
      "Whether messages may be retained; v5 clients are told. When off, a publish with the retain flag " +
      "closes the connection and such a will refuses it (v5: 0x9A), and nothing retained is sent.",
  }),
  inflight_bytes: size({
    min: "64KiB",
    max: "4GiB",
    default: "16MiB",
    about:
      "Bytes in flight to one session, and unanswered from one client. When they are reached, further " +
      "messages wait in the session's queue, and the client is not read, until some are acknowledged.",
  }),
  open_qos2: integer({
    min: 1,
    max: 65535,
    default: 1024,
    unit: "messages",
    about:
      "QoS 2 publishes of one client that may wait for its PUBREL. One more closes the connection (v5: " +
      "0x93; v5 clients are told the limit as their Receive Maximum).",
  }),
  filters_per_client: integer({
    min: 1,
    max: 10_000_000,
    default: 1000,
    unit: "filters",
    about:
      "Most subscriptions of one client; beyond it a SUBSCRIBE gets 0x97 for each filter too many.",
  }),
  session_queue_messages: integer({
    min: 1,
    max: 100_000_000,
    default: 10_000,
    unit: "messages",
    about:
      "Most messages that wait for one session. When it is full QoS 0 is refused, and for QoS 1 and 2 " +
      "the oldest message goes; both are counted. Higher keeps more for clients that are away, for " +
      "memory.",
  }),
  session_queue_bytes: size({
    min: "1KiB",
    max: "64GiB",
    default: "16MiB",
    about:
      "Most bytes that wait for one session; at the limit as for limits.session_queue_messages.",
  }),
  channels: integer({
    min: 0,
    max: 10_000_000,
    default: 100_000,
    unit: "sessions",
    about:
      "Sessions in this node whose clients may be connected to other nodes. One more CONNECT for such a session is " +
      "refused there (v5: 0x89 server busy), and the client can try the node of the session itself.",
  }),
  channel_bytes: size({
    min: "64KiB",
    max: "1GiB",
    default: "1MiB",
    about:
      "Most bytes on the way between a client and its session at another node, in either direction. At the limit " +
      "QoS 0 messages are dropped and counted, QoS 1 and 2 wait in the session's queue, and the client is not read. " +
      "Over long distances throughput is at most this, each round trip.",
  }),
  connection_output_bytes: size({
    min: "64KiB",
    max: "4GiB",
    default: "4MiB",
    about:
      "Bytes that may wait to be sent to one client that reads too slowly. Beyond it QoS 0 messages for " +
      "it are dropped and counted.",
  }),
  connection_output_grace: duration({
    min: "1s",
    max: "1h",
    default: "30s",
    about:
      "A client whose output stays over limits.connection_output_bytes for so long is disconnected; a " +
      "persistent session keeps its messages.",
  }),
  outbox_messages: integer({
    min: 1,
    max: 1_000_000_000,
    default: 1_000_000,
    unit: "messages",
    about:
      "QoS 1 and 2 messages that may wait for one peer. At the limit publishers get 0x97 (v3: no " +
      "acknowledgement) for what is due to that peer. It decides how long a peer may be away " +
      "under load.",
  }),
  outbox_bytes: size({
    min: "1MiB",
    max: "1TiB",
    default: "1GiB",
    about: "Bytes that may wait for one peer; at the limit as for limits.outbox_messages.",
  }),
  retained_messages: integer({
    min: 0,
    max: 1_000_000_000,
    default: 1_000_000,
    unit: "messages",
    about:
      "Most retained messages. At the limit a message on a new topic is refused (v5 with QoS 1 or 2: 0x97) " +
      "or, where that cannot be told, delivered but not retained; both are counted. One on a topic that has " +
      "one still replaces it.",
  }),
  retained_bytes: size({
    min: "1KiB",
    max: "1TiB",
    default: "1GiB",
    about: "Most bytes of retained messages; at the limit as for limits.retained_messages.",
  }),
  retained_ttl: duration({
    min: "0s",
    max: "3650d",
    default: "0s",
    about:
      "Longest time that a message is retained; 0: for ever. A publisher's own message expiry counts when it is " +
      "shorter. It frees what devices that are long gone have left behind.",
  }),
  session_expiry: duration({
    min: "1s",
    max: "forever",
    default: "7d",
    about:
      "Longest time that a session is kept for a client that is away. v5 clients that ask for more are " +
      "told this one in CONNACK; v3 clients without clean session get it. Higher keeps queues of " +
      "clients that never come back, and `forever` all of those that ask for it.",
  }),
  connections: integer({
    min: 0,
    max: 10_000_000,
    default: 0,
    unit: "connections",
    about:
      "Most client connections at this node; further ones are closed. 0: what the file-descriptor limit " +
      "allows, less 64.",
  }),
});

/** The whole configuration. Unknown keys are refused. */
export const configSchema = z.strictObject({
  node: node.prefault({}),
  listeners: listenersSchema.prefault({}),
  auth: auth.prefault({}),
  cluster: cluster.prefault({}),
  publish: z
    .strictObject({
      ack_timeout: duration({
        min: "100ms",
        max: "10m",
        default: "5s",
        about:
          "How long a peer may take to accept a QoS 1 or 2 message. After that the publisher is answered all " +
          "the same if persistent sessions wait for it there, and this node goes on trying. Longer " +
          "keeps publishers waiting longer for a peer in trouble; shorter leaves more to this node.",
      }),
    })
    .prefault({}),
  subscribe: z
    .strictObject({
      sync_timeout: duration({
        min: "10ms",
        max: "1m",
        default: "1s",
        about:
          "Longest time that SUBACK waits until every peer knows the subscription. A SUBACK given by this " +
          "time-out is counted and promises nothing for the peers that were late.",
      }),
    })
    .prefault({}),
  shared: z
    .strictObject({
      strategy: oneOf(["random", "round_robin", "hash_client", "local_first"], {
        default: "random",
        about:
          "Which member of a share group ($share/GROUP/FILTER) gets a message: any (random), one after the " +
          "other (round_robin), always the same for one publisher while the members stay (hash_client), or " +
          "any at the publisher's node before those at others (local_first). Connected members come " +
          "first in any case. Each node chooses for its own publishers; let all nodes have the same.",
      }),
    })
    .prefault({}),
  takeover: z
    .strictObject({
      timeout: duration({
        min: "100ms",
        max: "1m",
        default: "2s",
        about:
          "Longest time that CONNECT waits until an older connection of the same client id is confirmed " +
          "closed, here or at another node. Past it the new one goes ahead, which is counted.",
      }),
    })
    .prefault({}),
  start: z
    .strictObject({
      sync_timeout: duration({
        min: "0s",
        max: "5m",
        default: "5s",
        about:
          "At start the node links to the members that it remembers and only then opens its MQTT " +
          "listeners; it waits at most so long for those that do not answer.",
      }),
    })
    .prefault({}),
  session: z
    .strictObject({
      placement: oneOf(["follow", "stay"], {
        default: "follow",
        about:
          "Where a session is when its client comes back at another node. follow: it moves there, a small one while the client " +
          "connects, a larger one when the client is gone again; until then, and always with stay, its client reaches it over the " +
          "link between the two nodes. While a member is down nothing moves.",
      }),
      move_messages: integer({
        min: 0,
        max: 1_000_000,
        default: 1000,
        unit: "messages",
        about:
          "With session.placement follow: a session for which more messages wait is not moved while its client connects.",
      }),
      move_bytes: size({
        min: "0B",
        max: "1GiB",
        default: "1MiB",
        about:
          "The same for the size of these messages. Higher keeps clients waiting longer for CONNACK.",
      }),
    })
    .prefault({}),
  drain: z
    .strictObject({
      rate: integer({
        min: 1,
        max: 100_000,
        default: 50,
        unit: "per second",
        about:
          "Sessions moved, or clients closed, in a second while this node is drained, leaves the cluster or gives away " +
          "sessions to balance it. Higher is done sooner, and brings more clients to the other nodes at once.",
      }),
      will_grace: duration({
        min: "0s",
        max: "1h",
        default: "30s",
        about:
          "When this node closes a client for its own sake (drain, leave, stop), its will waits at least so long for the " +
          "client to come back, at whatever node. 0: it is published as if the client had gone.",
      }),
      server_reference: text({
        type: "text",
        pattern: /^[^\0]*$/,
        allowed: "addresses with spaces between them, such as mqtt1.example:1883, or empty",
        default: "",
        about:
          "What MQTT 5 clients are told (Server Reference) when they are closed or refused because this node is drained " +
          "or leaves. Empty: nothing; they try the addresses that they know.",
      }),
    })
    .prefault({}),
  limits: limits.prefault({}),
  store: store.prefault({}),
  mqtt: z
    .strictObject({
      reason_strings: flag({
        default: false,
        about:
          "Whether v5 clients get a sentence (Reason String) with error codes. It helps while a client " +
          "is developed, and tells strangers more than they need.",
      }),
      check_payload_format: flag({
        default: false,
        about:
          "Whether a v5 payload that its publisher calls UTF-8 must be it. When on, others are refused with " +
          "0x99 (QoS 0 closes the connection), at the price of a look at every such payload.",
      }),
      response_information: text({
        type: "text",
        pattern: /^[^+#\0]*$/,
        allowed: "a topic without wildcards, in which %c stands for the client id, or empty",
        default: "",
        about:
          "Response Information for v5 clients that ask for it in CONNECT, by custom the topic under which they " +
          "should have themselves answered, such as reply/%c. Empty: none is given.",
      }),
    })
    .prefault({}),
  admin: admin.prefault({}),
  presence: presence.prefault({}),
  log: z
    .strictObject({
      level: oneOf(["debug", "info", "warn", "error"], {
        default: "info",
        about:
          "Least level that is logged. debug has a line for every connection and every link event, and is " +
          "slow under load. `broker ctl log level` changes it while the node runs.",
      }),
    })
    .prefault({}),
});

/** The configuration after parsing: durations are milliseconds, sizes are bytes. */
export type Config = z.output<typeof configSchema>;
