#!/usr/bin/env bash
# Starts the release broker on loopback and says how to use it from another terminal.
# SPDX-License-Identifier: MIT OR Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."
port=${PORT:-1883}
program=build/release/mqttv5

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

if listening; then
    echo "run: port $port of 127.0.0.1 is in use; choose another: make run PORT=1884" >&2
    exit 1
fi

# Waits beside the broker, which takes this shell's place below and so gets the signals itself.
announce() {
    until listening; do
        kill -0 $$ 2>/dev/null || exit 0
        sleep 0.05
    done
    local to=""
    [ "$port" = 1883 ] || to=" --port $port"
    printf '\nThe broker listens on 127.0.0.1:%s; Ctrl-C ends it.' "$port"
    printf ' In another terminal, type:\n\n'
    printf "    $program sub$to --topic 'hello/#' --verbose &\n"
    printf "    $program pub$to --topic hello/world --message 'It works'\n\n"
}
announce &
exec "$program" broker --host "127.0.0.1:$port" --allow-anonymous
