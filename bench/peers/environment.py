"""The Python environment the peers live in: a virtual environment outside the repository.

Every requirement is installed on its own. One pip call for all of them would fail as a whole when a
single peer has no wheel for this machine, and a comparison with that peer missing is still worth having.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def is_intel() -> bool:
    """Whether the processor is Intel's, where the system says so."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def pinned() -> list[str]:
    """The requirements as `name==version`, in the order they are written."""
    lines = (line.split("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line]


def make(folder: Path) -> tuple[Path, dict[str, str]]:
    """Makes the environment, or completes it; gives its Python and the packages that failed, with why."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    present, failed = installed(python), {}
    for requirement in pinned():
        name = requirement.split("==")[0]
        if name == "scalable-vs" and not is_intel():
            failed[name] = "not an Intel processor"
        elif requirement not in present:
            print(f"installing {requirement}", flush=True)
            reason = install(python, requirement)
            if reason:
                failed[name] = reason
    return python, failed


def installed(python: Path) -> set[str]:
    """What the environment holds already, as `name==version`."""
    listing = [str(python), "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"]
    return set(subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split())


def install(python: Path, requirement: str) -> str | None:
    """Installs one requirement; gives the reason where that failed.

    Without its dependencies: those are pinned lines of their own, so that nothing unpinned comes along.
    """
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return (errors or done.stderr.splitlines() or ["pip gave no reason"])[-1]
