"""What no tool checks: the list of root packages, forbidden habits, commands that answer."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.cli import COMMANDS, build_parser
from models.registry import read_registry

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "configs", "devices", "models", "phosphene", "pipeline")
"""What the wheel holds."""
CHECKED = (*PACKAGES, "research")
"""What is held to the same rules: `research` made the weights and tables, outside of the wheel."""

DOWNLOADS = {"scripts/fetch_packages.py"}
"""What a person asks for by name (`make train-embedded`): outside of the package."""

SERVES = {
    "app/outputs/feed.py": {"http.server", "http", "urllib.parse"},
    "app/outputs/lab_recorder.py": {"socket"},
    "app/outputs/remote_control.py": {"socketserver"},
}
"""What a person switches on, in these modules alone: on loopback, or to an address they name."""

NETWORK = {
    "aiohttp",
    "ftplib",
    "http",
    "httpx",
    "huggingface_hub",
    "ray",
    "requests",
    "smtplib",
    "socket",
    "socketserver",
    "urllib",
    "urllib3",
    "uvicorn",
    "websockets",
    "xmlrpc",
    "zeroconf",
}
"""Modules that reach beyond the machine: Phosphene speaks LSL, and what is `ASKED_FOR`."""
ASKED_FOR = {
    # The client of `decoder.remote`, and the server that a person starts.
    "app/runtime/remote/transport.py": {"http", "socket", "urllib"},
    "app/runtime/remote/ticket.py": {"urllib"},
    "app/runtime/remote/finding.py": {"zeroconf"},
    "app/serving/announcing.py": {"socket", "zeroconf"},
    "app/benchmarks/serve.py": {"http"},
    "app/serving/application.py": {"ray", "socket", "uvicorn"},
    "app/serving/connection.py": {"uvicorn"},
}
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
"""Modules that run code while reading data."""
NOT_EVERYWHERE = {
    # Flags and calls that some systems' Python has not; the standard library has no type for it.
    ("os", "O_BINARY"),
    ("os", "O_NONBLOCK"),
    ("os", "getloadavg"),
    ("signal", "setitimer"),
}
"""What may be asked for by a word: the module, and the word."""
LOADERS = {"from_pretrained", "hf_hub_download", "snapshot_download", "load_state_dict_from_url"}
"""Calls that may ask a hub, unless told `local_files_only=True`."""


def sources(*packages: str) -> list[Path]:
    return sorted(p for name in packages for p in (ROOT / name).rglob("*.py"))


@cache
def shipped() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sources(*CHECKED, "scripts")
    )


@cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno


@cache
def calls(tree: ast.Module) -> tuple[tuple[str, ast.Call], ...]:
    return tuple((dotted(node.func), node) for node in nodes(tree) if isinstance(node, ast.Call))


def dotted(node: ast.expr) -> str:
    """Spell an expression; what calls mostly are is spelt in no time."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ast.unparse(node)


SAFETY = {"allow_pickle", "local_files_only", "weights_only"}
"""Options that the checks ask for; to spell all others takes seconds."""


def keywords(call: ast.Call) -> dict[str, str]:
    return {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg in SAFETY}


CONNECT = {"connect", "connect_ex", "create_connection", "sendto", "bind", "create_server"}


def connects_to_nobody(module: str, tree: ast.Module) -> bool:
    """Whether a module asks `socket` only for its own host, or shuts what is connected."""
    used = {node.attr for node in nodes(tree) if isinstance(node, ast.Attribute)}
    names = {"gethostname"} if "gethostname" in used else {"socket", "SHUT_RDWR"}
    return module == "socket" and names <= used and not used & CONNECT


def test_the_root_packages_are_these_and_no_others() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    roots = {name.split("/")[0] for name in tracked}
    assert roots == {*CHECKED, "scripts", "setup.py", "tests"}


def test_every_tool_knows_the_same_packages() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert sorted(table["importlinter"]["root_packages"]) == sorted(CHECKED)
    assert sorted(table["mypy"]["packages"]) == sorted(CHECKED)
    included = table["setuptools"]["packages"]["find"]["include"]
    assert sorted(included) == [f"{name}*" for name in sorted(PACKAGES)]


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in sources(*CHECKED)}
    assert [str(f) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def test_tests_mirror_the_packages() -> None:
    folders = {p.name for p in (ROOT / "tests").iterdir() if (p / "__init__.py").exists()}
    assert folders >= set(CHECKED)


def test_nothing_reads_data_that_can_run_code() -> None:
    found = []
    for name, tree in shipped():
        found += [
            f"{name}:{line} imports {module}"
            for module, line in imported(tree)
            if module.split(".")[0] in UNSAFE
        ]
        for function, call in calls(tree):
            given = keywords(call)
            if re.search(r"(^|\.)torch\.load$", function) and given.get("weights_only") != "True":
                found.append(f"{name}:{call.lineno} torch.load without weights_only=True")
            if given.get("allow_pickle") == "True" or given.get("weights_only") == "False":
                found.append(f"{name}:{call.lineno} {function} unpickles")
            if function in {"eval", "exec", "yaml.load"}:
                found.append(f"{name}:{call.lineno} {function}")
    assert found == []


def test_no_attribute_is_asked_for_by_a_word() -> None:
    """What only some have is a Protocol asked with `isinstance`, so that mypy sees it."""
    found = [
        f"{name}:{call.lineno} {ast.unparse(call)}"
        for name, tree in shipped()
        for function, call in calls(tree)
        if function in {"getattr", "hasattr", "setattr"}
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
        and (ast.unparse(call.args[0]), call.args[1].value) not in NOT_EVERYWHERE
    ]
    assert found == []


def test_nothing_reaches_beyond_the_machine_but_lsl() -> None:
    found = []
    for name, tree in shipped():
        found += [
            f"{name}:{line} imports {module}"
            for module, line in imported(tree)
            if module.split(".")[0] in NETWORK - ASKED_FOR.get(name, set())
            and name not in DOWNLOADS
            and module not in SERVES.get(name, set())
            and not connects_to_nobody(module, tree)
        ]
        found += [
            f"{name}:{call.lineno} {function} may ask a hub: give local_files_only=True"
            for function, call in calls(tree)
            if function.split(".")[-1] in LOADERS
            and keywords(call).get("local_files_only") != "True"
        ]
    assert found == []


KNOWS_SYSTEMS = {
    "configs/models.py": {"embedded"},  # the default system is a setting
    "configs/loading.py": {"atm"},  # what old session.toml files meant
    "models/adapters/manifest.py": {"embedded"},  # and old adapters
    "app/benchmarks/disk.py": {"embedded"},
    "app/benchmarks/signal_scenes.py": {"dreamdiffusion"},
    "app/benchmarks/training.py": {"atm", "dreamdiffusion"},  # cases with their peers
}


def test_only_a_systems_own_folder_knows_its_name() -> None:
    names = set(read_registry().systems)
    found = {}
    for name, tree in shipped():
        said = {node.value for node in nodes(tree) if isinstance(node, ast.Constant)} & names
        owned = (ROOT / name).with_name("system.py").exists() or name.split("/")[0] not in PACKAGES
        if said - KNOWS_SYSTEMS.get(name, set()) and not owned:
            found[name] = said
    assert found == {}


def test_one_module_reads_entry_points() -> None:
    readers = {name for name, tree in shipped() for f, _ in calls(tree) if f == "entry_points"}
    assert readers == {"configs/plugins.py"}


def test_every_module_opens_by_saying_what_it_owns() -> None:
    silent = [name for name, tree in shipped() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_these_checks_find_what_they_look_for() -> None:
    planted = ast.parse(
        "import pickle\nfrom urllib import request\ntorch.load(f)\nnp.load(f, allow_pickle=True)"
    )
    assert [module for module, _ in imported(planted)] == ["pickle", "urllib"]
    assert [function for function, _ in calls(planted)] == ["torch.load", "np.load"]
    assert [keywords(call) for _, call in calls(planted)] == [{}, {"allow_pickle": "True"}]


def test_every_command_of_the_folder_is_listed() -> None:
    modules = {p.stem for p in (ROOT / "app" / "commands").glob("*.py")}
    modules -= {"__init__", "common", "many"}
    # A module cannot be called `import`: it has an underscore more.
    modules = {stem.removesuffix("_") for stem in modules}
    assert modules == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([name, "--help"])
    assert caught.value.code == 0
    assert f"phosphene {name}" in capsys.readouterr().out


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from app.cli import build_parser\n"
        "build_parser()\n"
        "heavy = {'torch', 'diffusers', 'mne', 'pylsl', 'PySide6', 'scipy', 'brainflow'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


@pytest.mark.parametrize(
    ("argv", "code"), [(["--version"], 0), ([], 2), (["no-such-command"], 2), (["demo", "--no"], 2)]
)
def test_exit_codes_of_the_parser(argv: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(argv)
    assert caught.value.code == code


def test_the_readme_shows_pictures_and_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) + re.findall(r'src="([^":]+)"', text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.skipif(os.name == "nt", reason="make is not Windows' own")
def test_the_readme_names_make_targets_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`?\bmake ([a-z][a-z-]+)\b", text))
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
