# What a host's own network and files say; run in agents of kind "host". Its programs are the host's, by chroot.

# etcd: prints its health, and the figures that matter
etcd() {
    echo "health $(wget -q -T 5 -O - http://127.0.0.1:2381/health 2>&1)"
    wget -q -T 10 -O - http://127.0.0.1:2381/metrics 2>/dev/null |
        grep -E '^(etcd_server_(has_leader|is_leader|quota_backend_bytes|leader_changes_seen_total)|etcd_mvcc_db_total_size_(in_use_)?in_bytes|etcd_disk_wal_fsync_duration_seconds_(bucket|count)|etcd_network_known_peers)\b'
}

# mirrors: prints "mirror|UPSTREAM|URL|CA" of every registry that containerd gets from elsewhere
mirrors() {
    for path in /host/etc/containerd/certs.d/*/hosts.toml; do
        [ -e "$path" ] || continue
        upstream=${path%/hosts.toml}
        url=$(sed -n 's/^\[host\."\(.*\)"\][[:space:]]*$/\1/p' "$path" | head -n 1)
        [ -n "$url" ] || url=$(sed -n 's/^server[[:space:]]*=[[:space:]]*"\(.*\)"[[:space:]]*$/\1/p' "$path" | head -n 1)
        ca=$(sed -n 's/^[[:space:]]*ca[[:space:]]*=[[:space:]]*"\(.*\)"[[:space:]]*$/\1/p' "$path" | head -n 1)
        echo "mirror|${upstream##*/}|$url|$ca"
    done
}

# https ADDRESS:PORT CA: sends the requests on stdin, "METHOD PATH" a line up to "end", over one connection whose
# certificate must be the CA's and name the address; prints "answer STATUS LENGTH DIGEST" for each, or "error WHY". A last
# request of our own makes the server hang up; its answer is not printed.
https() {
    case ${1%:*} in *[!0-9.]*) name="-verify_hostname ${1%:*}" ;; *) name="-verify_ip ${1%:*}" ;; esac
    types='application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json'
    types="$types, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
    {
        while read -r method path && [ "$method" != end ]; do
            printf '%s %s HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\nContent-Length: 0\r\n\r\n' "$method" "$path" "$1" "$types"
        done
        printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1"
    } >"/tmp/requests.$$"
    # shellcheck disable=SC2086
    timeout 60 chroot /host openssl s_client -quiet -verify_return_error $name -CAfile "$2" -connect "$1" \
        <"/tmp/requests.$$" 2>"/tmp/said.$$" | tr -d '\r' | awk '
            /^HTTP\/1\.1 / { flush(); status = $2; next }
            tolower($1) == "content-length:" { length_ = $2 }
            tolower($1) == "docker-content-digest:" { digest = $2 }
            function flush() { if (status != "") print "answer", status, length_, digest; status = length_ = digest = "" }'
    why=$(grep -E 'error|errno|unable|mismatch' "/tmp/said.$$" | grep -v 'unexpected eof' | head -n 1)
    [ -z "$why" ] || echo "error $why"
}

# kubelet ADDRESS...: prints "kubelet ADDRESS STATUS open|closed": what 10250 answers to nobody, and the read-only port
kubelet() {
    for address in "$@"; do
        status=$(printf 'GET /pods HTTP/1.0\r\n\r\n' | timeout 10 chroot /host openssl s_client -quiet \
            -connect "$address:10250" 2>/dev/null | head -n 1 | cut -d ' ' -f 2)
        case $(wget -T 3 -O /dev/null "http://$address:10255/healthz" 2>&1) in
            *"can't connect"* | *refused* | *"timed out"* | *"No route"*) port=closed ;;
            *) port=open ;;
        esac
        echo "kubelet $address ${status:-none} $port"
    done
}

# ping_from UID BYTES TO=ADDRESS...: from the pod with that UID, prints "ping TO BYTES full|small|lost". Packets of that
# size must not be cut up: the kernel says so of every first one that fits the interface. Where none comes back, small ones.
ping_from() {
    mark=$(echo "$1" | tr - _)
    process=$(grep -lE "$1|$mark" /proc/[0-9]*/cgroup | head -n 1)
    [ -n "$process" ] || { echo "no process of pod $1 here" >&2; exit 1; }
    process=${process%/cgroup}
    size=$2
    shift 2
    for pair in "$@"; do
        set -- nsenter -t "${process#/proc/}" -n busybox ping -q -W 2
        if "$@" -c 1 -s $((size - 28)) "${pair#*=}" >/dev/null 2>&1; then
            echo "ping ${pair%%=*} $size full"
        elif "$@" -c 2 -s 56 "${pair#*=}" >/dev/null 2>&1; then
            echo "ping ${pair%%=*} $size small"
        else
            echo "ping ${pair%%=*} $size lost"
        fi
    done
}

# at_rest SECRET CONFIG PATH: how often two marks are in what etcd wrote last, and what stands before the value at PATH
at_rest() {
    cd /host/var/lib/etcd/member/wal || exit 1
    set -- "$@" $(ls -t ./*.wal | head -n 2)
    secret=$1 config=$2 path=$3
    shift 3
    for name in "$@"; do
        file=/var/lib/etcd/member/wal/$name
        echo "log $name $(chroot /host grep -acF "$secret" "$file") $(chroot /host grep -acF "$config" "$file")" \
            "$(chroot /host grep -aoE "$path.{0,60}k8s:enc:[a-z]+:v[0-9]:[^:]{1,40}:" "$file" | grep -aoE 'k8s:enc:.*' | tail -n 1)"
    done
}

"$@"
