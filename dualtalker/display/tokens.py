"""The token of a face on the network, kept: a screen finds its face again after a restart."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import tempfile
from pathlib import Path

from dualtalker.display.access import TOKEN_BYTES, is_loopback
from dualtalker.errors import DisplayError

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,100}")
_log = logging.getLogger("dualtalker")


def keep_token(host: str) -> str | None:
    """Return this user's token for a face on `host`, made at first; None where none is needed.

    Also None where it cannot be kept, as without a home folder, which is logged: a server then
    makes another one each time. Raises DisplayError for a file that holds none.
    """
    if is_loopback(host):
        return None
    try:
        path = _find_file()
        if not path.exists():
            _write(path, secrets.token_urlsafe(TOKEN_BYTES))
        token = path.read_text("utf-8", errors="replace").strip()
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        _log.warning("the token is not kept (%s): the face has another address each time", error)
        return None
    if not _TOKEN.fullmatch(token):
        raise DisplayError(
            f"{path}: holds no token; expected 22 letters, digits, - and _ or more. "
            "Remove it: a new one is made"
        )
    return token


def _find_file() -> Path:
    """Return where the token is kept, by the XDG base directory specification."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "dualtalker" / "face_token"


def _write(path: Path, token: str) -> None:
    """Write a token for this user alone; of several programs at once, one does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".face_token.")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{token}\n")
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    finally:
        os.unlink(part)
