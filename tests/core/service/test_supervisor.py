"""core.service.supervisor with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from core.errors import UnavailableError
from core.service import supervisor as module
from core.service.launch import PASS_VARIABLE
from core.service.supervisor import ControlChannel, Message, RestartPolicy, Supervisor, WorkerSpec
from tests.paths import ROOT

ECHO = Path(__file__).with_name("echo_worker.py")
PATIENCE_S = 20.0
AT_ONCE = RestartPolicy(tolerated=2, first_delay_s=0.001, last_delay_s=0.001)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(PASS_VARIABLE, "PYTHONPATH")


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def echo_spec(udp: socket.socket) -> WorkerSpec:
    return WorkerSpec("echo", [sys.executable, str(ECHO), str(udp.fileno())], [udp.fileno()])


def command(code: str) -> WorkerSpec:
    return WorkerSpec("snippet", [sys.executable, "-c", code])


def greeting() -> Message:
    return {"type": "greet", "word": "hello"}


class Inbox:
    """What workers said, to be awaited."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Message] = asyncio.Queue()

    def __call__(self, index: int, message: Message) -> None:
        self.queue.put_nowait({"index": index, **message})

    async def next(self) -> Message:
        return await asyncio.wait_for(self.queue.get(), PATIENCE_S)


@contextlib.asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[Supervisor]:
    await asyncio.wait_for(supervisor.start(), PATIENCE_S)
    try:
        yield supervisor
    finally:
        await supervisor.stop({"type": "stop"}, PATIENCE_S)


async def ask(port: int) -> int:
    """The pid of the worker that answers on a UDP port."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", port))
        client.send(b"who")
        answer = await asyncio.wait_for(loop.sock_recv(client, 100), PATIENCE_S)
    return int(answer.rpartition(b" ")[2])


def pid_of(supervisor: Supervisor, index: int = 0) -> int:
    process = supervisor.workers[index].process
    assert process is not None
    return process.pid


def wait_until_gone(pid: int) -> None:
    """Until a process that need not be our child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], PATIENCE_S)[0], f"process {pid} is still there"
    finally:
        os.close(pidfd)


def test_a_killed_worker_is_replaced_on_the_same_socket_and_greeted_again(udp: socket.socket) -> None:
    async def scenario() -> None:
        inbox = Inbox()
        async with running(Supervisor([echo_spec(udp)], inbox, greeting)) as supervisor:
            port = udp.getsockname()[1]
            first = await ask(port)
            assert await inbox.next() == {"index": 0, "type": "greeted", "word": "hello", "pid": first}
            os.kill(first, signal.SIGKILL)
            second = await ask(port)  # waits in the socket's buffer until there is somebody again
            assert second != first
            assert (await inbox.next())["pid"] == second
            await asyncio.wait_for(supervisor.workers[0].ready.wait(), PATIENCE_S)
            assert supervisor.workers[0].restarts == 1

    asyncio.run(scenario())


def test_siblings_of_a_dead_worker_go_on(udp: socket.socket) -> None:
    async def scenario() -> None:
        inbox = Inbox()
        async with running(Supervisor([echo_spec(udp)] * 2, inbox, greeting)) as supervisor:
            greeted = {(await inbox.next())["pid"], (await inbox.next())["pid"]}
            victim, survivor = pid_of(supervisor, 0), pid_of(supervisor, 1)
            assert greeted == {victim, survivor}
            os.kill(victim, signal.SIGKILL)
            again = await inbox.next()
            assert again["index"] == 0
            assert pid_of(supervisor, 1) == survivor
            assert [w.restarts for w in supervisor.workers] == [1, 0]

    asyncio.run(scenario())


def test_messages_reach_every_worker(udp: socket.socket) -> None:
    async def scenario() -> None:
        inbox = Inbox()
        async with running(Supervisor([echo_spec(udp)] * 2, inbox)) as supervisor:
            supervisor.broadcast({"type": "greet", "word": "reload"})
            said = [await inbox.next(), await inbox.next()]
            assert {m["index"] for m in said} == {0, 1}
            assert {m["word"] for m in said} == {"reload"}

    asyncio.run(scenario())


def test_a_clean_stop_ends_every_process(udp: socket.socket) -> None:
    async def scenario() -> list[int]:
        supervisor = Supervisor([echo_spec(udp)] * 2)
        await asyncio.wait_for(supervisor.start(), PATIENCE_S)
        pids = [pid_of(supervisor, 0), pid_of(supervisor, 1)]
        waiting = asyncio.create_task(supervisor.wait())
        await supervisor.stop({"type": "stop"}, PATIENCE_S)
        await asyncio.wait_for(waiting, PATIENCE_S)
        assert [w.process.returncode for w in supervisor.workers if w.process] == [0, 0]
        return pids

    for pid in asyncio.run(scenario()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_that_does_not_stop_in_time_is_killed(udp: socket.socket) -> None:
    async def scenario() -> None:
        supervisor = Supervisor([echo_spec(udp)])
        await asyncio.wait_for(supervisor.start(), PATIENCE_S)
        await supervisor.stop({"type": "hang"}, 0.2)
        process = supervisor.workers[0].process
        assert process is not None
        assert process.returncode == -signal.SIGKILL

    asyncio.run(scenario())


def test_a_stop_reaches_a_worker_that_waits_for_its_restart(
    udp: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        patient = RestartPolicy(first_delay_s=3600, last_delay_s=3600)
        said = asyncio.Event()
        monkeypatch.setattr(module.logger, "error", lambda *_: said.set())
        supervisor = Supervisor([echo_spec(udp)], policy=patient)
        await asyncio.wait_for(supervisor.start(), PATIENCE_S)
        worker = supervisor.workers[0]
        os.kill(pid_of(supervisor), signal.SIGKILL)
        await asyncio.wait_for(said.wait(), PATIENCE_S)
        await asyncio.wait_for(supervisor.stop({"type": "stop"}, 3600), PATIENCE_S)
        assert worker.restarts == 1
        assert worker.control is None

    asyncio.run(scenario())


def test_too_many_deaths_end_the_service_and_all_its_workers(udp: socket.socket) -> None:
    async def scenario() -> list[int]:
        inbox = Inbox()
        supervisor = Supervisor([echo_spec(udp)] * 2, inbox, greeting, AT_ONCE)
        await asyncio.wait_for(supervisor.start(), PATIENCE_S)
        waiting = asyncio.create_task(supervisor.wait())
        survivor = pid_of(supervisor, 1)
        await inbox.next(), await inbox.next()
        for death in range(AT_ONCE.tolerated + 1):
            if death:
                assert (await inbox.next())["index"] == 0
            os.kill(pid_of(supervisor, 0), signal.SIGKILL)
        with pytest.raises(UnavailableError, match=r"echo keeps dying \(last time: signal 9, Killed\)"):
            await asyncio.wait_for(waiting, PATIENCE_S)
        assert supervisor.is_stopping
        return [survivor]

    for pid in asyncio.run(scenario()):
        wait_until_gone(pid)


def test_a_worker_that_fails_at_the_start_fails_the_start(udp: socket.socket) -> None:
    async def scenario() -> list[int]:
        supervisor = Supervisor([echo_spec(udp), command("raise SystemExit(3)")])
        with pytest.raises(UnavailableError, match=r"snippet ended while .* starting \(exit status 3\)"):
            await asyncio.wait_for(supervisor.start(), PATIENCE_S)
        return [w.process.pid for w in supervisor.workers if w.process]

    for pid in asyncio.run(scenario()):
        wait_until_gone(pid)


def test_a_command_that_is_not_there_fails_the_start_with_its_name() -> None:
    async def scenario() -> None:
        with pytest.raises(UnavailableError, match="/no/such/program cannot be started: No such file"):
            await Supervisor([WorkerSpec("ghost", ["/no/such/program"])]).start()

    asyncio.run(scenario())


def test_a_worker_that_never_gets_ready_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_TIMEOUT_S", 0.1)

    async def scenario() -> None:
        with pytest.raises(UnavailableError, match="signal 9"):
            await asyncio.wait_for(Supervisor([command("import signal; signal.pause()")]).start(), PATIENCE_S)

    asyncio.run(scenario())


def test_a_worker_that_reads_no_messages_is_killed_and_replaced(
    udp: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        inbox = Inbox()
        async with running(Supervisor([echo_spec(udp)], inbox, greeting)) as supervisor:
            first = (await inbox.next())["pid"]
            os.kill(pid_of(supervisor), signal.SIGSTOP)
            process = supervisor.workers[0].process
            assert process is not None
            for _ in range(1000):  # a socket pair holds a few hundred kilobytes
                supervisor.broadcast({"type": "greet", "word": "x" * 60_000})
            while (again := await inbox.next())["pid"] == first:
                pass
            assert again["word"] == "hello"
            assert process.returncode == -signal.SIGKILL

    asyncio.run(scenario())
    assert caplog.text.count("does not read its control socket") == 1


def test_a_worker_that_stands_still_is_killed_and_replaced(
    udp: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.05)

    async def scenario() -> None:
        inbox = Inbox()
        async with running(Supervisor([echo_spec(udp)] * 2, inbox, greeting)) as supervisor:
            await inbox.next(), await inbox.next()
            victim, survivor = pid_of(supervisor, 0), pid_of(supervisor, 1)
            process = supervisor.workers[0].process
            os.kill(victim, signal.SIGSTOP)
            assert (await inbox.next())["index"] == 0
            assert process is not None
            assert process.returncode == -signal.SIGKILL
            await asyncio.wait_for(supervisor.workers[0].ready.wait(), PATIENCE_S)
            assert pid_of(supervisor, 1) == survivor
            assert [worker.restarts for worker in supervisor.workers] == [1, 0]

    asyncio.run(scenario())
    assert "echo has not answered for 0.4 s; killed" in caplog.text


def test_a_supervisor_that_was_stopped_itself_kills_nobody(
    udp: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many times the limit passes while neither can ask or answer: then each has one answer to give."""
    monkeypatch.setattr(module, "BEAT_S", 0.05)

    async def scenario() -> None:
        async with running(Supervisor([echo_spec(udp)] * 2)) as supervisor:
            pids = [pid_of(supervisor, 0), pid_of(supervisor, 1)]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(20 * module.BEAT_S)  # noqa: ASYNC251 - the loop stands still, as if it were stopped
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            for index, pid in enumerate(pids):
                worker = supervisor.workers[index]
                worker.unanswered = 1
                while worker.unanswered:  # noqa: ASYNC110 - until it has answered what came after
                    await asyncio.sleep(0.01)
                assert (pid_of(supervisor, index), worker.restarts) == (pid, 0)

    asyncio.run(scenario())


def test_a_worker_that_is_busy_for_less_than_the_limit_is_left_alone(
    udp: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.05)
    monkeypatch.setattr(module, "SILENT_BEATS", 100)

    async def scenario() -> None:
        async with running(Supervisor([echo_spec(udp)])) as supervisor:
            pid, worker = pid_of(supervisor), supervisor.workers[0]
            os.kill(pid, signal.SIGSTOP)
            while worker.unanswered < 5:  # noqa: ASYNC110 - counted by the clock alone
                await asyncio.sleep(0.01)
            os.kill(pid, signal.SIGCONT)
            while worker.unanswered > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert (pid_of(supervisor), worker.restarts) == (pid, 0)

    asyncio.run(scenario())


def test_it_is_known_for_how_long_a_worker_is_silent(
    udp: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.05)
    monkeypatch.setattr(module, "SILENT_BEATS", 1000)

    async def scenario() -> None:
        async with running(Supervisor([echo_spec(udp)] * 2)) as supervisor:
            pid = pid_of(supervisor, 1)
            os.kill(pid, signal.SIGSTOP)
            while supervisor.silent_s < 0.5:  # noqa: ASYNC110 - the other answers all the time
                await asyncio.sleep(0.01)
            os.kill(pid, signal.SIGCONT)
            while supervisor.silent_s > 0.4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert supervisor.silent_s == 0.0, "who is to end has nothing to say"

    asyncio.run(scenario())


def test_cancelling_wait_leaves_the_workers_alone(udp: socket.socket) -> None:
    async def scenario() -> None:
        async with running(Supervisor([echo_spec(udp)])) as supervisor:
            waiting = asyncio.create_task(supervisor.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await ask(udp.getsockname()[1]) == pid_of(supervisor)

    asyncio.run(scenario())


PARENT = """
import asyncio, sys
from core.service.supervisor import Supervisor, WorkerSpec
async def main():
    spec = WorkerSpec("echo", [sys.executable, *sys.argv[1:]], [int(sys.argv[2])])
    supervisor = Supervisor([spec])
    await supervisor.start()
    print(supervisor.workers[0].process.pid, flush=True)
    await supervisor.wait()
asyncio.run(main())
"""


def test_an_orphan_exits_when_its_parent_was_killed(udp: socket.socket) -> None:
    fd = udp.fileno()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(ECHO), str(fd)], pass_fds=[fd], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        try:
            orphan = int(parent.stdout.readline())
            os.kill(orphan, 0)
        finally:
            parent.kill()
    wait_until_gone(orphan)


def test_a_message_that_would_be_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 65536"):
        module._encode({"type": "x" * 65536})


def test_a_worker_whose_parent_is_gone_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        monkeypatch.setenv(module.CONTROL_FD_VARIABLE, str(theirs.detach()))
        channel = ControlChannel()
        ours.close()
        channel.send({"type": "stats"})
        await asyncio.wait_for(channel.listen(lambda message: None), PATIENCE_S)
        channel._socket.close()

    asyncio.run(scenario())
    assert "dropped a stats message" in caplog.text


@pytest.mark.parametrize(
    ("recent", "delay_s"), [(1, 0.05), (2, 0.1), (4, 0.4), (7, 3.2), (8, 5.0), (10, 5.0)]
)
def test_restarts_slow_down_up_to_a_bound(recent: int, delay_s: float) -> None:
    assert RestartPolicy().delay_s(recent) == pytest.approx(delay_s)
