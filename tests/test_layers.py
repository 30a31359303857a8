"""The import directions of the package, read from its source. Design, section 2: imports point down."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "smartflo_bridge"
SOURCES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}

# A layer is a folder, or a module beside the folders. It may import itself and these; `__init__` is what we publish.
LAYERS: dict[str, set[str]] = {
    "version": set(),
    "core": set(),
    "log": {"core"},
    "tables": {"core"},
    "credentials": {"core"},
    "config": {"core", "agents", "tables"},
    "calls": {"core", "log", "version"},
    "handlers": {"core", "calls", "log", "version"},
    # What both ends of a call have of the WebSocket: for the server and the legs, and for nobody else.
    "wire": {"calls"},
    # A leg speaks the prompts that come with the handlers, and may leave a call to one of them.
    "agents": {"core", "calls", "wire", "handlers", "tables", "credentials", "log", "version"},
    # A replay plays the platform's part, whose playout clock is the simulator's, and a report has its referee judge our
    # side. The simulator knows nothing of captures.
    "captures": {"core", "calls", "simulator", "log", "version"},
    "simulator": {"core", "log", "version"},
    "server": {"core", "calls", "wire", "handlers", "agents", "captures", "config", "credentials", "log", "version"},
    "cli": {
        "core",
        "credentials",
        "calls",
        "handlers",
        "agents",
        "captures",
        "simulator",
        "server",
        "config",
        "log",
        "version",
    },
    "__init__": {"core", "calls", "handlers", "version"},
    "__main__": {"cli"},
}
# What computes, and nothing that waits, reads a clock, logs, opens a file or draws a number.
PURE = {
    "audioop",
    "base64",
    "binascii",
    "collections",
    "contextlib",
    "enum",
    "functools",
    "math",
    "msgspec",
    "re",
    "string",
}
PURE |= {"typing", "warnings", "smartflo_bridge"}
KNOW_WEBSOCKETS = (
    "server/listener",
    "wire/",
    "server/connection",
    "server/answers",
    "server/doorway",
    "simulator/",
    "agents/connection",
    "captures/player",
    "cli/",
)


def imports(node: ast.AST) -> set[str]:
    """Find what is imported anywhere under `node`: full names, one for each name taken from a module."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            found |= {alias.name for alias in inner.names}
        elif isinstance(inner, ast.ImportFrom):
            found |= {f"{'.' * inner.level}{inner.module}.{alias.name}" for alias in inner.names}
    return found


IMPORTS = {module: imports(ast.parse(source)) for module, source in SOURCES.items()}


def test_imports_point_down() -> None:
    """A module imports its own layer and the layers under it, by their full names."""
    for module, names in IMPORTS.items():
        layer = module.split("/")[0]
        ours = {name.split(".")[1] for name in names if name.startswith((".", "smartflo_bridge."))}
        assert ours <= {layer} | LAYERS[layer], module


def test_the_core_is_pure() -> None:
    """The core imports what computes; numpy is for the resampler alone."""
    for module in (name for name in IMPORTS if name.startswith("core/")):
        numpy = {"numpy"} if module == "core/resampling" else set()
        assert {name.split(".")[0] for name in IMPORTS[module]} <= PURE | numpy, module


def test_nothing_hides_an_import() -> None:
    """Imports stand at the top of their module: a cycle is to be seen."""
    for module, source in SOURCES.items():
        nodes = [
            node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        assert not any(imports(node) for node in nodes), module
        assert "TYPE_CHECKING" not in source, module


def test_one_place_catches_everything() -> None:
    """Whatever code that is not ours may raise, is caught where it runs; elsewhere, an exception has a name."""
    wide = {"Exception", "BaseException"}
    catching = []
    for module, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ExceptHandler):
                names = (
                    {inner.id for inner in ast.walk(node.type) if isinstance(inner, ast.Name)} if node.type else wide
                )
                passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
                catching += [module] * bool(names & wide and not passes_on)
    assert catching == ["calls/home"]


def test_few_modules_know_websockets() -> None:
    """The library, and with it its exceptions, stops at the adapters."""
    know = {module for module, names in IMPORTS.items() if any(name.split(".")[0] == "websockets" for name in names)}
    assert {module for module in know if not module.startswith(KNOW_WEBSOCKETS)} == set()


def test_a_dialect_knows_no_websockets() -> None:
    """Nor does anything that it imports, directly or not: it is tested with values alone, and could speak over anything."""
    found, waiting = set(), {"agents/kinds"}
    while waiting:
        module = waiting.pop()
        found.add(module)
        assert not any(name.split(".")[0] == "websockets" for name in IMPORTS[module]), module
        ours = (name.split(".")[1:-1] for name in IMPORTS[module] if name.startswith("smartflo_bridge."))
        waiting |= {name for name in map("/".join, ours) if name in SOURCES} - found
    assert {"agents/sarvam", "agents/answering", "agents/message"} <= found


def test_modules_are_short() -> None:
    """One noun a module, in 300 lines at most."""
    assert {module for module, source in SOURCES.items() if source.count("\n") > 300} == set()
