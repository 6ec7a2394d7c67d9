# Writes into NOTE, once, what a containerd that is here before us holds for Kubernetes: the images and containers of its
# namespace k8s.io. remove.sh leaves these alone, and takes all else out of a containerd that was not ours.
umask 077
if command -v ctr >/dev/null; then
    ctr -n k8s.io images list -q 2>/dev/null | sed 's/^/image /'
    ctr -n k8s.io containers list -q 2>/dev/null | sed 's/^/container /'
fi >"$NOTE.new"
mv "$NOTE.new" "$NOTE"
