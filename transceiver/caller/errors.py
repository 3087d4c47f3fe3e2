"""Why a call failed, in one line that says at which stage."""

from __future__ import annotations

from enum import StrEnum

from core.errors import VoxpopError


class Stage(StrEnum):
    """What a call goes through, in order."""

    SIGNALING = "signaling"
    ICE = "ice"
    DTLS = "dtls"
    AUDIO = "audio"
    CONVERSATION = "conversation"


class CallError(VoxpopError):
    """The call failed at `stage`."""

    def __init__(self, stage: Stage, message: str) -> None:
        super().__init__(f"{stage}: {message}")
        self.stage = stage


class RestartRefusedError(CallError):
    """The server takes no ICE restart. `is_gone`: because it does not know the call any more."""

    def __init__(self, is_gone: bool, message: str) -> None:
        super().__init__(Stage.ICE, message)
        self.is_gone = is_gone
