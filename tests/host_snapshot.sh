# What a host is, as sorted lines: files with digest and mode, packages, units, network, mounts. For comparing before and after.
prune='-path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /dev -o -path /var/log -o -path /var/cache -o -path /var/lib/apt'
# shellcheck disable=SC2086
{
    find / \( $prune \) -prune -o -printf 'file %y %m %u:%g %p %l\n'
    find / -xdev \( $prune \) -prune -o -type f -exec sha256sum {} + | sed 's/^/sum /'
    find /run /dev /var/log -printf 'volatile %y %p\n' | grep -Ev '/run/(systemd|sshd|log|user|udev)|journal'
    dpkg-query -W -f 'package ${Package} ${Version} ${db:Status-Status}\n'
    systemctl list-unit-files --no-legend --no-pager | awk '{print "unit-file", $1, $2}'
    systemctl list-units --no-legend --no-pager --plain | grep -Ev 'session|user' | awk '{print "unit", $1, $3}'
    ip -o link | awk '{sub("@.*", "", $2); print "link", $2}'
    ip route | sed 's/^/route /'
    iptables-save | grep -v '^#' | sed 's/ \[.*//; s/^/iptables /'
    nft list ruleset | sed 's/^/nft /'
    sysctl -a --pattern '^(net\.(bridge|netfilter)\.|net\.ipv[46]\.(ip_forward|conf\.(all|default)\.))' | grep -v nf_conntrack_count
    getent passwd | sed 's/^/user /'
    dpkg-query -W -f '${db:Status-Want} ${Package}\n' | sed -n 's/^hold /hold /p'
    echo "hostname $(hostname)"
    awk '$2 ~ /^\/var\/lib/ {print "mount", $2}' /proc/self/mounts
} 2>/dev/null | sort
