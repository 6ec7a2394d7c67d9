# Write the toolkit's configuration and its boot unit, and bring the CDI description up to date. Prints one line for each
# change and nothing when all is as it should be. POSIX sh; CONFIG and UNIT hold the texts.
set -eu
unit=arena-nvidia-cdi.service
spec=/var/run/cdi/nvidia.yaml

put() { # text destination
    text=$(printf '%s' "$1")  # without newlines at its end, as what cat gives below
    [ "$(cat "$2" 2>/dev/null || true)" != "$text" ] || return 0
    mkdir -p "${2%/*}"
    printf '%s\n' "$text" > "$2.new"
    chmod 0644 "$2.new"
    mv -f "$2.new" "$2"
    echo "wrote $2"
}

put "$CONFIG" /etc/nvidia-container-runtime/config.toml
if [ -n "$(put "$UNIT" /etc/systemd/system/$unit)" ]; then
    systemctl daemon-reload
    echo "wrote $unit"
fi
systemctl -q is-enabled $unit 2>/dev/null || { systemctl -q enable $unit && echo "enabled $unit"; }

# The unit may have run before the driver or the number of GPUs changed: compare with what is true now.
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
if ! nvidia-ctk --quiet cdi generate --output="$fresh/nvidia.yaml" 2> "$fresh/error"; then
    echo "nvidia-ctk cannot describe this host's GPUs; try: nvidia-smi" >&2
    cat "$fresh/error" >&2
    exit 1
fi
if ! systemctl -q is-active $unit || ! cmp -s "$fresh/nvidia.yaml" $spec; then
    systemctl restart $unit
    echo "made $spec"
fi
