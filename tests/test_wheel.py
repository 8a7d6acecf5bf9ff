"""What a user installs: the wheel, built without a network, and every file in it accounted for."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

DATA = (
    "*/py.typed",
    "app/evaluation/page.html",
    "app/report/template.html",
    "configs/presets/*.toml",
    "models/embedded/weights/*.json",
    "models/embedded/weights/README.md",
    "models/embedded/weights/*/config.json",
    "models/embedded/weights/*/*.onnx",
    "models/embedded/weights/*/*.safetensors",
    "models/embedded/weights/revision_*/*/config.json",
    "models/embedded/weights/revision_*/*/*.safetensors",
    "models/pictures/weights/*.json",
    "models/pictures/weights/LICENSE",
    "models/pictures/weights/README.md",
    "models/pictures/weights/NOTICE",
    "models/pictures/weights/graph.onnx",
    "models/pictures/weights/model.safetensors",
    "pipeline/electrodes.json",
    "pipeline/gallery/fluent_emoji/LICENSE",
    "pipeline/gallery/fluent_emoji/gallery.json",
    "pipeline/gallery/fluent_emoji/*.safetensors",
    "pipeline/gallery/fluent_emoji/images/*.webp",
    "pipeline/virtual_brain/leadfield.safetensors",
)
"""What the wheel holds beside modules and its own metadata."""

PICTURES = "https://raw.githubusercontent.com/phosphene/phosphene/main/"
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return a wheel that was built from the tracked files."""
    tree = tmp_path_factory.mktemp("tree")
    for name in tracked:
        if not name.startswith(("docs/", "tests/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    wheels = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-c", BUILD, str(wheels)]
    done = subprocess.run(build, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    [wheel] = wheels.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module")
def held(wheel: zipfile.ZipFile) -> list[str]:
    """Return the names of its files, but for its own metadata."""
    return [name for name in wheel.namelist() if ".dist-info/" not in name]


def test_the_wheel_holds_every_module_of_the_packages_and_no_other(
    tracked: list[str], held: list[str]
) -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    packages = [name.rstrip("*") for name in tables["setuptools"]["packages"]["find"]["include"]]
    modules = {n for n in tracked if n.endswith(".py") and n.partition("/")[0] in packages}
    assert {name for name in held if name.endswith(".py")} == modules
    assert not {"research", "scripts", "tests"} & {name.partition("/")[0] for name in held}


def test_every_other_file_of_the_wheel_is_meant_to_be_there(held: list[str]) -> None:
    others = [name for name in held if not name.endswith(".py")]
    stray = [name for name in others if not any(fnmatch(name, each) for each in DATA)]
    assert stray == [], "not listed in DATA: leave them out of the packages, or list them"
    idle = [each for each in DATA if not any(fnmatch(name, each) for name in others)]
    assert idle == [], "listed in DATA, but not in the wheel"


def test_its_metadata_tell_licences_and_lead_to_pictures(
    wheel: zipfile.ZipFile, held: list[str]
) -> None:
    [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    said = email.message_from_bytes(wheel.read(metadata))
    licences = set(said["License-Expression"].lower().split(" and "))
    cards = [name for name in held if name.endswith("weights/README.md")]
    networks = {name.partition("/weights/")[0] for name in held if "/weights/" in name}
    assert {name.partition("/weights/")[0] for name in cards} == networks, "weights without a card"
    found = {
        re.findall(r"^license: (\S+)$", wheel.read(n).decode(), re.MULTILINE)[0] for n in cards
    }
    assert found == licences
    page = said.get_payload()
    assert re.findall(r'src="([^"]+)"', page), "the page on PyPI has no picture"
    leads = re.findall(r'src="([^"]+)"', page) + re.findall(r"\]\(([^)#]+)", page)
    assert [link for link in leads if not link.startswith("https://")] == []
    beside = [link.removeprefix(PICTURES) for link in leads if link.startswith(PICTURES)]
    assert [name for name in beside if not (ROOT / name).is_file()] == []
    texts = [name for name in held if Path(name).name in ("LICENSE", "NOTICE")]
    assert {"LICENSE", "NOTICE", *texts} == set(said.get_all("License-File"))


def test_no_file_of_it_names_a_folder_of_who_built_it(wheel: zipfile.ZipFile) -> None:
    homes = re.compile(rb"/(?:home|root|Users|work|tmp|builds?)/|[A-Z]:\\\\Users")
    data = [n for n in wheel.namelist() if Path(n).suffix in (".json", ".onnx", ".safetensors")]
    assert [name for name in data if homes.search(wheel.read(name))] == []
