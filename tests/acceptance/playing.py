"""A playbook that is played while something else is looked at: what it does is known by what it says."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from tests.acceptance import wires
from tests.acceptance.ansible import Recap
from tests.acceptance.errors import UnmetError
from tests.acceptance.scene import VOXPOP, Scene
from tests.paths import ROOT

POLL_S = 0.2


def has_begun(said: str, task: str) -> bool:
    """Whether Ansible has said that it begins a task, by its role and name."""
    return f"\nTASK [{task}] " in said


def variables(**values: object) -> tuple[str, str]:
    """Options that set variables for a play."""
    return "--extra-vars", json.dumps(values)


def calling_variables(scene: Scene) -> dict[str, object]:
    """By which playbooks place calls from where the client is."""
    environment = ["env", f"--chdir={ROOT}", f"SSL_CERT_FILE={scene.playbooks.certificate}"]
    return {
        "base_call_command": ["ip", "netns", "exec", wires.CLIENT, *environment, *VOXPOP],
        "base_call_url": wires.SIGNALING,
        "base_call_api_key_file": str(scene.playbooks.api_key),
    }


class Playing:
    """One that is played in a thread, once it is begun."""

    def __init__(self, scene: Scene, name: str, options: tuple[str, ...], pool: Executor) -> None:
        self._scene = scene
        self._name = name
        self._options = options
        self._pool = pool
        self._log = scene.playbooks.log(name)
        self._played: Future[dict[str, Recap]] | None = None

    def begin(self) -> None:
        """To be called once."""
        self._log.unlink(missing_ok=True)  # what was said the last time is not meant
        hosts = self._scene.hosts
        self._played = self._pool.submit(self._scene.playbooks.play, self._name, hosts, *self._options)

    def until(self, task: str) -> None:
        """Wait until a task begins, by its role and name. Raises UnmetError when the play ends before."""
        assert self._played is not None
        while not has_begun(self._said(), task):
            if self._played.done() and not has_begun(self._said(), task):
                self.result()
                raise UnmetError(f"{self._name} has never begun {task}: see {self._log}")
            time.sleep(POLL_S)

    def _said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def result(self) -> dict[str, Recap]:
        """What was done, when it is over. Raises what the play raises."""
        assert self._played is not None
        return self._played.result()


@contextlib.contextmanager
def playing(scene: Scene, name: str, *options: str) -> Iterator[Playing]:
    """A playbook by its full name, for all hosts, to be begun; it comes to its end, whatever happens."""
    with ThreadPoolExecutor(1) as pool:
        yield Playing(scene, name, options, pool)
