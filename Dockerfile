# A static vpsguard and nothing else: no shell, no package manager, not root.
#
#   docker build --tag vpsguard .
#   docker run --rm -i --env VPSGUARD_API_TOKEN --volume vpsguard:/var/lib/vpsguard vpsguard stdio
#   docker run --name vpsguard --network host --env VPSGUARD_API_TOKEN --volume vpsguard:/var/lib/vpsguard vpsguard
#   docker exec -it vpsguard vpsguard passphrase set     # once: without it nobody can confirm at a terminal
#   docker exec -it vpsguard vpsguard requests
#
# serve listens on the loopback address alone, so clients outside the container reach it only
# with --network host (or in a network namespace that they share with it).

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/vpsguard ./cmd/vpsguard
# Folders that the program may write to: its ledger's, and the sandbox's.
RUN mkdir -p /own/var/lib/vpsguard /own/tmp && chmod 0700 /own/var/lib/vpsguard

FROM scratch
LABEL io.modelcontextprotocol.server.name="io.github.vpsguard/vpsguard"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /own/ /
COPY --from=build /out/vpsguard /usr/local/bin/
USER 65532:65532
# The ledger is /var/lib/vpsguard/ledger.db, unless VPSGUARD_DATABASE (or _FILE) names another.
ENV HOME=/var/lib/vpsguard XDG_STATE_HOME=/var/lib
VOLUME ["/var/lib/vpsguard"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/usr/local/bin/vpsguard", "serve", "--check"]
ENTRYPOINT ["/usr/local/bin/vpsguard"]
CMD ["serve"]
