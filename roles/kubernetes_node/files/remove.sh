# Prints what it removes.
PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin
drop() { if [ -e "$1" ] || [ -L "$1" ]; then rm -rf "$1" && echo "$1"; fi; }

systemctl disable --now kubelet.service >/dev/null 2>&1
sed -n 's/^[^ ]* \(\/var\/lib\/kubelet\/[^ ]*\) .*/\1/p' /proc/self/mounts | sort -r | while read -r mount; do umount "$mount"; done
# A folder may be a mount point: its content goes, the mount stays.
for entry in /var/lib/kubelet/* /var/lib/kubelet/.[!.]*; do drop "$entry"; done
# kubelet mounts its folder over itself; a mount that was there before us stays.
keep=1
grep -qx 'mount|/var/lib/kubelet|absent' /var/lib/arena-install/roles/kubernetes_node/before 2>/dev/null && keep=0
while [ "$(grep -c ' /var/lib/kubelet ' /proc/self/mounts)" -gt $keep ] && umount /var/lib/kubelet; do echo "mount /var/lib/kubelet"; done
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
        # A table without a rule, all of whose chains accept, does nothing; it came with ours.
        family=ip
        [ $ipt = iptables ] || family=ip6
        for table in filter nat mangle raw; do
            found=$(nft list table $family $table 2>/dev/null) || continue
            printf '%s\n' "$found" | grep -Evq '^table |chain |policy accept;$|^[[:space:]]*}?$' || nft delete table $family $table
        done
    fi
done
exit 0
