"""Messages of Open Sound Control (OSC) and their bundles, by python-osc."""

from __future__ import annotations

from dualtalker.errors import OutputError

MOST_DATAGRAM_BYTES = 1472  # of UDP in an Ethernet frame
_SIZE = 4  # bytes that tell the size of a message


def need_osc(scheme: str) -> None:
    """Raise OutputError where python-osc is missing."""
    try:
        import pythonosc  # noqa: F401
    except ModuleNotFoundError as error:
        raise OutputError(
            f"{scheme}:// needs the package python-osc ({error}): python -m pip install python-osc"
        ) from error


def write_message(address: str, *values: str | float | bool) -> bytes:
    """Return a message as it goes over the network."""
    from pythonosc.osc_message_builder import OscMessageBuilder

    message = OscMessageBuilder(address)
    for value in values:
        message.add_arg(value)
    return message.build().dgram


def bundle_messages(messages: list[bytes]) -> list[bytes]:
    """Put messages into as few bundles of `MOST_DATAGRAM_BYTES` as hold them, in order."""
    begin = b"#bundle\0" + (1).to_bytes(8, "big")  # at once
    bundles = [begin]
    for message in messages:
        if len(bundles[-1]) + _SIZE + len(message) > MOST_DATAGRAM_BYTES:
            bundles.append(begin)
        bundles[-1] += len(message).to_bytes(_SIZE, "big") + message
    return bundles
