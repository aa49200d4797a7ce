#!/usr/bin/env bash
# What durability costs: our broker with its store, and Mosquitto with its own, on this disk.
#
#     tools/bench_durable.sh [publish|latency|queue|start|plain|mosquitto ...]     default: all
#
#     BUILD=build/release   where mqttv5 and bench_durable are
#     DIR=.                 a folder on the disk to be measured
#     RT="chrt -f 50"       put before broker and generator; for a machine that others use
#     SESSIONS="1000 10000 100000 1000000"   for start
#     PUBLISHERS="1 10 100 1000" WINDOWS="1 10" WHERE="online offline" ROUNDS=7   for publish
# What each line says is at the head of tests/bench/bench_durable.c; `times` is publishes a second
# as a multiple of the disk's own rate in the same rounds.
# SPDX-License-Identifier: MIT OR Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
work=$(mktemp -d "${DIR:-.}/bench_durable.XXXXXX")
rt=${RT:-}
port=${PORT:-$((20000 + RANDOM % 10000))}
broker=0

end_broker() {
    if [ "$broker" != 0 ]; then
        kill "$broker" 2>/dev/null || true
        wait "$broker" 2>/dev/null || true
        broker=0
    fi
}
trap 'end_broker; rm -rf "$work"' EXIT

load() {
    $rt "$build/bench_durable" "$@" -p "$port" -b "$broker"
}

# start_ours FLAG...: on an empty folder unless KEEP is set
start_ours() {
    end_broker
    [ -n "${KEEP:-}" ] || rm -rf "$work/store"
    $rt "$build/mqttv5" broker --host "127.0.0.1:$port" --allow-anonymous --workers 1 \
        --storage-dir "$work/store" --log-level error --max-clients 100000 \
        --queued-messages-max 10000000 --queued-bytes-max 8GiB "$@" &
    broker=$!
    load await
}

# start_mosquitto LINE...: lines of its configuration
start_mosquitto() {
    end_broker
    rm -rf "$work/mosquitto"
    mkdir "$work/mosquitto"
    printf '%s\n' "listener $port 127.0.0.1" 'allow_anonymous true' "user $(id -un)" \
        'persistence true' "persistence_location $work/mosquitto/" 'max_queued_messages 0' \
        'max_inflight_messages 0' 'max_queued_bytes 0' 'log_type error' 'set_tcp_nodelay true' \
        "$@" >"$work/mosquitto.conf"
    $rt mosquitto -c "$work/mosquitto.conf" &
    broker=$!
    load await
}

publishers() {
    local where window count
    for where in ${WHERE:-online offline}; do
        for window in ${WINDOWS:-1 10}; do
            for count in ${PUBLISHERS:-1 10 100 1000}; do
                load publish -n "$count" -w "$window" -R "${ROUNDS:-7}" -D "$work" \
                    $([ "$where" = online ] || echo -o)
            done
        done
    done
}

publish() {
    start_ours
    publishers
}

# At half of what 1,000 publishers get with one message outstanding each.
latency() {
    local rate
    start_ours
    rate=$(load publish -n 1000 -w 1 -d 1 -R 3 | sed 's/.*acks_per_s=\([0-9]*\).*/\1/')
    echo "maximum $rate a second, half of it; the disk: $(load disk -D "$work" -d 1)"
    load publish -n 1000 -r $((rate / 2)) -d 3 -R 1
    load publish -n 100 -r $((rate / 2)) -d 3 -R 1
    load publish -n 100 -r 1000 -d 3 -R 1
}

queue() {
    start_ours
    load queue -n 100 -w 10 -D "$work/store"
    KEEP=1 start_ours
    echo "after a restart: $(du -sm "$work/store" | cut -f1) MiB"
}

start() {
    local first=0
    start_ours
    for count in ${SESSIONS:-1000 10000 100000 1000000}; do
        load sessions -f "$first" -m $((count - first)) -D "$work/store"
        first=$count
        KEEP=1 start_ours
        echo "$count sessions, after SIGTERM"
    done
    kill -9 "$broker"
    wait "$broker" || true
    broker=0
    KEEP=1 start_ours
    echo "$first sessions, after SIGKILL"
}

# Ten pairs at QoS 0, alone and beside QoS 1 at a fixed rate, stored and not.
plain() {
    local level rate
    start_ours
    rate=$(load publish -n 100 -w 10 -0 -d 1 -R 3 | sed 's/.*acks_per_s=\([0-9]*\).*/\1/')
    rate=$((rate / 2))
    for round in 1 2 3; do
        for level in memory strict; do
            start_ours --durability "$level"
            echo "$level, round $round: alone, then beside $rate a second at QoS 1"
            load publish -n 0 -0 -d 2 -R 1
            load publish -n 100 -r "$rate" -0 -d 2 -R 1
        done
    done
}

mosquitto_rows() {
    echo 'mosquitto, persistence true: saves each 1800 s and at the end'
    start_mosquitto
    publishers
    echo 'mosquitto, autosave_on_changes true, autosave_interval 1: saves after each change'
    start_mosquitto 'autosave_on_changes true' 'autosave_interval 1'
    publishers
}

for what in "${@:-all}"; do
    case $what in
    all) publish; latency; queue; start; plain; mosquitto_rows ;;
    mosquitto) mosquitto_rows ;;
    publish | latency | queue | start | plain) "$what" ;;
    *) echo "bench_durable: no measurement is called $what" >&2; exit 1 ;;
    esac
done
