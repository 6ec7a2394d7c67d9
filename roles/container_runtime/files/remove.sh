# Prints what it removes. Run before the packages go.
record=/var/lib/arena-install/roles/container_runtime
ours=$(grep -x containerd "$record/packages" 2>/dev/null)
drop() { if [ -e "$1" ] || [ -L "$1" ]; then rm -rf "$1" && echo "$1"; fi; }

if [ -n "$ours" ] && command -v ctr >/dev/null; then
    for task in $(ctr -n k8s.io tasks list -q 2>/dev/null); do
        ctr -n k8s.io tasks kill -s KILL "$task" >/dev/null 2>&1
        ctr -n k8s.io tasks delete -f "$task" >/dev/null 2>&1
        echo "task $task"
    done
    systemctl stop containerd.service kubepods.slice 2>/dev/null
fi
# A containerd that was here before us stays, with what it held. All that came since goes out of it.
theirs() { grep -qxF "$1" "$record/theirs"; }
if [ -z "$ours" ] && [ -e "$record/theirs" ] && ctr namespaces list -q 2>/dev/null | grep -qx k8s.io; then
    for container in $(ctr -n k8s.io containers list -q); do
        theirs "container $container" && continue
        ctr -n k8s.io tasks kill -s KILL "$container" >/dev/null 2>&1
        ctr -n k8s.io tasks delete -f "$container" >/dev/null 2>&1
        ctr -n k8s.io containers delete "$container" && echo "container $container"
    done
    images=$(ctr -n k8s.io images list -q | while read -r image; do theirs "image $image" || echo "$image"; done)
    # shellcheck disable=SC2086
    [ -z "$images" ] || ctr -n k8s.io images delete --sync $images
    if [ ! -s "$record/theirs" ]; then
        for lease in $(ctr -n k8s.io leases list -q); do ctr -n k8s.io leases delete --sync "$lease" >/dev/null; done
        ctr namespaces delete k8s.io >/dev/null && echo "namespace k8s.io"
        systemctl stop kubepods.slice 2>/dev/null
        drop /var/log/pods
        drop /var/log/containers
        for folder in /run/containerd /var/lib/containerd; do
            rmdir "$folder/io.containerd.runtime.v2.task/k8s.io" "$folder/runc/k8s.io" 2>/dev/null
        done
    fi
fi
for link in cni0 flannel.1; do
    if ip link show "$link" >/dev/null 2>&1; then ip link delete "$link" && echo "link $link"; fi
done
drop /etc/cni/net.d/10-containerd-net.conflist
drop /var/lib/cni
drop /run/flannel
if [ -n "$ours" ]; then
    # A folder of its own may be a mount point: its content goes, the mount stays.
    sed -n 's/^[^ ]* \(\/\(run\|var\/lib\)\/containerd\/[^ ]*\) .*/\1/p' /proc/self/mounts | sort -r | while read -r mount; do umount "$mount"; done
    for folder in /var/lib/containerd /run/containerd /var/log/pods /var/log/containers; do
        for entry in "$folder"/* "$folder"/.[!.]*; do drop "$entry"; done
        rmdir "$folder" 2>/dev/null
    done
fi
exit 0
