# Install or remove the simulated driver; prints one line for each change and nothing when all is as it should be.
# Run by the role with: ACTION (install|remove), VERSION, and for install ARCHIVE, UNIT (text of the systemd unit), COUNT,
# MODEL, MEMORY_MIB.
# POSIX sh. Never touches a library, program or device node that is not the simulated one.
set -eu
libraries=/usr/lib/$(uname -m)-linux-gnu
[ -d "$libraries" ] || libraries=/usr/lib64
firmware=/usr/lib/firmware/nvidia/$VERSION
state=/var/lib/arena-gpusim/state
unit=arena-gpusim.service

fail() { echo "$*" >&2; exit 1; }
ours() { [ -f "$1" ] && grep -qe ARENA_GPUSIM -e 'SIMULATED GPU' "$1"; }

put() { # source destination
    cmp -s "$1" "$2" && return
    install -m 0755 "$1" "$2.new"
    mv -f "$2.new" "$2"
    echo "installed $2"
}

link() { # target link
    [ "$(readlink "$2" || true)" = "$1" ] && return
    ln -sfn "$1" "$2"
    echo "linked $2"
}

drop() { # path...
    for path; do
        if [ -e "$path" ] || [ -L "$path" ]; then rm -f "$path" && echo "removed $path"; fi
    done
}

# Libraries, links and firmware entry of every simulated version but the one named.
drop_versions_except() {
    for library in "$libraries"/libnvidia-ml.so.*.* "$libraries"/libcuda.so.*.*; do
        ours "$library" || continue
        version=${library##*.so.}
        [ "$version" != "$1" ] || continue
        drop "$library" "/usr/lib/firmware/nvidia/$version/gsp_simulated.bin"
        rmdir "/usr/lib/firmware/nvidia/$version" /usr/lib/firmware/nvidia 2>/dev/null || true
    done
}

install_driver() {
    [ ! -e /proc/driver/nvidia/version ] || [ -e /run/.containerenv ] || [ -e /.dockerenv ] ||
        fail "a real NVIDIA driver is loaded: $(head -n1 /proc/driver/nvidia/version). Set nvidia_driver_mode=preinstalled for this host."
    for path in "$libraries/libnvidia-ml.so.1" "$libraries/libcuda.so.1" /usr/bin/nvidia-smi /usr/bin/gpusim; do
        if [ -e "$path" ] && ! ours "$path"; then
            fail "$path belongs to a real driver. Set nvidia_driver_mode=preinstalled for this host, or remove that driver."
        fi
    done
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    tar -xf "$ARCHIVE" -C "$work"
    for name in libnvidia-ml libcuda; do
        put "$work"/lib/$name.so.[0-9]*.[0-9]* "$libraries/$name.so.$VERSION"
        link "$name.so.$VERSION" "$libraries/$name.so.1"
    done
    put "$work/bin/nvidia-smi" /usr/bin/nvidia-smi
    put "$work/bin/gpusim" /usr/bin/gpusim
    # The container toolkit mounts a driver's GSP firmware into containers: the way the state gets in there.
    [ -d "$firmware" ] || mkdir -p "$firmware"
    link ../../../../../var/lib/arena-gpusim/state "$firmware/gsp_simulated.bin"
    drop_versions_except "$VERSION"
    ldconfig
    if [ ! -s "$state" ]; then
        gpusim init "count=$COUNT" "model=$MODEL" "memory_mib=$MEMORY_MIB" "driver_version=$VERSION"
        echo "made $state"
    fi
    for pair in "count=$COUNT" "model=$MODEL" "memory_mib=$MEMORY_MIB" "driver_version=$VERSION"; do
        grep -qxF "$pair" "$state" || { gpusim set "$pair" && echo "set $pair"; }
    done
    gpusim nodes
    # /dev is made anew at every boot, so the unit makes the nodes again.
    if [ "$(cat "/etc/systemd/system/$unit" 2>/dev/null || true)" != "$UNIT" ]; then
        printf '%s\n' "$UNIT" > "/etc/systemd/system/$unit"
        systemctl daemon-reload
        echo "wrote $unit"
    fi
    systemctl -q is-enabled "$unit" 2>/dev/null || { systemctl -q enable "$unit" && echo "enabled $unit"; }
    systemctl -q is-active "$unit" || { systemctl start "$unit" && echo "started $unit"; }
}

# Only what the ledger does not undo.
remove_driver() {
    if ours /usr/bin/gpusim; then gpusim nodes remove; fi
    drop_versions_except none
    drop "$state"
    rmdir "${state%/*}" 2>/dev/null || true
}

case $ACTION in
install) install_driver ;;
remove) remove_driver ;;
*) fail "ACTION must be install or remove" ;;
esac
