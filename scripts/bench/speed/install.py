"""Installs what the daemon is compared with, and builds what is in C, into `.bench/` of the checkout.

Each environment is made once, and again when what it is made of has changed. What cannot be had is reported, and its rows
stay empty: the rest of the table does not depend on it.
"""

import functools
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".bench"
HERE = Path(__file__).parent
ANCHORS = HERE / "anchors"

OURS = CACHE / "ours" / "bin" / "python"
"""The Python with the daemon as it is installed, without extras: no numpy."""
OTHERS = CACHE / "others" / "bin" / "python"
PIPECAT = CACHE / "pipecat" / "bin" / "python"
NODE_MODULES = CACHE / "node" / "node_modules"
GENERATOR = CACHE / "generator"
EPOLL_ECHO = CACHE / "epoll-echo"
AGENT = CACHE / "agent"
"""The far agent of the benchmark of legs."""
WITH_NUMPY = CACHE / "with-numpy" / "bin" / "python"
"""The Python with the daemon and its extra for other rates: what transcodes needs it."""

INSTALL_SECONDS = 600
CFLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


class NotInstalledError(Exception):
    """Something cannot be had; the text says what, and why."""


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command to its end.

    Raises:
        NotInstalledError: it is not there, fails, or takes too long.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except FileNotFoundError:
        msg = f"{name} is not installed"
        raise NotInstalledError(msg) from None
    except subprocess.TimeoutExpired:
        msg = f"{name} took more than {INSTALL_SECONDS} s"
        raise NotInstalledError(msg) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        msg = f"{name} failed: {said[-1]}"
        raise NotInstalledError(msg)


def is_current(stamp: Path, wanted: str) -> bool:
    """Return True if this was made of what it would be made of now."""
    return stamp.exists() and stamp.read_text() == wanted


def make(made: Path, ingredients: list[Path], build: Callable[[], None]) -> None:
    """Build something unless it is there already and its ingredients are the same."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in ingredients)).hexdigest()
    wanted = f"{ROOT} {base_python()} {digest}"
    stamp = CACHE / f"{made.name}.made-of"
    if made.exists() and is_current(stamp, wanted):
        return
    stamp.unlink(missing_ok=True)
    print(f"installing {made.name} ...", flush=True)
    build()
    stamp.write_text(wanted)


@functools.cache
def base_python() -> str:
    """Return the Python of the environments: the newest that the project is tested on, whichever runs this.

    Raises:
        NotInstalledError: there is none.
    """
    found = subprocess.run([ROOT / "scripts" / "find-python"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NotInstalledError(found.stderr.strip())
    return found.stdout.strip()


def environment(folder: Path, *arguments: str | Path) -> None:
    """Make a virtual environment, and install into it.

    Raises:
        NotInstalledError: it cannot be made.
    """
    shutil.rmtree(folder, ignore_errors=True)
    run(base_python(), "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def node_modules(folder: Path) -> None:
    """Install the packages of Node's anchor."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(ANCHORS / "package.json", folder)
    run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)


def compiled(made: Path, *sources: Path) -> None:
    """Compile a program in C."""
    run("gcc", *CFLAGS, "-o", made, *sources, "-lm")


def install(*, everything: bool = True) -> dict[str, str]:
    """Install what is needed; return what cannot be had, by name, with the reason.

    Args:
        everything: False leaves out what only the full run compares with: Node and pipecat.

    Raises:
        NotInstalledError: nothing can be measured: the generator or the daemon is missing.
    """
    CACHE.mkdir(exist_ok=True)
    wire, serving = HERE / "wire.h", HERE / "serving.h"
    generator = sorted(HERE.glob("generator*.[ch]"))
    sources = [path for path in generator if path.suffix == ".c"]
    make(GENERATOR, [wire, *generator], lambda: compiled(GENERATOR, *sources))
    ours = OURS.parents[1]
    make(ours, [ROOT / "pyproject.toml"], lambda: environment(ours, "--editable", ROOT))
    missing: dict[str, str] = {}
    others, pipecat, node = OTHERS.parents[1], PIPECAT.parents[1], NODE_MODULES.parent
    needs, needs_pipecat = ANCHORS / "requirements.txt", ANCHORS / "requirements-pipecat.txt"
    epoll = ANCHORS / "epoll_echo.c"
    with_numpy, agent = WITH_NUMPY.parents[1], HERE / "agent.c"
    wanted: dict[str, tuple[Path, list[Path], Callable[[], None]]] = {
        "others": (others, [needs], lambda: environment(others, "-r", needs)),
        "agent": (AGENT, [wire, serving, agent], lambda: compiled(AGENT, agent)),
        "with-numpy": (
            with_numpy,
            [ROOT / "pyproject.toml"],
            lambda: environment(with_numpy, "--editable", f"{ROOT}[resample]"),
        ),
        "c": (EPOLL_ECHO, [wire, serving, epoll], lambda: compiled(EPOLL_ECHO, epoll)),
    }
    if everything:
        wanted["pipecat"] = (pipecat, [needs_pipecat], lambda: environment(pipecat, "-r", needs_pipecat))
        wanted["node"] = (node, [ANCHORS / "package.json"], lambda: node_modules(node))
    for name, (made, ingredients, build) in wanted.items():
        try:
            make(made, ingredients, build)
        except NotInstalledError as why:
            missing[name] = str(why)
    return missing
