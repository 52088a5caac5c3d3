"""Ranks that listen: the same texts over TCP, one rank 0 at a time, and everything else refused."""

import socket
import struct
from pathlib import Path
from threading import Thread

import pytest

import intact
from intact._base.errors import IntactError, ParameterError, WorkerError
from intact.library.parallel.channel import HEADER, MOST_JSON, Channel, FrameKind
from intact.library.parallel.ranks import Rank, parse_address, parse_ranks
from intact.library.parallel.shard import listen_at, serve_shard
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("shard") / "m.gguf", "qwen3")


@pytest.fixture(scope="module")
def address(path: Path) -> tuple[str, int]:
    """Of a shard in a thread of this process."""
    listener = listen_at(("127.0.0.1", 0))
    address = listener.getsockname()
    Thread(target=serve_shard, args=(listener, path), daemon=True).start()
    return address[0], address[1]


def test_texts_over_tcp_are_those_of_one_process(path: Path, address: tuple[str, int]) -> None:
    with intact.load(path) as model:
        expected = model.generate("one two", n=3, max_tokens=8, temperature=1.0, receipt=True)
    for _ in range(2):  # the shard serves again
        with intact.load(path, tensor_parallel="here*2,{}:{}".format(*address)) as model:
            found = model.generate("one two", n=3, max_tokens=8, temperature=1.0, receipt=True)
        assert found == expected


def test_a_second_rank_0_is_refused_meanwhile(path: Path, address: tuple[str, int]) -> None:
    name = "{}:{}".format(*address)
    with intact.load(path, tensor_parallel=name), pytest.raises(WorkerError, match=f"{name}.*in use by another"):
        intact.load(path, tensor_parallel=name)


def test_another_model_is_refused(path: Path, address: tuple[str, int], tmp_path: Path) -> None:
    other = bytearray(path.read_bytes())
    other[-1] ^= 1
    copy = tmp_path / "m.gguf"
    copy.write_bytes(other)
    with pytest.raises(WorkerError, match=r"the digest of m\.gguf is \w{64} here but \w{64} at rank 0"):
        intact.load(copy, tensor_parallel="{}:{}".format(*address))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + bytes(64),
        HEADER.pack(b"intR", FrameKind.HELLO, 0, 0, 0, MOST_JSON + 1),
        HEADER.pack(b"intR", FrameKind.HELLO, 0, 0, 0, 2) + b"[]",
        HEADER.pack(b"intR", FrameKind.HELLO, 0, 0, 0, 5) + b"\x80\x04N.!",
        HEADER.pack(b"intR", FrameKind.STEP, 0, 0, 0, 8) + struct.pack("<q", 1),
        HEADER.pack(b"intR", 200, 0, 0, 0, 1 << 62),
    ],
)
def test_strangers_get_an_error_and_nothing_else(data: bytes, address: tuple[str, int], path: Path) -> None:
    with socket.create_connection(address, 20) as stranger:
        stranger.sendall(data)
        magic, kind, *_, length = HEADER.unpack(stranger.recv(HEADER.size, socket.MSG_WAITALL))
        assert (magic, kind) == (b"intR", FrameKind.ERROR)
        assert 0 < length < 2001
        stranger.recv(length, socket.MSG_WAITALL)
        stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(1) == b""
    with intact.load(path, tensor_parallel="{}:{}".format(*address)) as model:  # it lives
        assert model.generate("one", max_tokens=1)


def test_frames_are_bounded_and_of_the_right_kind() -> None:
    one, two = socket.socketpair()
    a, b = Channel(one, "a"), Channel(two, "b")
    a.send(FrameKind.ROWS, bytes(64))
    with pytest.raises(WorkerError, match=r"b?a? ?sent 64 bytes of kind 5; expected ROWS of at most 63"):
        b.receive(FrameKind.ROWS, most=63)
    a.close()
    with pytest.raises(WorkerError, match="has ended"):
        Channel(socket.socketpair()[0], "gone").receive(FrameKind.ROWS)
    b.close()


def test_addresses() -> None:
    assert parse_address("[::1]:80") == ("::1", 80)
    assert parse_ranks("a.b:1*7,local") == (Rank(), Rank(("a.b", 1), 7), Rank())
    for bad in ("host", "host:", ":7", "host:99999", "host:7*2", "::1:7"):
        with pytest.raises(ParameterError, match="must be HOST:PORT"):
            parse_address(bad)
    with pytest.raises(ParameterError, match="cannot listen at"):
        listen_at(("192.0.2.1", 1))
    with pytest.raises(IntactError, match="expected at most 64"):
        parse_ranks(",".join(["local"] * 65))
