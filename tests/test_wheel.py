"""What people install: the wheel, built from this checkout and installed away from it. Asks the package index."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from smartflo_bridge.version import __version__

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "smartflo_bridge"


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program to its end and return what it printed; it must succeed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: str | Path, python: str | Path, cwd: Path) -> None:
    """Run pip with the interpreter `python`."""
    run(python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT, python=sys.executable, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, with what it depends on and nothing else, into a new environment."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    pip("install", wheel, python=environment / "bin" / "python", cwd=environment)
    return environment / "bin" / "smartflo-bridge"


def test_the_wheel_holds_the_whole_package(wheel: Path) -> None:
    """No module, prompt or marker of the source tree stays behind."""
    source = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("smartflo_bridge/")}
    assert packed == {path.relative_to(PACKAGE.parent).as_posix() for path in source}
    assert "smartflo_bridge/py.typed" in packed
    assert any(name.endswith(".ulaw") for name in packed)


def test_the_installed_program_tells_its_version(program: Path, tmp_path: Path) -> None:
    """The version in the program is the one in the package's metadata."""
    assert __version__ in run(program, "--version", cwd=tmp_path)
    installed = run(program.with_name("python"), "-m", "pip", "show", "smartflo-bridge", cwd=tmp_path)
    assert f"Version: {__version__}\n" in installed


def test_the_installed_program_accepts_the_configuration_we_ship(program: Path, tmp_path: Path) -> None:
    """The default handler and its prompts are found without the checkout."""
    config = tmp_path / "smartflo.toml"
    config.write_bytes((ROOT / "smartflo.toml").read_bytes())
    run(program, "check-config", "--config", config, cwd=tmp_path)
