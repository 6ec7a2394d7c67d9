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
