#!/bin/sh
# Set-up for `make up` and `make test`: system packages by apt when root (named clearly otherwise), Python by uv into
# .venv. Run again at will: it does only what is missing, in about a second when nothing is.
# usage: ./setup.sh [up|test]
set -eu
cd "$(dirname "$0")"
purpose=${1:-up}
PATH=$PATH:/usr/sbin:/sbin

missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need podman podman
need runc runc
need mmdebstrap mmdebstrap
need iptables iptables
need nft nftables
need ip iproute2
need gcc gcc
need make make
need ssh openssh-client
need npm npm
need python3 python3
need curl curl
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
[ -e /usr/lib/podman/netavark ] || [ -e /usr/libexec/podman/netavark ] || missing="$missing netavark"
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
if [ "$purpose" = test ]; then
    need sshd openssh-server
    need busybox busybox
    need docker-registry docker-registry
    need git git
    need vagrant vagrant
    need chromium chromium
    [ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || missing="$missing fonts-dejavu-core"
fi
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing$missing"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # A service that a package would start is not wanted on this machine (sshd is there for its binary alone).
        # shellcheck disable=SC2086
        RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        echo "setup: these packages are missing:$missing" >&2
        echo "  fix: sudo apt-get install --no-install-recommends$missing" >&2
        exit 2
    fi
fi

if ! command -v uv >/dev/null 2>&1 && [ ! -x .tools/bin/uv ]; then
    echo "setup: installing uv"
    python3 -m venv .tools 2>/dev/null || { [ "$(id -u)" = 0 ] && apt-get install -y -qq python3-venv >/dev/null && python3 -m venv .tools; }
    .tools/bin/pip install --quiet uv
fi
uv=$(command -v uv || echo .tools/bin/uv)
# Compiled here, once: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every start would compile it all again
# and take twice as long.
if [ "$purpose" = test ]; then dev=""; else dev=--no-dev; fi
# shellcheck disable=SC2086
"$uv" sync --quiet --compile-bytecode $dev
.venv/bin/python -m compileall -q installer
