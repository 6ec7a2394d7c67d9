# Prints what it removes.
PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin
drop() { if [ -e "$1" ]; then rm -rf "$1" && echo "$1"; fi; }

systemctl disable --now kubelet.service >/dev/null 2>&1
sed -n 's/^[^ ]* \(\/var\/lib\/kubelet\/[^ ]*\) .*/\1/p' /proc/self/mounts | sort -r | while read -r mount; do umount "$mount"; done
# A folder may be a mount point: its content goes, the mount stays.
for entry in /var/lib/kubelet/* /var/lib/kubelet/.[!.]*; do drop "$entry"; done
rmdir /var/lib/kubelet 2>/dev/null
for folder in /etc/kubernetes /var/lib/kube-proxy /usr/libexec/kubernetes; do drop "$folder"; done

# Tables and chains that carry our names, and rules that jump into them. All others are written back as they were.
if command -v nft >/dev/null; then
    for family in ip ip6; do
        if nft list table $family kube-proxy >/dev/null 2>&1; then nft delete table $family kube-proxy && echo "nft $family kube-proxy"; fi
    done
fi
for ipt in iptables ip6tables; do
    command -v $ipt-save >/dev/null || continue
    rules=$($ipt-save 2>/dev/null)
    if printf '%s\n' "$rules" | grep -Eq '(KUBE|CNI|FLANNEL)-'; then
        printf '%s\n' "$rules" | grep -Ev '(KUBE|CNI|FLANNEL)-' | $ipt-restore && echo "$ipt"
    fi
done
exit 0
