"""The storm: carries the strikes of a schedule out and heals them, and writes down for how long
each part was really away.

One thread does it all, in small steps: several faults may be on at once, and none may keep another
waiting.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from misc.native.trouble import Trouble
from tests.nemesis.deployment import Deployment
from tests.nemesis.history import DIED, Recorder, Window
from tests.nemesis.schedule import Strike

STEP = 0.05  # Seconds between two looks.
HUNT = 10.0  # Seconds in which a container must be found that can be killed.
FILLER = "filler"
FILL_STEP = 1024 * 1024
SLOW_SECONDS = 3.0
STARTED_AGAIN = {"kill-worker", "kill-redis", "kill-api", "restart-podman", DIED}


@dataclass(slots=True)
class _Fault:
    """A strike that is on."""

    strike: Strike
    began: float
    is_healed: bool = False


class Storm:
    """Everything that breaks in a run."""

    def __init__(
        self, deployment: Deployment, recorder: Recorder, say: Callable[[str], None]
    ) -> None:
        self._deployment, self._recorder, self._say = deployment, recorder, say
        self._faults: list[_Fault] = []

    def blow(self, strikes: tuple[Strike, ...], seconds: float) -> None:
        """Carry all strikes out at their times, until the run's time is over."""
        waiting = sorted(strikes, key=lambda strike: strike.at)
        while self._recorder.now() < seconds or waiting:
            while waiting and waiting[0].at <= self._recorder.now():
                self._begin(waiting.pop(0))
            self.look_after()
            time.sleep(STEP)

    def calm_down(self) -> None:
        """Wait until everything is healed and well."""
        while self._faults:
            self.look_after()
            time.sleep(STEP)

    def look_after(self) -> None:
        """Heal what has been broken for long enough, and note what is well again."""
        struck = {fault.strike.target for fault in self._faults}
        for name in self._deployment.names():
            if name not in struck and not self._deployment.is_running(name):
                # Started again as a service manager would, so that the run tells more than this.
                self._begin(Strike(at=self._recorder.now(), kind=DIED, target=name, seconds=1.0))
        for fault in list(self._faults):
            strike, now = fault.strike, self._recorder.now()
            if not fault.is_healed and now >= fault.began + strike.seconds:
                fault.is_healed = self._heal(fault)
            if fault.is_healed and (
                strike.kind not in STARTED_AGAIN or self._deployment.is_healthy(strike.target)
            ):
                self._faults.remove(fault)
                window = Window(
                    kind=strike.kind,
                    target=strike.target,
                    began=fault.began,
                    ended=self._recorder.now(),
                    how=strike.how,
                )
                self._recorder.write(window)

    def _begin(self, strike: Strike) -> None:
        if any(fault.strike.target == strike.target for fault in self._faults):
            self._say(
                f"{self._recorder.now():6.1f}  {strike.kind} {strike.target}: it has not come back"
                " from the last fault yet; left alone"
            )
            return
        self._say(
            f"{self._recorder.now():6.1f}  {strike.kind} {strike.target} {strike.how}"
            f" {strike.seconds:.1f} s"
        )
        fault = _Fault(strike, self._recorder.now())
        self._faults.append(fault)
        self._do(strike)

    def _do(self, strike: Strike) -> None:
        deployment = self._deployment
        match strike.kind:
            case "kill-worker" | "kill-redis" | "kill-api":
                deployment.send(strike.target, signal.SIGKILL)
            case "restart-podman":
                deployment.send(strike.target, signal.SIGTERM)
            case "freeze-worker":
                deployment.send_to_family(strike.target, signal.SIGSTOP)
            case "fill-disk":
                _fill(deployment.settings.store / FILLER)
            case "break-upstream":
                _break(deployment.faults_file, strike.how)
            case _:
                # What has died needs no blow, and a container is hunted for until there is one.
                pass

    def _heal(self, fault: _Fault) -> bool:
        """End a fault; False while it has yet to be done."""
        strike, deployment = fault.strike, self._deployment
        match strike.kind:
            case "freeze-worker":
                deployment.send_to_family(strike.target, signal.SIGCONT)
            case "fill-disk":
                (deployment.settings.store / FILLER).unlink(missing_ok=True)
            case "break-upstream":
                deployment.faults_file.unlink(missing_ok=True)
            case "kill-container":
                return self._kill_container() or self._recorder.now() > fault.began + HUNT
            case _:
                # podman may still be busy with ending when it is to start again.
                deployment.send(strike.target, signal.SIGKILL)
                if deployment.is_running(strike.target):
                    return False
                deployment.start(strike.target)
        return True

    def _kill_container(self) -> bool:
        try:
            running = self._deployment.running_containers()
        except Trouble:
            return False
        if running:
            self._deployment.run_podman("kill", running[0])
        return bool(running)


def _fill(path: Path) -> None:
    """Take all the room that is left."""
    with path.open("wb") as file:
        size = 0
        step = FILL_STEP
        while step >= os.sysconf("SC_PAGE_SIZE"):
            try:
                os.posix_fallocate(file.fileno(), size, step)
                size += step
            except OSError:
                step //= 2


def _break(path: Path, how: str) -> None:
    """Break every answer of the downloads server; the file is put in place whole, since it is read
    at each request.
    """
    draft = path.with_suffix(".new")
    draft.write_text(
        json.dumps(
            [{"path": "*", "fault": how, **({"seconds": SLOW_SECONDS} if how == "slow" else {})}]
        )
    )
    draft.replace(path)
