"""What the probe says of what roles set up: units, certificates, GPUs on their way to containers."""

from __future__ import annotations

import base64
import datetime
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from arena_install.probe.facts import Xid
from arena_install.probe.parse import parse
from arena_install.probe.runner import compose
from arena_install.probe.services import Registry, StaticPod, Unit

EXPIRES = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    """(certificate, private key) as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(EXPIRES - datetime.timedelta(days=9)).not_valid_after(EXPIRES)
    made = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.decode(), secret.decode()


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=lambda shell: shell[0])
def test_certificates_come_without_their_keys(tmp_path: Path, pair: tuple[str, str], shell: list[str]) -> None:
    certificate, key = pair
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki/apiserver.crt").write_text(certificate + "trailing words\n" + certificate)
    (tmp_path / "pki/broken.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "pki/me-current.pem").write_text(key + certificate + key)
    data, secret = (base64.b64encode(text.encode()).decode() for text in (certificate, key))
    user = f"users:\n- user:\n    client-certificate-data: {data}\n    client-key-data: {secret}\n"
    (tmp_path / "admin.conf").write_text(user)
    text = compose("cat").replace("/etc/kubernetes", str(tmp_path)).replace("/var/lib/kubelet", str(tmp_path))
    done = subprocess.run([*shell, "-s"], input=text, capture_output=True, text=True, timeout=60, check=True)
    found = parse(done.stdout).certificates
    names = {"pki/apiserver.crt", "pki/me-current.pem", "admin.conf"}
    assert {path: found.get(str(tmp_path / path)) for path in names} == dict.fromkeys(names, EXPIRES.timestamp())
    assert str(tmp_path / "pki/broken.crt") not in found
    assert key.splitlines()[1] not in done.stdout.replace("\n", "")
    assert secret[:60] not in done.stdout


def test_units() -> None:
    facts = parse(
        "uptime=1000.50 900\nnow=1700001000\n"
        "unit|containerd.service|enabled|active|running|success|30000000|0\n"
        "unit|kubelet.service|enabled|activating|auto-restart|exit-code|0|7\n"
        "unit.drop_ins|kubelet.service|/etc/a.conf /etc/b.conf\n"
        'log|kubelet.service|E1122 run.go:72] "command failed" err="no | such file"\n'
        "log|kubelet.service|second\n"
        "kubelet.argument|config=/etc/other.yaml\n"
    )
    assert facts.units["containerd.service"] == Unit("enabled", "active", "running", "success", 1700000029.5)
    kubelet = facts.units["kubelet.service"]
    assert (kubelet.active, kubelet.sub, kubelet.restarts, kubelet.since) == ("activating", "auto-restart", 7, None)
    assert kubelet.drop_ins == ("/etc/a.conf", "/etc/b.conf")
    assert kubelet.log == ('E1122 run.go:72] "command failed" err="no | such file"', "second")
    assert facts.kubelet_arguments == {"config": "/etc/other.yaml"}


def test_registry_cni_and_static_pods() -> None:
    facts = parse(
        "registry.url=https://10.0.0.1:5000\nregistry.answer=curl: (7) Failed to connect 000\n"
        "cni|/etc/cni/net.d/99-b.conf\ncni|/etc/cni/net.d/10-a.conflist\nflannel.subnet=yes\n"
        "static|etcd|silent\nlog|etcd|no space left on device\nstatic|kube-apiserver|listens\n"
    )
    assert facts.registry == Registry("https://10.0.0.1:5000", "curl: (7) Failed to connect 000")
    assert facts.cni == ("/etc/cni/net.d/10-a.conflist", "/etc/cni/net.d/99-b.conf")
    assert facts.flannel_subnet
    etcd = StaticPod(False, ("no space left on device",))
    assert facts.static_pods == {"etcd": etcd, "kube-apiserver": StaticPod(True)}


CDI = """\
cdi|/var/run/cdi/nvidia.yaml|name|0
cdi|/var/run/cdi/nvidia.yaml|name|GPU-1
cdi|/var/run/cdi/nvidia.yaml|name|all
cdi|/var/run/cdi/nvidia.yaml|kind|nvidia.com/gpu
cdi|/var/run/cdi/plugin.json|kind|k8s.device-plugin.nvidia.com/gpu
cdi|/var/run/cdi/plugin.json|name|GPU-9
runtime|runc
runtime|nvidia
plugin.socket|/var/lib/kubelet/device-plugins/nvidia-gpu.sock
"""


def test_the_way_of_a_gpu_into_a_container() -> None:
    facts = parse(CDI)
    assert facts.nvidia.cdi == ("0", "GPU-1", "all")
    assert facts.runtimes == ("runc", "nvidia")
    assert facts.nvidia.plugin_socket


def test_xids() -> None:
    line = "[ 1234.5] NVRM: Xid (PCI:0000:3b:00): 79, pid=0, GPU has fallen off the bus."
    assert parse(f"xid.kernel|{line}\nxid.kernel|garbage").nvidia.xids == (Xid(79, "0000:3b:00", line),)
    facts = parse("driver|simulated|/var/lib/arena-gpusim\nxid.simulated|1:48")
    assert facts.nvidia.simulated
    assert facts.nvidia.xids == (Xid(48, "1", "simulated GPU 1: Xid 48"),)


LOST = "Unable to determine the device handle for GPU1: GPU is lost.  Reboot the system to recover this GPU"


@pytest.mark.parametrize(
    "text",
    [
        f"smi|0, GPU-0, A100, 40960, 580.95\nsmi|{LOST}\nsmi|2, GPU-2, A100, 40960, 580.95",
        f"smi|{LOST}\nsmi.list|GPU 0: A100 (UUID: GPU-0)\nsmi.list|{LOST}\nsmi.list|GPU 2: A100 (UUID: GPU-2)",
    ],
    ids=["in its place", "by the list"],
)
def test_the_gpus_that_are_left(text: str) -> None:
    facts = parse(f"smi.status=15\n{text}")
    assert [(gpu.index, gpu.uuid) for gpu in facts.nvidia.gpus] == [(0, "GPU-0"), (2, "GPU-2")]
    assert facts.nvidia.error.startswith("Unable to determine the device handle for GPU1: GPU is lost.")
