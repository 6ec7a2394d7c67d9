# What a pod without any right finds in the network; run in agents of kind "pod". Upstream's busybox has all that it takes.
set -f

# Hundredths of a second since the machine started.
ticks() {
    read -r up _ </proc/uptime
    echo "${up%.*}${up#*.}"
}

# lookups NAME=ADDRESS...: prints "lookup NAME MILLISECONDS right|wrong"; absolute names, so one question each
lookups() {
    for pair in "$@"; do
        began=$(ticks)
        out=$(busybox nslookup -type=a "${pair%=*}." 2>&1)
        took=$((($(ticks) - began) * 10))
        if echo "$out" | grep -qwF "${pair#*=}"; then echo "lookup ${pair%=*} $took right"; else echo "lookup ${pair%=*} $took wrong"; fi
    done
}

# search NAME ADDRESS: the same by the search path, as programs ask
search() {
    out=$(getent hosts "$1" 2>/dev/null || nslookup "$1" 2>&1)
    if echo "$out" | grep -qwF "$2"; then echo "search $1 right"; else echo "search $1 wrong"; fi
}

# get TO=ADDRESS:PORT...: prints "get TO ANSWER", the answer empty where there was none
get() {
    for pair in "$@"; do
        echo "get ${pair%%=*} $(busybox wget -q -T 5 -O - "http://${pair#*=}/" 2>/dev/null | head -n 1)"
    done
}

# mtu: bytes of a packet of this pod's
mtu() {
    cat /sys/class/net/eth0/mtu
}

"$@"
