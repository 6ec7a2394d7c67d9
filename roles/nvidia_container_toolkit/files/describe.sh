# Bring the CDI description of the GPUs up to date. Prints one line for each change, nothing when all is as it should be.
# The boot unit may have run before the driver or the number of GPUs changed, so this compares with what is true now.
set -eu
unit=arena-nvidia-cdi.service
spec=/var/run/cdi/nvidia.yaml

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
if ! nvidia-ctk --quiet cdi generate --output="$fresh/nvidia.yaml" 2> "$fresh/error"; then
    echo "nvidia-ctk cannot describe this host's GPUs; see what nvidia-smi says:" >&2
    cat "$fresh/error" >&2
    exit 1
fi
systemctl -q is-enabled $unit 2>/dev/null || { systemctl -q enable $unit && echo "enabled $unit"; }
if ! systemctl -q is-active $unit || ! cmp -s "$fresh/nvidia.yaml" $spec; then
    systemctl restart $unit
    echo "made $spec"
fi
