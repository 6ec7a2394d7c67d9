"""Ask a kubelet which devices it gave to which container: its PodResources service, gRPC over a unix socket.

One unary call with an empty request needs so little of HTTP/2 that it is spoken here by hand, and the answer is four
kinds of nested protobuf messages: no gRPC library is needed where this runs. Field numbers:
k8s.io/kubelet/pkg/apis/podresources/v1/api.proto.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

SOCKET = "/var/lib/kubelet/pod-resources/kubelet.sock"
LIST = "/v1.PodResourcesLister/List"

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 0x1
_END_HEADERS, _PADDED = 0x4, 0x8


class CallError(Exception):
    """The kubelet did not answer as it should."""


def assignments(path: str = SOCKET, timeout: float = 5.0) -> list[dict[str, object]]:
    """Every device that a container holds: {"namespace", "pod", "container", "resource", "ids": [...]}.

    Raises OSError when nothing listens at `path`, CallError when the answer is not a PodResources list.
    """
    return decode_list(unary(path, LIST, timeout=timeout))


def unary(path: str, method: str, request: bytes = b"", timeout: float = 5.0) -> bytes:
    """One gRPC call; gives the response message's bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            # no server push; a window so large that we never have to report what we have read
            + _frame(_SETTINGS, 0, 0, struct.pack(">HIHI", 2, 0, 4, 2**31 - 1))
            + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30))
            + _frame(_HEADERS, _END_HEADERS, 1, _headers(method))
            + _frame(_DATA, _END_STREAM, 1, struct.pack(">BI", 0, len(request)) + request)
        )
        body = b"".join(_answer(connection))
    if len(body) < 5:
        raise CallError(f"the kubelet answered {method} without a message (it may not offer this service)")
    compressed, length = struct.unpack(">BI", body[:5])
    if compressed or len(body) < 5 + length:
        raise CallError("the kubelet's answer is cut short or compressed")
    return body[5 : 5 + length]


def decode_list(message: bytes) -> list[dict[str, object]]:
    """A ListPodResourcesResponse as rows, one for each container and resource."""
    rows: list[dict[str, object]] = []
    for _, pod in _messages(message, 1):
        fields = dict(_texts(pod))
        for _, container in _messages(pod, 3):
            name = dict(_texts(container)).get(1, "")
            for _, devices in _messages(container, 2):
                ids = [text for number, text in _texts(devices) if number == 2]
                rows.append(
                    {
                        "namespace": fields.get(2, ""),
                        "pod": fields.get(1, ""),
                        "container": name,
                        "resource": dict(_texts(devices)).get(1, ""),
                        "ids": ids,
                    }
                )
    return rows


def fields_of(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(field number, value) of a protobuf message: bytes for length-delimited fields, numbers for the others."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise CallError(f"the kubelet's answer is not protobuf (wire type {kind})")
        if at + size > len(message):
            raise CallError("the kubelet's answer is cut short")
        yield number, message[at : at + size]
        at += size


def _messages(message: bytes, wanted: int) -> Iterator[tuple[int, bytes]]:
    return ((number, value) for number, value in fields_of(message) if number == wanted and isinstance(value, bytes))


def _texts(message: bytes) -> Iterator[tuple[int, str]]:
    """The fields that are text. Nested messages come out garbled; callers take only numbers that they know."""
    return ((n, value.decode("utf-8", "replace")) for n, value in fields_of(message) if isinstance(value, bytes))


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    raise CallError("the kubelet's answer is cut short")


def _headers(method: str) -> bytes:
    pairs = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", method),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    # HPACK, literal without indexing: every length here is below 127 and fits one byte
    return b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in pairs
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _answer(connection: socket.socket) -> Iterator[bytes]:
    """The bytes of stream 1's DATA frames, until the server ends the stream."""
    while True:
        head = _exactly(connection, 9)
        size = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = _exactly(connection, size)
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            connection.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _GOAWAY:
            raise CallError(f"the kubelet hung up: {payload[8:].decode('utf-8', 'replace') or 'no reason given'}")
        elif stream == 1 and kind == _RESET:
            raise CallError(f"the kubelet refused the call (HTTP/2 error {int.from_bytes(payload, 'big')})")
        elif stream == 1 and kind == _DATA:
            yield payload[1 : size - payload[0]] if flags & _PADDED else payload
        if stream == 1 and kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            return


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise CallError("the kubelet closed the connection before it had answered")
        parts += part
    return bytes(parts)
