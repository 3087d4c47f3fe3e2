"""The fast path's checks of STUN and token against Python's, on the same inputs: never another verdict.

The relay sees only what the program lets up, so what the program drops the relay must drop as well; and where
both come to the token, they say the same of it. The relay is stricter with STUN: it sees the whole message.
"""

from __future__ import annotations

import ctypes
import random
import struct
import subprocess
from enum import IntEnum
from pathlib import Path

import pytest

from core.demux import is_well_formed_untrusted
from core.errors import TokenError, WireError
from core.keyring import KEY_IDS, Keyring
from core.stun import Attribute, StunReason, encode, is_binding_request_untrusted, parse_untrusted
from core.token import Token, TokenReason, mint, open_untrusted
from core.ufrag import split_username_untrusted
from ebpf.layout import TokenKey
from ebpf.loader import PROGRAM_DIR
from tests.pcap import CAPTURES, read_datagrams
from tests.suite.fuzzing import examples
from tests.vectors.first_headers import FIRST_HEADERS

HARNESS = Path(__file__).with_name("judge_request.c")
INPUTS = 60_000
KEYRING = Keyring({3: bytes(range(32)), 9: bytes(range(100, 132))}, mint_with=3)
MAX_BYTES = 1472


class Judgement(IntEnum):
    """As in the harness."""

    NO_REQUEST = 0
    MALFORMED = 1
    NO_USERNAME = 2
    BAD_LENGTH = 3
    BAD_ALPHABET = 4
    BAD_VERSION = 5
    UNKNOWN_KEY = 6
    BAD_TAG = 7
    EXPIRED = 8
    GOOD = 9


OF_TOKEN = {
    TokenReason.BAD_ALPHABET: Judgement.BAD_ALPHABET,
    TokenReason.BAD_VERSION: Judgement.BAD_VERSION,
    TokenReason.UNKNOWN_KEY: Judgement.UNKNOWN_KEY,
    TokenReason.BAD_TAG: Judgement.BAD_TAG,
    TokenReason.EXPIRED: Judgement.EXPIRED,
}


class Program:
    """The pure headers of the program, on the host."""

    def __init__(self, library: Path) -> None:
        functions = ctypes.CDLL(str(library))
        self._judge = functions.judge_request
        self._is_well_formed = functions.is_well_formed
        self._frame = (ctypes.c_uint8 * (8 + MAX_BYTES))()
        self._keys = (TokenKey * 32)()
        for key_id in KEY_IDS:
            key = KEYRING.tag_key(key_id)
            if key is not None:
                self._keys[key_id] = TokenKey(*struct.unpack("<QQ", key), 1, 0)

    def judge(self, datagram: bytes, now_min: int) -> Judgement:
        ctypes.memmove(ctypes.addressof(self._frame) + 8, datagram, len(datagram))
        outcome = self._judge(self._frame, len(datagram), self._keys, ctypes.c_uint16(now_min & 0xFFFF))
        return Judgement(outcome)

    def is_well_formed(self, datagram: bytes) -> bool:
        ctypes.memmove(ctypes.addressof(self._frame) + 8, datagram, len(datagram))
        return bool(self._is_well_formed(self._frame, len(datagram)))


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    library = tmp_path_factory.mktemp("host") / "judge_request.so"
    flags = ["-O2", "-Wall", "-Werror", "-fno-strict-aliasing", "-shared", "-fPIC", f"-I{PROGRAM_DIR}"]
    subprocess.run(["clang", *flags, str(HARNESS), "-o", str(library)], check=True)
    return Program(library)


def judge_in_python(datagram: bytes, now_min: int) -> Judgement | StunReason:
    """What the relay says; of STUN that is malformed, in which way."""
    if not is_binding_request_untrusted(datagram):
        return Judgement.NO_REQUEST
    try:
        username = parse_untrusted(datagram).get(Attribute.USERNAME)
        parts = None if username is None else split_username_untrusted(username)
        if parts is None:
            return Judgement.NO_USERNAME
        open_untrusted(parts[0], KEYRING, now_min)
    except TokenError as error:
        reason = TokenReason(error.reason)
        return Judgement.BAD_LENGTH if reason is TokenReason.BAD_LENGTH else OF_TOKEN[reason]
    except WireError as error:
        return StunReason(error.reason)
    return Judgement.GOOD


class Inputs:
    """Requests that are right, and what is one or a few changes away from them."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def next(self) -> tuple[bytes, int]:
        """A datagram, and the time in minutes at which it comes."""
        chance = self._chance
        now_min = chance.choice([0, 29_900_000, 0xFFFF, 0x10000, chance.getrandbits(25)])
        datagram = bytearray(self._request(now_min))
        for _ in range(chance.choice([0, 0, 1, 1, 2, 8])):
            self._change(datagram)
        return bytes(datagram[:MAX_BYTES]), now_min

    def _request(self, now_min: int) -> bytes:
        chance = self._chance
        expiry = now_min + chance.choice([0, -1, 1, 60, -60, 0x7FFF, 0x8000, chance.getrandbits(16)])
        fields = (chance.getrandbits(16), chance.getrandbits(32), chance.getrandbits(16), expiry & 0xFFFF)
        ufrag = bytearray(
            mint(Token(chance.choice([3, 9]), *fields, chance.getrandbits(16)), KEYRING).encode()
        )
        for _ in range(chance.choice([0, 0, 0, 1, 3])):
            ufrag[chance.randrange(len(ufrag))] = chance.choice(b"+/=Az09:-_\0\x80\xff")
        del ufrag[len(ufrag) - chance.choice([0, 0, 0, 0, 1, 28]) :]
        username = bytes(ufrag) + chance.choice([b":abcd", b":abcd", b":", b"", b"A:x", b":a:b"])
        before = [(chance.choice([0x24, 0x8022, 0x25, 0x20, 6]), chance.randbytes(chance.randrange(9)))
                  for _ in range(chance.choice([0, 0, 1, 2, 31]))]  # fmt: skip
        attributes = [*before, (Attribute.USERNAME, username), (Attribute.PRIORITY, bytes(4))]
        return encode(1, chance.randbytes(12), attributes, b"password")

    def _change(self, datagram: bytearray) -> None:
        chance = self._chance
        at = chance.randrange(len(datagram) + 1) if datagram else 0
        match chance.randrange(4):
            case 0 if at < len(datagram):
                datagram[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(datagram):
                datagram[at] = chance.choice([0, 0xFF, 0x80, chance.getrandbits(8)])
            case 2:
                del datagram[at:]
            case _:
                datagram[at:at] = chance.randbytes(chance.choice([1, 2, 4, 64]))


@pytest.mark.fuzz
def test_the_program_says_what_python_says(program: Program) -> None:
    """Each seed is a thousand inputs; a failure names its own."""
    come_to = set[Judgement]()
    for seed in examples(range(INPUTS // 1000)):
        inputs = Inputs(random.Random(seed))
        for number in range(1000):
            datagram, now_min = inputs.next()
            told, wanted = program.judge(datagram, now_min), judge_in_python(datagram, now_min)
            come_to.add(told)
            where = f"seed {seed}, input {number}, minute {now_min}: {datagram.hex()}"
            if isinstance(wanted, Judgement) and Judgement.GOOD in (wanted, told):
                assert told == wanted, where
            if wanted is Judgement.NO_REQUEST or told is Judgement.NO_REQUEST:
                assert told == wanted, where
            if isinstance(wanted, Judgement) and min(wanted, told) >= Judgement.BAD_ALPHABET:
                assert told == wanted, where
    assert come_to == set(Judgement), "inputs of every kind"


def test_first_headers_are_the_same(program: Program) -> None:
    """Of real datagrams, of what is a change away from them, and of noise of every length."""
    chance = random.Random(7983)
    real = [d.payload for d in read_datagrams(CAPTURES / "chromium-lite.pcap")]
    real += [data for data, _ in FIRST_HEADERS.values()]
    outcomes = {True: 0, False: 0}
    for _ in range(40_000):
        datagram = bytearray(chance.choice(real)[:MAX_BYTES] or b"\0")
        match chance.randrange(3):
            case 0:
                datagram[chance.randrange(min(len(datagram), 16))] = chance.getrandbits(8)
            case 1:
                del datagram[chance.randrange(len(datagram)) :]
            case _:
                datagram = bytearray(chance.randbytes(chance.randrange(90)))
        wanted = is_well_formed_untrusted(datagram)
        assert program.is_well_formed(bytes(datagram)) == wanted, datagram.hex()
        outcomes[wanted] += 1
    assert min(outcomes.values()) > 4_000
