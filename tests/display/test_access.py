"""Who may see the face."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.display.access import Access, check_host, is_loopback, list_addresses
from dualtalker.errors import DisplayError

NAME = socket.gethostname().lower()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("robot.local", False),
        ("localhost.example.org", False),
    ],
)
def test_only_loopback_needs_no_token(host, expected):
    assert is_loopback(host) is expected
    assert (Access(host, 7652).token is None) is expected


def test_a_token_has_128_bits_and_is_another_each_time():
    tokens = {Access("0.0.0.0", 7652).token for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(token) >= 22 for token in tokens)  # 128 bits by 6 a letter


@pytest.mark.parametrize("host", ["127.0.0.1:7652", "localhost:7652", "LOCALHOST", "[::1]:7652"])
def test_this_machine_is_known_on_loopback(host):
    assert Access("127.0.0.1", 7652).knows_host(host)


FOREIGN = [
    *(None, "", "evil.example", "evil.example:7652", "localhost.evil.example", "127.0.0.1.nip.io"),
    *("user@localhost", "localhost/x", "localhost:port", "localhost:99999999", "[::1", "a b"),
]


@pytest.mark.parametrize("host", [*FOREIGN, "192.168.1.7:7652"])
def test_other_names_are_not_known_on_loopback(host):
    assert not Access("127.0.0.1", 7652).knows_host(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_other_names_are_not_known_on_a_network(host):
    assert not Access("0.0.0.0", 7652).knows_host(host)


@pytest.mark.parametrize(
    "host", ["192.168.1.7:7652", "[fe80::1]:7652", NAME, f"{NAME.split('.')[0]}.local:7652"]
)
def test_addresses_and_names_of_this_machine_are_known_on_a_network(host):
    assert Access("0.0.0.0", 7652).knows_host(host)


def test_names_may_be_added():
    access = Access("0.0.0.0", 7652, ["Robot.Example.org"])
    assert access.knows_host("robot.example.org:7652")
    assert not access.knows_host("other.example.org")


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        (None, True),
        ("http://127.0.0.1:7652", True),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:7653", False),
        ("http://evil.example", False),
        ("http://127.0.0.1:7652.evil.example", False),
        ("null", False),
        ("file://127.0.0.1:7652", False),
    ],
)
def test_only_the_own_page_opens_the_stream(origin, own):
    assert Access("127.0.0.1", 7652).is_own_origin(origin, "127.0.0.1:7652") is own


@settings(deadline=None)
@given(st.text() | st.none())
def test_no_other_token_is_taken(text):
    access = Access("0.0.0.0", 7652)
    assert not access.is_token(text)
    assert access.is_token(access.token)
    assert Access("127.0.0.1", 7652).is_token(text)


def test_addresses_carry_token_and_wishes():
    assert list_addresses("127.0.0.1", 7652, None) == ["http://127.0.0.1:7652/"]
    assert list_addresses("127.0.0.1", 1, None, "audio=1") == ["http://127.0.0.1:1/?audio=1"]
    assert list_addresses("::1", 1, None) == ["http://[::1]:1/"]
    found = list_addresses("0.0.0.0", 1, "abc", "face=2d")
    assert found
    assert all(address.endswith(":1/?token=abc&face=2d") for address in found)
    assert not any("0.0.0.0" in address for address in found)


@pytest.mark.parametrize("host", ["", "a b", "http://robot", "robot/face", "x\n"])
def test_what_is_no_host_is_refused(host):
    with pytest.raises(DisplayError, match=r"127\.0\.0\.1"):
        check_host(host)


@pytest.mark.parametrize("name", ["robot", "robot.lan", "Robot.example.org"])
def test_addresses_that_are_told_are_answered(monkeypatch, name):
    """Also where the own name is 127.0.1.1, as on Debian: that reaches nobody from elsewhere."""
    own = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 0))]
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: own)
    access = Access("0.0.0.0", 7652)
    found = [address[len("http://") : -1] for address in list_addresses("0.0.0.0", 7652, None)]
    assert found[-1] == f"{name.split('.')[0]}.local:7652"
    assert all(access.knows_host(host) for host in found)
    assert not any(host.startswith("127.") for host in found)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))
        except OSError:  # no network at all
            return
        if not way.getsockname()[0].startswith("127."):
            assert len(found) == 2
