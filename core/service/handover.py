"""What workers are told by their supervisor, at the start and after each reload: the whole configuration.

It holds keys, those that a worker needs and no master key, so it goes over the control socket only: a command
line or an environment is readable for others. Workers open no file of the operator's, so one that is
half-edited cannot keep a worker that died from coming back. They parse the document that the supervisor has
parsed before, so a new key of the configuration needs its declaration and its use, and nothing between.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from core.config import Config, parse
from core.errors import ConfigError
from core.keyring import Keyring, Purpose
from core.service.files import (
    keys_path,
    load_certificates,
    load_document,
    load_masters,
    load_password,
    validate,
)
from core.service.supervisor import MESSAGE_BYTES, Message
from core.store_url import StoreSecrets

SETTINGS = "settings"
DRAIN = "drain"
UNDRAIN = "undrain"
EXPEL = "expel"
STOP = "stop"
"""Types of messages to a worker. The first of each is settings. drain: take no new work. undrain: take new
work again. expel: end what is left of the old, and stay. stop: let go of everything, and end.
"""
DRAINED = "drained"
"""Type of the message of a worker that drains and has nothing left."""
DRAIN_NUMBER = "drain_number"
"""Of which drain: the key of that in `drain`, `drained` and the settings, where 0 is none."""
IS_EXPELLING = "is_expelling"
"""The key of settings for whether its time is over already, for a worker that finds something left."""
DRAIN_ROOM_BYTES = 16
"""What a number takes in the settings."""


KEYS = "keys"
"""The key of a message for what `decode_keyring` reads."""
STORE = "store_secrets"
"""The key of a message for what `decode_store_secrets` reads."""


class WorkerSettings(Protocol):
    """What a worker of any kind knows."""

    @property
    def config(self) -> Config:
        """The whole configuration."""

    @property
    def keyring(self) -> Keyring:
        """The keys of `token.keys_file`."""


S = TypeVar("S", bound=WorkerSettings)
S_co = TypeVar("S_co", bound=WorkerSettings, covariant=True)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S_co]):
    """A configuration that passed every check, and what the workers are told of it."""

    settings: S_co
    message: Message


def load(
    path: Path,
    judge: Callable[[Config, Path], Mapping[str, object]],
    decode: Callable[[Message], S],
    room_bytes: int = 0,
    complete: Callable[[Mapping[str, object], Config], Mapping[str, object]] | None = None,
    *,
    purposes: Collection[Purpose] = (Purpose.TAG,),
    ours: bool = False,
) -> Loaded[S]:
    """Read and check a configuration and the files that it points to.

    `judge` checks what this daemon wants beyond the declarations, and returns what else its workers must
    know; `decode` is what they make of the message, which has keys for `purposes` and no others: what we keep
    ourselves has all. `room_bytes` is what the daemon adds to the message later. `complete` puts into the
    document what only this host knows, and workers are told of. With `ours` all secrets belong to root or to
    our user. Raises ConfigError with every problem.
    """
    document: Mapping[str, object]
    document, config = load_document(path)
    if complete is not None:
        document = complete(document, config)
        config = validate(path, document)
    problems: list[str] = []
    with _collected(problems):
        secrets = load_store_secrets(config, path, ours=ours)
    with _collected(problems):
        more = judge(config, path)
    with _collected(problems):
        keyring = Keyring(*load_masters(keys_path(config, path), ours=ours))
    if problems:
        raise ConfigError(problems)
    message: Message = {
        "type": SETTINGS,
        "document": document,
        KEYS: keyring.share(purposes),
        DRAIN_NUMBER: 0,
        IS_EXPELLING: False,
        STORE: secrets,
        **more,
    }
    _check_size(path, message, room_bytes)
    return Loaded(decode({**message, KEYS: keyring.share([*Purpose])}), message)


@contextlib.contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Go on after a ConfigError, with its problems among the others."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def _check_size(path: Path, message: Message, room_bytes: int) -> None:
    size = len(json.dumps(message)) + DRAIN_ROOM_BYTES + room_bytes
    if size > MESSAGE_BYTES:
        raise ConfigError(
            [
                f"{path}: with its keys, this is more than a worker can take, {size} bytes of at most "
                f"{MESSAGE_BYTES}: use fewer [[cluster]] and [[pop]] tables, or fewer keys"
            ]
        )


def decode_config(message: Message) -> Config:
    """The configuration in a message."""
    document: Any = message["document"]
    return parse(document)


def decode_keyring(message: Message) -> Keyring:
    """The keys in a message."""
    shared: Any = message[KEYS]
    return Keyring.of_share(shared)


def load_store_secrets(config: Config, path: Path, *, ours: bool = False) -> StoreSecrets | None:
    """The files that [store] names, relative paths counted from the configuration file; None without a table.

    Raises ConfigError with every problem.
    """
    store = config.store
    if store is None:
        return None
    password = ca_pem = None
    problems: list[str] = []
    with _collected(problems):
        if store.password_file is not None:
            password = load_password(path.parent / store.password_file, ours=ours)
    with _collected(problems):
        ca_pem = None if store.ca_file is None else load_certificates(path.parent / store.ca_file)
    if problems:
        raise ConfigError(problems)
    return StoreSecrets(password, ca_pem)


def decode_store_secrets(message: Message) -> StoreSecrets | None:
    """What the files of [store] say, in a message."""
    secrets: Any = message[STORE]
    return None if secrets is None else StoreSecrets(*secrets)
