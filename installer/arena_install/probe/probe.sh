# Looks at a host and writes nothing: no file, no setting, not even a temporary file (so no here-documents either, which
# some shells keep in one). Plain POSIX sh, for dash and busybox alike; sent over stdin, so nothing of it is in an argv.
#
# Output: lines that explain themselves, in any order:
#   key=value            the value reaches to the end of the line
#   kind|field|field     a row of a list; the last field may hold anything
# The line "@end NONCE" comes last; without it the answer was cut off. The sender puts before this text: PROBE_NONCE,
# probe_observe (which re-reads what roles recorded: "kind|name" lines in, "kind|name|state" lines out), and the functions
# of gpu.sh, services.sh and upkeep.sh.

LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${PATH:-}
export LC_ALL PATH

have() { command -v "$1" >/dev/null 2>&1; }

# bounded SECONDS COMMAND...: nothing that hangs on the host may hang the probe.
bounded() {
    if have timeout; then timeout "$@"; else shift; "$@"; fi
}

# first_line KEY FILE
first_line() {
    value=
    [ -r "$2" ] && { IFS= read -r value <"$2"; } 2>/dev/null
    printf '%s=%s\n' "$1" "$value"
}

probe_system() {
    printf 'uid=%s\n' "$(id -u)"
    printf 'uname=%s\n' "$(uname -s -r -m)"
    first_line hostname /proc/sys/kernel/hostname
    first_line machine_id /etc/machine-id
    first_line product_uuid /sys/class/dmi/id/product_uuid
    first_line product_name /sys/class/dmi/id/product_name
    first_line init /proc/1/comm
    [ -d /run/systemd/system ] && echo systemd=yes
    while IFS='=' read -r key value; do
        case $key in
            ID | VERSION_ID | PRETTY_NAME)
                value=${value#[\"\']}
                printf 'os.%s=%s\n' "$key" "${value%[\"\']}" ;;
        esac
    done </etc/os-release
    if have nproc; then printf 'cpus=%s\n' "$(nproc)"; else printf 'cpus=%s\n' "$(grep -c '^processor' /proc/cpuinfo)"; fi
    while read -r key value _; do
        case $key in
            MemTotal: | MemAvailable: | SwapTotal:) printf '%s=%s\n' "${key%:}" "$value" ;;
        esac
    done </proc/meminfo
    [ -e /run/systemd/timesync/synchronized ] && echo timesync=yes
}

probe_virt() {
    if have systemd-detect-virt; then
        printf 'virt.container=%s\nvirt.vm=%s\n' "$(systemd-detect-virt --container)" "$(systemd-detect-virt --vm)"
        return
    fi
    if [ -e /run/systemd/container ]; then
        first_line virt.container /run/systemd/container
    elif [ -e /run/.containerenv ]; then
        echo virt.container=podman
    elif [ -e /.dockerenv ]; then
        echo virt.container=docker
    fi
    grep -q '^flags.* hypervisor' /proc/cpuinfo && echo virt.vm=other
}

probe_cgroup() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo cgroup=v2
    elif grep -q ' - cgroup2 ' /proc/self/mountinfo; then
        echo cgroup=hybrid
    elif [ -d /sys/fs/cgroup ]; then
        echo cgroup=v1
    fi
}

probe_disks() {
    set -- /
    for path in /var/lib /var/lib/containerd /var/lib/kubelet /var/lib/etcd /var/log; do
        [ -d "$path" ] && set -- "$@" "$path"
    done
    for path in "$@"; do printf 'disk.path|%s\n' "$path"; done
    bounded 5 df -kP "$@" 2>/dev/null | sed 's/^/df|/'
}

# Facts about modules come in raw: what is loaded, what this kernel has built in, what lies on its disk.
probe_kernel() {
    release=$(uname -r)
    modules='br_netfilter|overlay|nf_tables|nfs|nfsd|nvidia|nvidia_uvm|nouveau|vxlan'
    sed -nE "s/^($modules) .*/module|loaded|\1/p" /proc/modules 2>/dev/null
    for name in br_netfilter overlay nf_tables nfs nfsd nvidia nvidia_uvm nouveau vxlan; do
        [ -d "/sys/module/$name" ] && echo "module|present|$name"
    done
    [ -d /proc/sys/net/bridge ] && echo 'module|present|br_netfilter'
    if [ -r "/lib/modules/$release/modules.dep" ]; then
        sed -nE "s,^[^:]*/($modules|br-netfilter|nf-tables|nvidia-uvm)\.ko[^:]*:.*,module|available|\1,p" \
            "/lib/modules/$release/modules.dep"
        sed -nE "s,.*/($modules|br-netfilter|nf-tables)\.ko.*,module|builtin|\1,p" \
            "/lib/modules/$release/modules.builtin" 2>/dev/null
    fi
    options='BRIDGE_NETFILTER|OVERLAY_FS|NF_TABLES|NFS_FS|NFSD|VXLAN'
    if [ -r /proc/config.gz ]; then
        zcat /proc/config.gz 2>/dev/null | sed -nE "s/^CONFIG_($options)=y/kconfig|\1/p"
    elif [ -r "/boot/config-$release" ]; then
        sed -nE "s/^CONFIG_($options)=y/kconfig|\1/p" "/boot/config-$release"
    fi
    sed -nE 's/^(nodev)?[[:space:]]*(nfs|nfs4|nfsd|overlay|fuse|xfs|ext4|cgroup2)$/filesystem|\2/p' /proc/filesystems
    # Not by the shell's own read: it reads single bytes, and the kernel gives a number only to who takes it whole.
    ( cd /proc/sys && grep -Hs '' net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables \
        net/bridge/bridge-nf-call-ip6tables net/ipv6/conf/all/forwarding net/ipv6/conf/all/disable_ipv6 \
        net/netfilter/nf_conntrack_max fs/inotify/max_user_instances fs/inotify/max_user_watches fs/file-max \
        kernel/pid_max kernel/panic vm/overcommit_memory vm/max_map_count | sed 's/:/|/; s/^/sysctl|/' )
}

probe_network() {
    for path in /sys/class/net/*; do
        name=${path##*/}
        case $name in lo | veth* | cali* | lxc* | '*') continue ;; esac
        mac='' mtu='' state=''
        { IFS= read -r mac <"$path/address"; IFS= read -r mtu <"$path/mtu"; IFS= read -r state <"$path/operstate"; } 2>/dev/null
        printf 'interface|%s|%s|%s|%s\n' "$name" "$mac" "$mtu" "$state"
    done
    if have ip; then
        ip -o addr show 2>/dev/null | while read -r _ name _ address _; do
            case $name in lo | veth* | cali* | lxc*) continue ;; esac
            printf 'address|%s|%s\n' "${name%%@*}" "$address"
        done
        { ip -4 route show default; ip -6 route show default; } 2>/dev/null | sed 's/^/route|/'
    fi
    while read -r key value _; do
        case $key in nameserver) printf 'nameserver|%s\n' "$value" ;; esac
    done </etc/resolv.conf
    sed -nE 's/^(search|domain)[[:space:]]+(.*)/search|\2/p' /etc/resolv.conf
    ports='6443|2379|2380|10250|10257|10259|5000|80|443'
    if have ss; then
        echo ports=ss
        ss -Hltnp 2>/dev/null | sed -nE "s/^(.*:($ports)[[:space:]].*)/ss|\1/p"
    else
        echo ports=proc
        cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _ state _; do
            [ "$state" = 0A ] && printf 'tcp|%s\n' "$local"
        done
    fi
}

# Asks every nameserver for the root's name servers; any answer proves that it is there. Perl is essential on Debian and
# Ubuntu; without it the resolver of libc has to do, which cannot tell which server is silent.
probe_dns() {
    servers=$(sed -nE 's/^nameserver[[:space:]]+([^[:space:]]+).*/\1/p' /etc/resolv.conf 2>/dev/null)
    [ -n "$servers" ] || return
    if have perl; then
        # shellcheck disable=SC2086,SC2016
        bounded 5 perl -MSocket=:all -e '
            $| = 1;
            my $query = pack("nnnnnnCnn", 0x4b1d, 0x0100, 1, 0, 0, 0, 0, 2, 1);
            my (%left, $bits);
            for my $server (@ARGV) {
                (my $address = $server) =~ s/%.*//;
                my $v6 = $address =~ /:/;
                my $to = $v6 ? pack_sockaddr_in6(53, inet_pton(AF_INET6, $address) // next)
                             : pack_sockaddr_in(53, inet_pton(AF_INET, $address) // next);
                socket(my $socket, $v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0) or next;
                $left{fileno $socket} = [$server, $socket];
                if (!connect($socket, $to) || !defined send($socket, $query, 0)) {
                    print "dns|$server|silent\n"; delete $left{fileno $socket}; next;
                }
            }
            my $end = time + 3;
            while (%left && time < $end) {
                my $read = ""; vec($read, $_, 1) = 1 for keys %left;
                next unless select($read, undef, undef, 0.5) > 0;
                for my $fd (keys %left) {
                    next unless vec($read, $fd, 1);
                    my ($server, $socket) = @{$left{$fd}}; my $answer = "";
                    if (defined recv($socket, $answer, 4096, 0) && length $answer >= 4) {
                        my $code = unpack("x3C", $answer) & 15;
                        print "dns|$server|", ($code == 2 ? "failing" : "answers"), "\n";
                    } else { print "dns|$server|silent\n" }
                    delete $left{$fd};
                }
            }
            print "dns|$_->[0]|silent\n" for values %left;
        ' $servers 2>/dev/null
    elif have timeout && have getent; then
        timeout 3 getent ahostsv4 a.root-servers.net >/dev/null 2>&1
        case $? in
            0) status=answers ;;
            124 | 137 | 143) status=silent ;;
            *) status=unknown ;;
        esac
        for server in $servers; do printf 'dns|%s|%s\n' "$server" "$status"; done
    fi
}

probe_software() {
    for name in containerd kubelet nvidia-ctk runc; do
        have "$name" && printf 'version|%s|%s\n' "$name" "$(bounded 5 "$name" --version 2>/dev/null | head -n 1)"
    done
    have kubeadm && printf 'version|kubeadm|%s\n' "$(bounded 5 kubeadm version -o short 2>/dev/null)"
    set --
    for path in /etc/containerd/config.toml /var/lib/kubelet/config.yaml /etc/kubernetes/kubelet.conf \
        /etc/nvidia-container-runtime/config.toml /etc/kubernetes/pki/ca.crt; do
        [ -r "$path" ] && set -- "$@" "$path"
    done
    [ $# -gt 0 ] && sha256sum "$@" 2>/dev/null | sed 's/^/sha256|/'
}

probe_kubernetes() {
    conf=/etc/kubernetes/kubelet.conf
    if [ -r "$conf" ]; then
        sed -nE 's/^[[:space:]]*server:[[:space:]]*(.*)/k8s.server=\1/p' "$conf"
        sed -nE 's/^[[:space:]]*certificate-authority-data:[[:space:]]*([^[:space:]]*).*/\1/p' "$conf" | head -n 1 |
            { IFS= read -r data && printf '%s' "$data" | base64 -d 2>/dev/null | sha256sum | sed 's/^/k8s.ca=/'; }
    fi
    [ -e /etc/kubernetes/admin.conf ] && echo k8s.admin=yes
    [ -e /etc/kubernetes/manifests/kube-apiserver.yaml ] && echo k8s.control_plane=yes
    for path in /etc/rancher/k3s /etc/rancher/rke2 /var/lib/k0s /var/snap/microk8s; do
        [ -d "$path" ] && printf 'k8s.other=%s\n' "${path##*/}"
    done
}

probe_ledger() {
    root=/var/lib/arena-install/roles
    if [ -d /var/lib/arena-install ] && [ ! -x /var/lib/arena-install ]; then
        echo ledger=unreadable
        return
    fi
    for path in "$root"/*/; do
        role=${path%/}
        role=${role##*/}
        case $role in *[!a-z0-9_-]* | '') continue ;; esac
        # grep ends every line, also one that was cut short. The state follows the last bar: a name may hold one.
        [ -r "${path}record" ] && grep '' "${path}record" | sed "s/^/ledger|$role|/"
        [ -r "${path}items" ] && grep '' "${path}items" | sed "s/^/item|$role|/"
        [ -r "${path}before" ] && grep '' "${path}before" | sed "s/^/before|$role|/"
        [ -r "${path}packages" ] && grep '' "${path}packages" | sed "s/^/package|$role|/"
    done
    [ -d "$root" ] || return
    grep -h '' "$root"/*/items "$root"/*/before 2>/dev/null | sed -nE 's/^([^|]+\|.+)\|[^|]*$/\1/p' | sort -u |
        probe_observe 2>/dev/null | sed 's/^/found|/'
}

# What takes long runs beside the rest and answers last, through a pipe that holds its few lines until they are read: two
# writers on one stream could cut each other's lines. All is sent at once: each small write would be a packet to encrypt.
probe_main() {
    printf '@begin %s %s\n' "${PROBE_NONCE:-}" "$(date +%s.%N)"
    said=$({
        probe_dns &
        probe_smi &
        probe_software &
        probe_registry &
        wait
    } | {
        {
            probe_system
            probe_virt
            probe_cgroup
            probe_disks
            probe_kernel
            probe_network
            probe_gpu
            probe_gpu_in_containers
            probe_kubernetes
            probe_services
            probe_upkeep
            probe_ledger
        } 2>/dev/null
        cat
    })
    printf '%s\n@end %s\n' "$said" "${PROBE_NONCE:-}"
}

probe_main </dev/null
