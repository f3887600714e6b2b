#!/usr/bin/env bash
# Two regions on one machine, as they would be on two continents: each has a NATS
# cluster of three servers, which also holds the registry of the license region
# next to it, and a node of its own. Ctrl-C ends everything.
#
#   PORT  the first of the ports that are used: PORT to PORT+20 (default 4200)
#   DIR   for logs and what NATS stores (default: a temporary folder)
#   BIN   folder with wsnode, nats-server and issuer (default: they are built)

set -euo pipefail
set -m # each process gets Ctrl-C from this script, in order, not from the terminal
cd "$(dirname "$0")/../.."

port=${PORT:-4200}
dir=${DIR:-$(mktemp -d)}
mkdir -p "$dir"
bin=${BIN:-$dir/bin}
if [ -z "${BIN:-}" ]; then
  go build -o "$bin/" ./cmd/wsnode ./examples/two-regions/issuer github.com/nats-io/nats-server/v2
fi

# Of each region: three ports for clients of NATS, three for its cluster, one for the node.
eu=$port
us=$((port + 10))
issuer=127.0.0.1:$((port + 20))

servers=()
nodes=()
end() {
  trap '' INT TERM
  exec 2> /dev/null # what bash says of jobs that end
  [ ${#nodes[@]} = 0 ] || { kill "${nodes[@]}"; wait "${nodes[@]}"; } || true # first: they give back what they hold
  [ ${#servers[@]} = 0 ] || { kill "${servers[@]}"; wait "${servers[@]}"; } || true
}
trap end EXIT
trap 'exit 0' INT TERM

# three PREFIX PORT: the URLs of three ports in a row
three() { echo "$1$2,$1$(($2 + 1)),$1$(($2 + 2))"; }
nats_url() { three nats://127.0.0.1: "$1"; }

# start_nats REGION PORT: its cluster; what it acknowledges is on the disk
start_nats() {
  echo 'jetstream { sync_interval: always }' > "$dir/nats.conf"
  for i in 0 1 2; do
    "$bin/nats-server" -c "$dir/nats.conf" --name "$1-$i" --addr 127.0.0.1 --port $(($2 + i)) \
      --jetstream --store_dir "$dir/$1-$i" \
      --cluster_name "$1" --cluster "nats://127.0.0.1:$(($2 + 3 + i))" --routes "$(nats_url $(($2 + 3)))" \
      > "$dir/nats-$1-$i.log" 2>&1 &
    servers+=($!)
  done
}

# start_node REGION PORT: all nodes of all regions are given the same registries
start_node() {
  "$bin/wsnode" serve --region "$1" --node "$1-0" \
    --listen "127.0.0.1:$(($2 + 6))" --public-url "ws://127.0.0.1:$(($2 + 6))" \
    --nats-url "$(nats_url "$2")" --history-replicas 3 \
    --registry "aws-eu-west-1=$(nats_url "$eu")" --registry "aws-us-east-1=$(nats_url "$us")" --replicas 3 \
    --jwks-url "http://$issuer/jwks.json" --drain-spread 0s --admin-listen off \
    > "$dir/node-$1.log" 2>&1 &
  nodes+=($!)
}

# wait_for FILE TEXT: until a log says so, for a minute at most
wait_for() {
  for _ in {1..600}; do
    if grep -qs "$2" "$1"; then return; fi
    sleep 0.1
  done
  echo "not within a minute: $2" >&2
  tail "$1" >&2
  exit 1
}

"$bin/issuer" "$issuer" > "$dir/issuer.log" 2>&1 &
servers+=($!)
start_nats eu-central-1 "$eu"
start_nats us-east-1 "$us"
wait_for "$dir/nats-eu-central-1-0.log" 'metadata leader'
wait_for "$dir/nats-us-east-1-0.log" 'metadata leader'
start_node eu-central-1 "$eu"
start_node us-east-1 "$us"
wait_for "$dir/node-eu-central-1.log" 'msg=ready'
wait_for "$dir/node-us-east-1.log" 'msg=ready'

cat << EOF
eu-central-1  ws://127.0.0.1:$((eu + 6))  NATS $(nats_url "$eu"), registry of aws-eu-west-1
us-east-1     ws://127.0.0.1:$((us + 6))  NATS $(nats_url "$us"), registry of aws-us-east-1
tokens        http://$issuer/dev/token?dbCode=aws-eu-west-1
logs          $dir
ready
EOF
wait
