#!/usr/bin/env bash
# Measures the release broker with one worker beside the floor, with the load generator of
# ../shared/bench (MQTT5_BENCH names another place); what it prints is explained in its README.
# SPDX-License-Identifier: MIT OR Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."
bench=${MQTT5_BENCH:-../shared/bench}
port=${PORT:-21901}

if [ ! -x "$bench/compare.sh" ]; then
    echo "bench: no compare.sh in $bench; MQTT5_BENCH=FOLDER says where it is" >&2
    exit 1
fi
"$bench/compare.sh" --floor
exec "$bench/compare.sh" mqtt5 "$port" build/release/mqttv5 broker \
    --host "127.0.0.1:$port" --allow-anonymous --storage-backend memory --workers 1
