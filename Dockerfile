# One node of a Trellis cluster. Try three of them with docker-compose.yml, or one alone:
#   docker build -t trellis .
#   docker run --rm -p 127.0.0.1:1883:1883 -e BROKER_LISTENERS__TCP__BIND=0.0.0.0 \
#     -e BROKER_AUTH__ANONYMOUS=true trellis
# Inside a container loopback is the container's own: which addresses to listen on is said with -e, as
# everywhere else. Every setting of conf/broker.yaml can be given this way. It runs as the user node, and with
# --read-only --tmpfs /run/trellis:mode=0700,uid=1000,gid=1000 it writes nowhere but to its volume.

FROM node:20-slim AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm install --no-save --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev

FROM node:20-slim
# The health check is a client like others; it comes through a socket that nobody else in the container can open.
ENV NODE_ENV=production \
    BROKER_NODE__DATA_DIR=/var/lib/trellis \
    BROKER_NODE__RUN_DIR=/run/trellis \
    BROKER_CLUSTER__COOKIE_FILE=/var/lib/trellis/.broker.cookie \
    BROKER_LISTENERS__UNIX__ENABLED=true \
    BROKER_LISTENERS__UNIX__PATH=/run/trellis/mqtt.sock \
    BROKER_LISTENERS__UNIX__MODE=0600 \
    BROKER_LISTENERS__UNIX__ANONYMOUS=true
# The control socket and the data are for the broker's user only.
RUN install -d -m 0700 -o node -g node /var/lib/trellis /run/trellis
WORKDIR /opt/trellis
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY bin bin
COPY conf conf
COPY LICENSE ./
RUN ln -s /opt/trellis/bin/broker /usr/local/bin/broker
USER node
VOLUME /var/lib/trellis
# MQTT clients, and links of the other nodes.
EXPOSE 1883 4370-4399
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["broker", "check", "--timeout", "4"]
ENTRYPOINT ["broker"]
CMD ["foreground"]
