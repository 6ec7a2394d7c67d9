# What keeps a host as it was set up, and what could change it behind our back: services, certificates, packages, drivers,
# files that hold secrets. Part of the probe, which calls it (see probe.sh for the rules and the form of the output).

# Hosts that share a kernel share its clock.
probe_time() {
    first_line boot_id /proc/sys/kernel/random/boot_id
    have chronyc && bounded 3 chronyc -n tracking | sed -nE 's/^Leap status[[:space:]]*:[[:space:]]*/chrony=/p'
}

# private|octal mode|owner|group|PATH, of what only its owner may read
probe_private() {
    bounded 5 stat -L -c 'private|%a|%U|%G|%n' /etc/kubernetes/*.conf /etc/kubernetes/pki/*.key \
        /etc/kubernetes/pki/etcd/*.key /etc/kubernetes/manifests/*.yaml /var/lib/kubelet/pki/*.key \
        /var/lib/kubelet/pki/*-current.pem /var/lib/etcd/member /var/lib/arena-install /etc/arena-install/kubernetes \
        /etc/arena-install/kubernetes/*.yaml /etc/arena-install/registry/*.key
}

# package|hold or install|VERSION|NAME, of those whose move would take pods or GPUs along
probe_packages() {
    have dpkg-query || return
    # shellcheck disable=SC2016
    dpkg-query -W -f '${db:Status-Status}|${db:Status-Want}|${Version}|${Package}\n' containerd containerd.io runc \
        kubelet kubeadm 'nvidia-*' 'libnvidia-*' 'cuda-drivers*' unattended-upgrades | sed -n 's/^installed|/package|/p'
    have unattended-upgrade || return
    echo upgrades=yes
    bounded 5 apt-config dump |
        sed -nE 's/^(APT::Periodic::(Enable|Unattended-Upgrade)|Unattended-Upgrade::Package-Blacklist::) "(.*)";$/apt|\1|\3/p'
}

probe_drivers() {
    for path in /usr/bin/nvidia-uninstall /usr/bin/nvidia-installer; do
        [ -e "$path" ] && printf 'driver|runfile|%s\n' "$path"
    done
    [ -d /run/nvidia/driver/usr ] && echo 'driver|operator|/run/nvidia/driver'
    [ -e /var/lib/arena-gpusim/state ] && echo 'driver|simulated|/var/lib/arena-gpusim'
}

probe_containerd() {
    set -- /etc/containerd/config.toml /etc/containerd/conf.d/*.toml
    stat -c 'changed|%Y|%n' "$@"
    sed -nE 's/^[[:space:]]*\[plugins\..*\.containerd\.runtimes\."?([A-Za-z0-9_-]+)"?\][[:space:]]*$/runtime|\1/p' "$@"
}

# What a host's own name means to it: kubelet and etcd ask.
probe_own_name() {
    have getent && printf 'own_name=%s\n' "$(bounded 3 getent hosts "$(cat /proc/sys/kernel/hostname)" | head -n 1)"
}

probe_upkeep() {
    probe_own_name
    probe_time
    probe_private
    probe_packages
    probe_drivers
    probe_containerd
}
