"""The key-encryption keys of a hub: the one in force and those that are still accepted. Given, printed by a command, or the master's.

Where `secrets.vault` is not set the key is derived from the master. That one is accepted in any case, so that a hub can move to a key
of its own, and back.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from hub.config.serving import VaultKey
from hub.store.envelope import Kek, kek_of
from hub.store.secrets import Secrets, UnusableSecret, decoded

PATIENCE = 10.0
"""Seconds a command has to print a key."""

MOST = 4096
"""Bytes it may print."""

_PURPOSE = "vault"


class Keks(Struct, frozen=True):
    """`present` wraps what is stored from now on; `known` are all that open what is there, by id."""

    present: Kek
    known: Mapping[str, Kek]

    def __repr__(self) -> str:
        return f"Keks(present={self.present!r})"


def keks(secrets: Secrets, given: VaultKey | None) -> Keks:
    """Raises `UnusableSecret`; its message holds nothing of what a command printed."""
    own = kek_of(secrets.derive(_PURPOSE))
    present, others = own, list[Kek]()
    if given is not None:
        if given.key is not None:
            present = kek_of(decoded(given.key.value, "secrets.vault.key"))
        elif given.command:
            present = kek_of(decoded(printed(given.command), "what the command of secrets.vault printed"))
        others = [kek_of(decoded(one.value, "secrets.vault.accepted")) for one in given.accepted]
    return Keks(present, {kek.id: kek for kek in (own, *others, present)})


def printed(command: Sequence[str]) -> str:
    """What a program prints, run without a shell in the hub's own environment. What it says on stderr goes nowhere."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise UnusableSecret(
            f"the command of secrets.vault cannot be started: {getattr(error, 'strerror', '') or 'not a program'}"
        ) from None
    assert process.stdout is not None
    end = time.monotonic() + PATIENCE
    try:
        text = _bounded(process.stdout.fileno(), end)
        code = process.wait(max(0.0, end - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        raise UnusableSecret(f"the command of secrets.vault did not end within {PATIENCE:g} seconds") from None
    finally:
        process.stdout.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code:
        raise UnusableSecret(f"the command of secrets.vault ended with exit code {code}")
    return text


def _bounded(file: int, end: float) -> str:
    content = b""
    while select.select([file], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(file, MOST)
        content += part
        if not part:
            return content.decode("ascii", "replace")
        if len(content) > MOST:
            raise UnusableSecret(f"the command of secrets.vault printed more than {MOST} bytes")
    raise TimeoutError
