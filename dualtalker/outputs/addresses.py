"""Which outputs there are, by the scheme of their address."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from dualtalker.outputs.ifacialmocap import IFacialMocapOutput
from dualtalker.outputs.live_link_udp import LiveLinkOutput
from dualtalker.outputs.output import DatagramOutput, Output, split_address
from dualtalker.outputs.vmc import VmcOutput
from dualtalker.outputs.vrchat import VrchatOutput

_KINDS: tuple[type[DatagramOutput], ...] = (
    VmcOutput,
    LiveLinkOutput,
    IFacialMocapOutput,
    VrchatOutput,
)


def open_output(address: str) -> Output:
    """Open an output by its address, such as `vmc://HOST:PORT`; the usual port may be left out.

    Raises:
        OutputError: there is no such output, or no such host.
    """
    schemes = {kind.scheme: kind for kind in _KINDS}
    parts = split_address(address, schemes)
    return schemes[parts.scheme](parts)


@contextlib.contextmanager
def outputs_open(addresses: Sequence[str]) -> Iterator[list[Output]]:
    """Open several outputs for the `with`."""
    with contextlib.ExitStack() as stack:
        outputs = []
        for address in addresses:
            outputs.append(open_output(address))
            stack.callback(outputs[-1].close)
        yield outputs
