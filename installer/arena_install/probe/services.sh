# Part of probe.sh: is what the roles set up still at work? Units, certificates, pod network, registry, static pods.

# worst_lines: of a log on stdin, the last few lines that tell of a failure.
worst_lines() {
    grep -iE '^[EF][0-9]{4} |error|fail|fatal|panic|denied|expired|no space' | tail -n 3 | cut -c 1-600
}

# unit|NAME|enabled state|active state|sub state|result|microseconds after boot at which it became active|restarts
probe_units() {
    have systemctl || return
    first_line uptime /proc/uptime
    printf 'now=%s\n' "$(date +%s)"
    set --
    # Only those that are there: systemd would search all its folders for each of the others.
    for name in containerd kubelet docker-registry arena-nvidia-cdi chrony chronyd ntp ntpsec systemd-timesyncd; do
        for path in /etc /run /usr/local/lib /usr/lib /lib; do
            [ -e "$path/systemd/system/$name.service" ] || continue
            set -- "$@" "$name.service"
            break
        done
    done
    [ $# -gt 0 ] || return
    # Blocks come in the order asked for, apart by an empty line; an alias answers with another Id. A unit that ought to
    # run and does not is asked for its log; kubelet, which files it was told to read.
    bounded 5 systemctl show -p LoadState,UnitFileState,ActiveState,SubState,Result,ActiveEnterTimestampMonotonic \
        -p NRestarts,MainPID,DropInPaths -- "$@" | awk -v names="$*" '
            function flush() {
                name = names_of[++n]
                if (value["LoadState"] == "loaded") {
                    print "show unit|" name "|" value["UnitFileState"] "|" value["ActiveState"] "|" value["SubState"] "|" \
                        value["Result"] "|" value["ActiveEnterTimestampMonotonic"] "|" value["NRestarts"]
                    if (value["DropInPaths"] != "") print "show unit.drop_ins|" name "|" value["DropInPaths"]
                    if (value["ActiveState"] != "active") print "log " name
                    else if (name == "kubelet.service") print "arguments " value["MainPID"]
                }
                split("", value)
            }
            BEGIN { split(names, names_of, " ") }
            /^$/ { flush(); next }
            { equals = index($0, "="); value[substr($0, 1, equals - 1)] = substr($0, equals + 1) }
            END { flush() }' | while read -r what text; do
        case $what in
            show) printf '%s\n' "$text" ;;
            log) bounded 5 journalctl --no-pager -o cat -n 100 -u "$text" | worst_lines | sed "s/^/log|$text|/" ;;
            arguments) tr '\0' '\n' <"/proc/$text/cmdline" | sed -nE 's/^--((config|kubeconfig)=)/kubelet.argument|\1/p' ;;
        esac
    done
}

# The first certificate of each file, and nothing else of it: some hold a private key too.
probe_certificates() {
    set --
    for path in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /etc/kubernetes/*.conf \
        /var/lib/kubelet/pki/*.crt /var/lib/kubelet/pki/*-current.pem \
        /etc/arena-install/registry/*.crt /etc/arena-install/registry-ca.crt; do
        [ -r "$path" ] && set -- "$@" "$path"
    done
    [ $# -gt 0 ] && awk '
        /-----BEGIN CERTIFICATE-----/ { reading = 1; text = ""; next }
        /-----END CERTIFICATE-----/ {
            if (reading && !(FILENAME in seen)) { seen[FILENAME] = 1; print "certificate|" FILENAME "|" text }
            reading = 0
        }
        reading { text = text $1 }
        $1 == "client-certificate-data:" { print "certificate.pem|" FILENAME "|" $2 }' "$@"
}

probe_cni() {
    for path in /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist /etc/cni/net.d/*.json; do
        [ -e "$path" ] && printf 'cni|%s\n' "$path"
    done
    [ -s /run/flannel/subnet.env ] && echo flannel.subnet=yes
}

# Does the cluster's own registry answer here, with the authority that containerd would check it by? In the background.
probe_registry() {
    authority=/etc/arena-install/registry-ca.crt
    [ -r "$authority" ] || return
    url=$(sed -nE 's,^(server = |\[host\.)"(https://[^/"]+)/v2/.*,\2,p' /etc/containerd/certs.d/*/hosts.toml 2>/dev/null | head -n 1)
    [ -n "$url" ] || return
    printf 'registry.url=%s\n' "$url"
    if have curl; then
        printf 'registry.answer=%s\n' "$(bounded 6 curl -sS -m 5 --noproxy '*' -o /dev/null -w '%{http_code}' --cacert "$authority" "$url/v2/" 2>&1 | tr '\n' ' ')"
    fi
}

# Where etcd or the API does not listen: what it said last.
probe_static_pods() {
    for pair in etcd:094B kube-apiserver:192B; do
        name=${pair%%:*}
        [ -e "/etc/kubernetes/manifests/$name.yaml" ] || continue
        if grep -qhsE "^ *[0-9]+: [0-9A-F]+:${pair##*:} [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6; then
            printf 'static|%s|listens\n' "$name"
            continue
        fi
        printf 'static|%s|silent\n' "$name"
        # shellcheck disable=SC2012  # kubelet names the files: no odd character in them
        newest=$(ls -t /var/log/pods/kube-system_"$name"-*/"$name"/*.log 2>/dev/null | head -n 1)
        [ -n "$newest" ] && tail -n 60 "$newest" | worst_lines | sed "s/^/log|$name|/"
    done
}

probe_services() {
    probe_units
    probe_certificates
    probe_cni
    probe_static_pods
}
