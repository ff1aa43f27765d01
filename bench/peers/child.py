"""One engine in a process of its own, asked and answering in lines of JSON (see README.md)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from array import array
from pathlib import Path


class Failed(Exception):
    """An engine did not do what was asked; says why, in a line."""


class Child:
    """A started engine. Every wait has a limit, since a peer that hangs must not end the comparison."""

    def __init__(self, command: list[str], environment: dict[str, str], limit_s: float) -> None:
        self.limit_s = limit_s
        # Kept in a file, since a pipe that nobody reads fills up and stops the child.
        self.errors = tempfile.TemporaryFile("w+", errors="replace")
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                env=os.environ | environment,
            )
        except OSError as error:
            raise Failed(f"not started: {error}") from error

    def answer(self) -> dict:
        """The next line that is a JSON object; other lines are what a library had to say."""
        hung = threading.Event()
        timer = threading.Timer(self.limit_s, lambda: (hung.set(), self.process.kill()))
        timer.start()
        try:
            for line in self.process.stdout:
                if line.startswith("{"):
                    return json.loads(line)
        except ValueError as error:
            raise Failed(f"no JSON: {error}") from error
        finally:
            timer.cancel()
        raise Failed(f"no answer within {self.limit_s:.0f} s" if hung.is_set() else self.why_it_ended())

    def ask(self, ef: int, k: int) -> tuple[float, array, float]:
        """Runs all queries once: seconds it took, ids found, and how many threads were busy meanwhile."""
        busy, started = self.cpu_s(), time.perf_counter()
        try:
            print(json.dumps({"ef": ef, "k": k, "threads": 1}), file=self.process.stdin, flush=True)
        except OSError:
            raise Failed(self.why_it_ended()) from None
        answer = self.answer()
        threads = (self.cpu_s() - busy) / (time.perf_counter() - started)
        try:
            seconds = float(answer["seconds"])
            ids = array("i", Path(answer["ids"]).read_bytes())
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise Failed(f"answer not understood: {error!r}") from error
        if seconds <= 0:
            raise Failed(f"{seconds} seconds for all queries")
        return seconds, ids, threads

    def cpu_s(self) -> float:
        """Processor time used so far, over all threads; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def why_it_ended(self) -> str:
        """The last thing it said, or the signal that ended it."""
        try:
            status = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "closed its output without an answer"
        self.errors.seek(0)
        said = [line.strip() for line in self.errors if line.strip()]
        if status < 0:
            return f"ended by {signal.Signals(-status).name}"
        return said[-1] if said else f"ended with status {status} and no word"

    def stop(self) -> None:
        """Ends it; end of input is the polite way."""
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
