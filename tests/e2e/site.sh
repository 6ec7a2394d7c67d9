# What a host may carry when arena-install comes: somebody's own software, settings, user and files. All of it has to be
# there, as it was, when arena-install has gone. usage: sh -s containerd|config, as root
set -eu
useradd --create-home site
echo 'results of three years' >/home/site/data.txt
chown site: /home/site/data.txt
mkdir -p /opt/site /opt/cni/bin /etc/cni/net.d /etc/sysctl.d /srv/exports
printf '#!/bin/sh\nexec sleep infinity\n' >/opt/site/run.sh
chmod 750 /opt/site/run.sh
echo 'not a plugin of ours' >/opt/cni/bin/site-plugin
echo 'read me' >/etc/cni/net.d/README
echo 'net.ipv4.conf.all.rp_filter = 2' >/etc/sysctl.d/50-site.conf
sysctl -qw net.ipv4.conf.all.rp_filter=2 net.bridge.bridge-nf-call-iptables=0
cat >/etc/systemd/system/site.service <<END
[Service]
ExecStart=/opt/site/run.sh
[Install]
WantedBy=multi-user.target
END
systemctl -q enable --now site.service
nft add table inet site
nft 'add chain inet site input { type filter hook input priority 10; policy accept; }'
nft add rule inet site input tcp dport 9 drop
iptables -A INPUT -p udp --dport 9 -j DROP
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends socat >/dev/null
apt-mark -q hold socat >/dev/null
if [ "$1" = containerd ]; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends containerd >/dev/null 2>&1
fi
mkdir -p /etc/containerd/certs.d/registry.example.org
printf 'version = 2\nroot = "/var/lib/containerd"\n[debug]\n  level = "warn"\n' >/etc/containerd/config.toml
echo 'server = "https://registry.example.org"' >/etc/containerd/certs.d/registry.example.org/hosts.toml
if [ "$1" = containerd ]; then systemctl restart containerd; fi
