#!/usr/bin/env bash
# Installs the Debian packages that the project needs; silent and offline when none is missing.
# SPDX-License-Identifier: MIT OR Apache-2.0
#   tools/setup.sh run     what it takes to build and run
#   tools/setup.sh test    that, and what the tests and checks use
set -euo pipefail

run_packages=(build-essential cmake ninja-build pkg-config liblmdb-dev libyaml-dev
    libargon2-dev libgnutls28-dev libjansson-dev libcurl4-gnutls-dev)
test_packages=(libcmocka-dev clang-14 libclang-rt-14-dev clang-format-14 llvm-14
    mosquitto mosquitto-clients python3 python3-paho-mqtt
    libmosquitto-dev libpaho-mqtt-dev libwslay-dev
    chromium openssl gnutls-bin)
# Any Node.js from 18 on will do; packages of other makers bring npm along and exclude Debian's.
command -v node >/dev/null || test_packages+=(nodejs)
command -v npm >/dev/null || test_packages+=(npm)

case ${1:-} in
    run) wanted=("${run_packages[@]}") ;;
    test) wanted=("${run_packages[@]}" "${test_packages[@]}") ;;
    *) echo "usage: $0 run|test" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "setup: not a Debian system; needed are what Debian calls: ${wanted[*]}" >&2
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: these packages are missing: ${missing[*]}" >&2
        echo "setup: neither root nor sudo is at hand; as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1 </dev/null
}

echo "setup: installing ${missing[*]}" >&2
for attempt in 1 2 3; do
    apt update && break
    echo "setup: apt-get update failed (attempt $attempt of 3)" >&2
    [ "$attempt" -lt 3 ] || { tail -n 20 "$log" >&2; exit 1; }
done
if ! apt install --no-install-recommends "${missing[@]}"; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get install ${missing[*]} failed" >&2
    exit 1
fi
# The tests start a Mosquitto of their own; nobody asked for a service.
if [[ " ${missing[*]} " == *" mosquitto "* ]] && command -v systemctl >/dev/null; then
    "${as_root[@]}" systemctl disable --now mosquitto >/dev/null 2>&1 </dev/null || true
fi
