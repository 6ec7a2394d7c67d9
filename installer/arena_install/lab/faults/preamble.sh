# What every script of a fault begins with; see model.py.
set -eu
mkdir -p "$KEPT"

# node EXPRESSION: what a Python expression about n gives; n is this host's Node, asked for as its kubelet asks, or with
# another CERTIFICATE of its
node() {
    api=$(sed -n 's/^ *server: //p' /etc/kubernetes/kubelet.conf)
    curl --silent --show-error --fail --max-time 10 --cacert /etc/kubernetes/pki/ca.crt \
        --cert "${CERTIFICATE:-/var/lib/kubelet/pki/kubelet-client-current.pem}" "$api/api/v1/nodes/$(hostname)" |
        python3 -c "import json, sys; n = json.load(sys.stdin); print($1)"
}

# ready: True, False or Unknown; Tainted while a node that is ready again has not lost what kept pods off it
ready() {
    node '[c["status"] for c in n["status"]["conditions"] if c["type"] == "Ready"][0].replace("True",
        "Tainted" if "node.kubernetes.io/" in str(n["spec"].get("taints")) else "True")'
}

# keep FILE: copy it to $KEPT, once; restore FILE: give the same file its kept content and time again, if there is one
keep() { [ -e "$KEPT/${1##*/}" ] || { cp -p "$1" "$KEPT/new" && mv "$KEPT/new" "$KEPT/${1##*/}"; }; }
restore() { [ ! -e "$KEPT/${1##*/}" ] || cp -p "$KEPT/${1##*/}" "$1"; }
