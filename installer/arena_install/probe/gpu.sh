# Part of probe.sh: the links of the chain from a GPU to a container, as far as the host itself shows them.

probe_gpu() {
    for path in /sys/bus/pci/devices/*; do
        vendor=
        { IFS= read -r vendor <"$path/vendor"; } 2>/dev/null
        [ "$vendor" = 0x10de ] || continue
        IFS= read -r device <"$path/device"
        IFS= read -r class <"$path/class"
        driver=$(readlink "$path/driver")
        printf 'pci|%s|%s|%s|%s\n' "${path##*/}" "$device" "$class" "${driver##*/}"
    done
    for path in /dev/nvidia* /dev/nvidia-caps/*; do
        [ -e "$path" ] && printf 'device|%s\n' "$path"
    done
    first_line nvidia.version /proc/driver/nvidia/version
    if [ -d /sys/firmware/efi ]; then
        bytes=$(od -An -tu1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c 2>/dev/null)
        if [ -n "$bytes" ]; then
            printf 'secureboot.byte=%s\n' "${bytes##* }"
        elif have mokutil; then
            printf 'secureboot.mokutil=%s\n' "$(mokutil --sb-state 2>&1 | tr '\n' ' ')"
        fi
    else
        echo secureboot.byte=none
    fi
}

# Asked in the background: nvidia-smi takes seconds on a cold driver. With a GPU lost, the real one answers a query with
# that alone, and its list with the GPUs that are left.
probe_smi() {
    have nvidia-smi || return
    output=$(bounded 15 nvidia-smi --query-gpu=index,uuid,name,memory.total,driver_version --format=csv,noheader,nounits 2>&1)
    status=$?
    printf 'smi.status=%s\n' "$status"
    printf '%s\n' "$output" | sed 's/^/smi|/'
    [ "$status" = 0 ] || bounded 15 nvidia-smi -L 2>&1 | sed 's/^/smi.list|/'
}

probe_gpu_in_containers() {
    # Keys "kind" and "name" of CDI descriptions, whether they are written as YAML or as JSON on one line.
    grep -HosE '(^|[^A-Za-z])"?(kind|name)"?:[[:space:]]*"?[A-Za-z0-9][A-Za-z0-9._:/-]*' /etc/cdi/* /var/run/cdi/* |
        sed -nE 's/^(.*\.(yaml|json)):[^:]*(kind|name)"?:[[:space:]]*"?/cdi|\1|\3|/p'
    for path in /var/lib/kubelet/device-plugins/nvidia-*.sock; do
        [ -S "$path" ] && printf 'plugin.socket|%s\n' "$path"
    done
    # XIDs: what the driver reported of failing GPUs since the host started.
    if [ -e /var/lib/arena-gpusim/state ]; then
        sed -nE 's/^xid\.[0-9]+=([0-9]+:[0-9]+)$/xid.simulated|\1/p' /var/lib/arena-gpusim/state | tail -n 8
    elif [ -e /proc/driver/nvidia/version ] && have dmesg; then
        bounded 5 dmesg | grep 'NVRM: Xid' | tail -n 8 | sed 's/^/xid.kernel|/'
    fi
}
