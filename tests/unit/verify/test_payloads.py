"""What runs inside the cluster, as far as it runs here: the data's way into training, and the kubelet's answer."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from arena_install.verify.payloads import podresources
from arena_install.verify.readers import parse
from arena_install.verify.records import records
from arena_install.verify.workspace import scripts

PAYLOADS = Path(podresources.__file__).parent


def imported(name: str) -> Iterator[ModuleType]:
    """A script, imported as it is where it runs: beside the others."""
    sys.path.insert(0, str(PAYLOADS))
    try:
        spec = importlib.util.spec_from_file_location(f"{name}_payload", PAYLOADS / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(PAYLOADS))


@pytest.fixture(scope="module")
def mnist() -> Iterator[ModuleType]:
    yield from imported("mnist")


@pytest.fixture(scope="module")
def health() -> Iterator[ModuleType]:
    yield from imported("node_health")


def digits(folder: Path, count: int, claimed: int = 0) -> Path:
    (folder / "images.u8").write_bytes(bytes(count * 784))
    (folder / "labels.u8").write_bytes(bytes(i % 10 for i in range(count)))
    (folder / "meta.json").write_text(json.dumps({"count": claimed or count, "shape": [28, 28]}))
    return folder


def test_digits_are_read_and_checked(mnist: ModuleType, tmp_path: Path) -> None:
    images, labels = mnist.load(digits(tmp_path, 30))
    assert (len(images), len(labels)) == (30 * 784, 30)
    digits(tmp_path, 30, claimed=31)
    with pytest.raises(ValueError, match="for 31 digits"):
        mnist.load(tmp_path)
    digits(tmp_path, 3)
    (tmp_path / "labels.u8").write_bytes(b"\x00\x01\x63")
    with pytest.raises(ValueError, match="label 99 is no digit"):
        mnist.load(tmp_path)


def test_held_out_digits_are_never_trained_on(mnist: ModuleType) -> None:
    train, held = mnist.split(10_000, 8_000, 20)
    assert (len(train), len(held)) == (8_000, 2_000)
    assert set(train).isdisjoint(held)
    assert mnist.split(10_000, 8_000, 20) == (train, held), "every replica splits alike"
    assert mnist.split(10_000, 8_000, 21)[0] != train
    assert train != sorted(train)


def test_replicas_share_the_data_out_evenly(mnist: ModuleType) -> None:
    train, _ = mnist.split(100, 83, 1)
    parts = [mnist.share(train, rank, 4) for rank in range(4)]
    assert [len(part) for part in parts] == [20, 20, 20, 20]
    assert len({index for part in parts for index in part}) == 80


def test_batches_are_full_and_in_another_order_each_epoch(mnist: ModuleType) -> None:
    first, second = mnist.batches(list(range(70)), 32, 1), mnist.batches(list(range(70)), 32, 2)
    assert [len(batch) for batch in first] == [32, 32]
    assert first != second


def test_training_for_real(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here; the cluster's verify-pytorch image has it")
    environment = os.environ | {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    done = subprocess.run(
        [sys.executable, PAYLOADS / "mnist.py", "--epochs=1"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert records(done.stdout, "final")


def test_a_container_without_nvml_says_so() -> None:
    done = subprocess.run([sys.executable, PAYLOADS / "gpu_view.py"], capture_output=True, text=True, check=True)
    (seen,) = records(done.stdout, "gpus")
    assert seen["uuids"] == []
    assert seen["error"]


@pytest.mark.parametrize(
    ("said", "loads", "flavour"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build", [], "open"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12", [], "proprietary"),
        ("", ["loading NVIDIA UNIX x86_64 Kernel Module", "loading NVIDIA UNIX Open Kernel Module for"], "open"),
        ("", [], ""),
        ("Simulated", [], ""),
    ],
)
def test_the_kernel_module_says_which_it_is(
    health: ModuleType, monkeypatch: pytest.MonkeyPatch, said: str, loads: list[str], flavour: str
) -> None:
    monkeypatch.setattr(health.gpu_view, "text", lambda _: said)
    assert health.flavour(loads) == flavour


def test_switches_are_those_of_the_bus_or_of_dev_and_need_their_manager(
    health: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(health, "HOST", str(tmp_path))
    assert health.switches() == {"count": 0, "running": False, "version": ""}
    (tmp_path / "dev").mkdir()
    for number in range(4):
        (tmp_path / "dev" / f"nvidia-nvswitch{number}").touch()
    monkeypatch.setattr(health, "run", lambda *_: (0, "Fabric Manager version is : 580.95.05"))
    assert health.switches() == {"count": 4, "running": False, "version": "580.95.05"}
    monkeypatch.setattr(health.gpu_view, "text", lambda path: "nv-fabricmanage\n" if path.name == "comm" else "")
    assert health.switches()["running"]


def test_records_ignore_everything_else() -> None:
    log = 'warning: x\nARENA-VERIFY {"kind": "a", "n": 1}\nARENA-VERIFY {"kind": "b"}\nARENA-VERIFY {"kind": "a", "n"'
    assert records(log, "a") == [{"kind": "a", "n": 1}]
    assert len(records(log)) == 2


def test_the_payloads_travel_whole() -> None:
    python = {"allreduce.py", "gpu_view.py", "mnist.py", "node_health.py", "node_reader.py", "podresources.py"}
    python |= {"collective.py", "cuda_add.py", "drill.py", "notebook_client.py", "web_pages.py"}
    python |= {"tf_mirrored.py", "tf_model.py", "tf_parameter_server.py", "tf_restore.py"}
    python |= {"tf_export.py", "serving_client.py", "serving_custom.py"}
    assert set(scripts()) == python | {"agent_host.sh", "agent_pod.sh"}
    assert sum(map(len, scripts().values())) < 100_000, "a ConfigMap holds at most 1 MiB"


# The kubelet's answer.


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def pod(name: str, namespace: str, *ids: str) -> bytes:
    topology = field(3, field(1, varint(1 << 3) + varint(1)))  # a NUMA node: a varint field among the others
    devices = field(1, "nvidia.com/gpu") + b"".join(field(2, id) for id in ids) + topology
    cpus = varint(3 << 3 | 2) + varint(2) + b"\x00\x01"  # cpu_ids, packed
    container = field(1, "pytorch") + field(2, devices) + cpus
    return field(1, field(1, name) + field(2, namespace) + field(3, container))


def test_a_list_is_decoded() -> None:
    message = pod("mnist-master-0", "jobs", "GPU-a") + pod("two", "jobs", "GPU-b", "GPU-c") + field(1, field(1, "bare"))
    assert podresources.decode_list(message) == [
        {
            "namespace": "jobs",
            "pod": "mnist-master-0",
            "container": "pytorch",
            "resource": "nvidia.com/gpu",
            "ids": ["GPU-a"],
        },
        {
            "namespace": "jobs",
            "pod": "two",
            "container": "pytorch",
            "resource": "nvidia.com/gpu",
            "ids": ["GPU-b", "GPU-c"],
        },
    ]
    assert podresources.decode_list(b"") == []


def test_fields_of_every_wire_type_are_stepped_over() -> None:
    message = (
        varint(1 << 3) + varint(300) + varint(2 << 3 | 1) + bytes(8) + varint(3 << 3 | 5) + bytes(4) + field(4, "x")
    )
    assert list(podresources.fields_of(message)) == [(1, 300), (2, bytes(8)), (3, bytes(4)), (4, b"x")]


@pytest.mark.parametrize("message", [b"\x0a\x7fshort", b"\x0a", b"\xff\xff", b"\x0b\x00"])
def test_rubbish_is_refused(message: bytes) -> None:
    with pytest.raises(podresources.CallError):
        list(podresources.fields_of(message))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@contextlib.contextmanager
def server(path: Path, *answer: bytes) -> Iterator[list[bytes]]:
    """Something that listens like a kubelet, answers with these frames, and keeps what it was sent."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen(1)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"".join(answer))
                connection.settimeout(0.5)
                with contextlib.suppress(OSError):
                    while part := connection.recv(65536):
                        heard.append(part)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield heard
        thread.join(5)


def test_a_call_over_the_socket(tmp_path: Path) -> None:
    message = pod("one", "jobs", "GPU-a")
    body = struct.pack(">BI", 0, len(message)) + message
    answer = (
        frame(4, 0, 0, b""),  # settings
        frame(6, 0, 0, b"12345678"),  # ping
        frame(1, 4, 1, b"\x88"),  # headers
        frame(0, 8, 1, bytes([3]) + body[:7] + bytes(3)),  # data, padded
        frame(0, 0, 1, body[7:]),
        frame(1, 5, 1, b"\x88"),  # trailers
    )
    with server(tmp_path / "s", *answer) as heard:
        rows = podresources.assignments(str(tmp_path / "s"))
    assert rows[0]["ids"] == ["GPU-a"]
    assert heard[0].startswith(b"PRI * HTTP/2.0") and podresources.LIST.encode() in heard[0]
    assert frame(6, 1, 0, b"12345678") in b"".join(heard[1:]), "the ping was answered"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (frame(7, 0, 0, bytes(8) + b"too_many_pings"), "too_many_pings"),
        (frame(3, 0, 1, b"\x00\x00\x00\x07"), "error 7"),
        (frame(1, 5, 1, b"\x88"), "without a message"),
        (frame(0, 1, 1, struct.pack(">BI", 0, 99) + b"x"), "cut short"),
        (b"\x00", "closed the connection"),
    ],
)
def test_a_call_that_goes_wrong_says_how(tmp_path: Path, answer: bytes, said: str) -> None:
    with server(tmp_path / "s", answer), pytest.raises(podresources.CallError, match=said):
        podresources.assignments(str(tmp_path / "s"))


def test_a_readers_record_becomes_a_view() -> None:
    rows = [
        {"namespace": "n", "pod": "a", "container": "x", "resource": "nvidia.com/gpu", "ids": ["GPU-1"]},
        {"namespace": "n", "pod": "a", "container": "y", "resource": "nvidia.com/gpu", "ids": ["GPU-2"]},
        {"namespace": "n", "pod": "b", "container": "x", "resource": "rdma/hca", "ids": ["mlx5_0"]},
    ]
    view = parse({"nvml": {"uuids": ["GPU-1", "GPU-2"], "driver": "580.95.05"}, "assignments": rows, "simulated": True})
    assert view.assigned == {("n", "a"): ("GPU-1", "GPU-2")}
    assert view.simulated and view.driver == "580.95.05"
