"""What an operator says of a backend over the network: [backend.realtime]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.schema import Kind, choice, integer, pattern, setting
from transceiver.backends.realtime.dialect import Dialect
from transceiver.backends.realtime.formats import FORMATS

MAX_MODELS = 64
_MODEL = re.compile(r"[\x21-\x7e]{1,128}")
_MODEL_WORDS = "a model's name of 1–128 printing characters"


def _models() -> Kind:
    words = f"a table of at most {MAX_MODELS}: the client's name of a model = the backend's"

    def parse(value: object) -> Mapping[str, str]:
        if not isinstance(value, Mapping) or len(value) > MAX_MODELS:
            raise ValueError(f"must be {words}")
        for name in (*value, *value.values()):
            if not isinstance(name, str) or not _MODEL.fullmatch(name):
                raise ValueError(f"must be {words}, each {_MODEL_WORDS}")
        return dict(value)

    return Kind(parse, words)


def _or_nothing(kind: Kind) -> Kind:
    return Kind(lambda value: "" if value == "" else kind.parse(value), kind.words)


_FILE = _or_nothing(pattern("an absolute path", r"/[^\x00-\x1f\x7f]*"))
_TOKEN = pattern("a token (RFC 9110 §5.6.2), such as api-key", r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """[backend.realtime]. A reload takes none; the key's file is read again with each connection."""

    url: str = setting(
        pattern(
            "a URL such as wss://api.example.com/v1/realtime, with a query if one is needed",
            r"wss?://[^\s/?#@]+(/[^\s?#]*)?(\?[^\s#]*)?",
        ),
        "where the backend is; the model is added to the query",
    )
    model: str = setting(
        _or_nothing(pattern(_MODEL_WORDS, _MODEL.pattern)),
        "the model for callers who name none, or one that is not in `models`",
        default="",
    )
    models: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "kind": _models(),
            "help": "what callers call models, and what the backend does",
            "reloadable": False,
        },
    )
    transcription: str = setting(
        _or_nothing(pattern(_MODEL_WORDS, _MODEL.pattern)),
        "the model that writes down what is said where a client wants that and names none, as GPT-Live's do",
        default="",
    )
    key_file: str = setting(_FILE, "a file with the key alone, which others cannot read", default="")
    key_header: str = setting(
        _TOKEN, "the header for it; `Authorization` gets `Bearer` before it", default="Authorization"
    )
    ca_file: str = setting(_FILE, "certificates in PEM to trust instead of the system's", default="")
    subprotocol: str = setting(
        _or_nothing(_TOKEN),
        "what Sec-WebSocket-Protocol asks for; unmute wants realtime",
        default="",
    )
    dialect: str = setting(
        choice(*Dialect), "ga, or beta for deployments that still speak that", default=str(Dialect.GA)
    )
    audio: str = setting(choice(*FORMATS), "what the backend takes and gives", default="pcm_24000")
    turns: str = setting(choice("ours", "backend"), "who tells the caller's turns apart", default="ours")
    connections: int = setting(integer(0, 64), "connections kept open ahead, per process", default=2)
    connect_timeout_s: int = setting(integer(1, 60, "s"), "for TCP, TLS and the upgrade together", default=10)
    answer_timeout_s: int = setting(
        integer(1, 120, "s"), "for the backend's first event after that", default=10
    )
    ping_interval_s: int = setting(
        integer(1, 300, "s"), "of silence until a ping; half of that until one unanswered ends it", default=20
    )
    reconnect_s: int = setting(
        integer(0, 300, "s"), "how long a call waits for its backend to come back", default=15
    )
    on_loss: str = setting(choice("tone", "silence"), "what the caller hears meanwhile", default="tone")
    buffer_s: int = setting(integer(1, 600, "s"), "of audio that may wait to be heard", default=120)
    max_message_kib: int = setting(integer(16, 16_384, "KiB"), "the longest message", default=1024)
