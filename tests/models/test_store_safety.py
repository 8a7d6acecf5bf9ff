"""The store against what is hostile, at once, or in the way: nothing escapes, nothing is lost."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from models.adapters import AdapterError, AdapterStore
from models.adapters.atomic import write_pair
from models.adapters.files import MANIFEST_NAME, WEIGHTS_NAME, load_adapter
from models.adapters.history import LENGTH, STATE_NAME, write_history
from models.adapters.naming import new_adapter_id
from models.adapters.store import LOCK_NAME
from models.locking import hold, locked
from tests.models.adapter_files import (
    edit_manifest,
    edit_part,
    put_weights,
    small_adapter,
    zipped,
)
from tests.waiting import PATIENCE

unix = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes are Unix's")


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "store")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return zipped(small_adapter(tmp_path / "made"), tmp_path / "made.zip")


def everything(folder: Path) -> set[str]:
    """Every path below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# -- names ----------------------------------------------------------------------------------------

ESCAPES = (
    "..",
    ".",
    "",
    "a/../..",
    "../kim",
    "kim/../jo",
    "/etc",
    "~",
    "~/x",
    "kim\n",
    ".lock",
    "a b",
    "a\0b",
    "x" * 300,
    "ü",
    "..\\jo",
)


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_is_no_id_never_becomes_a_path(
    store: AdapterStore, exported: Path, tmp_path: Path, name: str
) -> None:
    kept = store.import_(exported)
    store.activate(kept.adapter_id)
    before = everything(tmp_path)
    for act in (
        store.delete,
        store.folder,
        store.activate,
        store.show,
        store.load,
        store.load_data,
        lambda given: store.export(given, tmp_path / "out.zip"),
    ):
        with pytest.raises(AdapterError, match="there is no adapter"):
            act(name)
    for act in (
        store.delete_subject,
        store.rollback,
        store.active,
        store.n_unfinished,
        lambda given: store.import_(exported, subject=given, force=True) if given else _refuse(),
    ):
        with pytest.raises(AdapterError, match="no subject code"):
            act(name)
    assert store.list(name) == ()
    assert everything(tmp_path) == before
    assert store.active("kim").adapter_id == kept.adapter_id  # type: ignore[union-attr]


def _refuse() -> None:
    raise AdapterError("'' is no subject code: an import without one takes the manifest's.")


def test_the_history_names_only_adapters_of_its_own_folder(
    store: AdapterStore, exported: Path
) -> None:
    kept = store.import_(exported)
    other = store.import_(exported, subject="jo", force=True)
    state = store.root / "kim" / STATE_NAME
    for names in (
        ["..", "../jo", f"../jo/{other.adapter_id}", "/etc", "", ".", "x" * 5000, 7, None],
    ):
        state.write_text(json.dumps({"history": [kept.adapter_id, *names]}))
        assert store.active("kim").adapter_id == kept.adapter_id  # type: ignore[union-attr]


@unix
def test_a_link_out_of_the_store_is_named_and_never_followed(
    store: AdapterStore, exported: Path, tmp_path: Path
) -> None:
    kept = store.import_(exported)
    outside = small_adapter(tmp_path / "outside")
    (store.root / "kim" / "kim-linked").symlink_to(outside)
    (store.root / "jo").symlink_to(tmp_path)
    for act in (store.delete, store.activate, store.load):
        with pytest.raises(AdapterError, match="is a link to"):
            act("kim-linked")
    for act in (store.delete_subject, lambda s: store.import_(exported, subject=s, force=True)):
        with pytest.raises(AdapterError, match="is a link to"):
            act("jo")
    problems = {record.adapter_id: record.problem for record in store.list("kim")}
    assert problems[kept.adapter_id] == ""
    assert "is a link to" in problems["kim-linked"]
    assert store.delete_subject("kim") == 2
    assert load_adapter(outside)
    assert exported.is_file()


def test_ids_sort_by_age_and_never_collide() -> None:
    made = [new_adapter_id("kim") for _ in range(500)]
    assert len(set(made)) == 500
    assert [each[:24] for each in made] == sorted(each[:24] for each in made)


# -- at once --------------------------------------------------------------------------------------


def _import_many(root: Path, path: Path, n: int, start: Barrier) -> None:
    start.wait(PATIENCE)
    for _ in range(n):
        AdapterStore(root).import_(path)


def together(target: Callable[..., None], arguments: list[tuple[object, ...]]) -> None:
    """Run processes that begin at the same moment; each must end well."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(arguments))
    processes = [context.Process(target=target, args=(*each, start)) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * len(arguments)


def test_imports_at_the_same_moment_all_succeed(store: AdapterStore, exported: Path) -> None:
    together(_import_many, [(store.root, exported, 6)] * 2)
    found = store.list()
    assert len(found) == 12
    assert [each.problem for each in found] == [""] * 12
    assert {p.name for p in store.root.iterdir()} == {LOCK_NAME, "kim"}
    assert {p.name for p in (store.root / "kim").iterdir()} == {each.adapter_id for each in found}


def test_thirty_threads_import_at_once(store: AdapterStore, exported: Path) -> None:
    with ThreadPoolExecutor(30) as pool:
        made = list(pool.map(lambda _: AdapterStore(store.root).import_(exported), range(30)))
    assert {each.adapter_id for each in made} == {each.adapter_id for each in store.list()}
    assert len(made) == 30


def test_activations_at_the_same_moment_lose_nothing(store: AdapterStore, exported: Path) -> None:
    ids = [store.import_(exported).adapter_id for _ in range(4)]

    def use(some: list[str]) -> None:
        own = AdapterStore(store.root)
        for _ in range(10):
            for each in some:
                own.activate(each)
            own.rollback("kim")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(use, (ids[:2], ids[2:])))
    history = json.loads((store.root / "kim" / STATE_NAME).read_text())["history"]
    assert len(set(history)) == len(history)
    assert set(history) <= set(ids)
    assert store.active("kim") is not None
    assert not list((store.root / "kim").glob("*.part"))


def test_an_import_that_died_half_way_is_counted_and_swept(
    store: AdapterStore, exported: Path
) -> None:
    kept = store.import_(exported)
    person = store.root / "kim"
    dead, alive = person / ".part-dead", person / ".part-alive"
    for each in (dead, alive, person / f".{kept.adapter_id}.part"):
        small_adapter(each / "adapter")
    handle = hold(alive / ".held")
    assert store.n_unfinished("kim") == 2
    store.import_(exported)
    assert [p.name for p in person.iterdir() if p.name.startswith(".")] == [".part-alive"]
    os.close(handle)
    assert store.n_unfinished("kim") == 1
    small_adapter(store.root / ".incoming")  # of an earlier version
    assert store.n_unfinished("kim") == 2
    (store.root / ".incoming" / MANIFEST_NAME).unlink()  # died before it said whose it is
    assert store.delete_subject("kim") == 2
    assert everything(store.root) == {LOCK_NAME}


def test_a_person_who_is_deleted_meanwhile_stays_deleted(
    store: AdapterStore, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.adapters import store as store_module

    load_before = store_module.load_any

    def load_and_delete(folder: Path, **_options: object) -> object:
        adapter = load_before(folder)
        store.delete_subject("kim")
        return adapter

    monkeypatch.setattr(store_module, "load_any", load_and_delete)
    with pytest.raises(AdapterError, match="kim was deleted while"):
        store.import_(exported)
    assert store.list() == ()
    assert not (store.root / "kim").exists()


def test_a_store_that_stays_locked_is_refused_in_a_sentence(
    store: AdapterStore, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.adapters import store as store_module

    store.import_(exported)
    monkeypatch.setattr(store_module, "LOCK_TIMEOUT", 0.05)
    with (
        locked(store.root / LOCK_NAME, timeout=1),
        pytest.raises(AdapterError, match=r"in use by another process for 0\.05 s"),
    ):
        store.import_(exported)
    assert len(store.list()) == 1


# -- a full disk ----------------------------------------------------------------------------------


def test_deleting_needs_no_room_on_the_disk(
    store: AdapterStore, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = store.import_(exported), store.import_(exported)
    store.activate(first.adapter_id)
    store.activate(second.adapter_id)
    (store.root / LOCK_NAME).unlink()
    opened = os.open

    def full(path: object, flags: int, *rest: int, **options: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return opened(path, flags, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(AdapterError, match="No space left"):
        store.import_(exported)
    store.delete(second.adapter_id)
    assert store.active("kim").adapter_id == first.adapter_id  # type: ignore[union-attr]
    assert [each.adapter_id for each in store.list()] == [first.adapter_id]
    assert store.delete_subject("kim") == 1
    assert store.list() == ()


# -- what is imported -----------------------------------------------------------------------------


def _zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], how: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def _pair(folder: Path) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    return tuple((name, (folder / name).read_bytes()) for name in (WEIGHTS_NAME, MANIFEST_NAME))  # type: ignore[return-value]


def _link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def _encrypted(folder: Path, path: Path) -> None:
    _zip(path, *_pair(folder))
    raw = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = raw.find(mark)
        while place >= 0:
            raw[place + at] |= 1
            place = raw.find(mark, place + 4)
    path.write_bytes(raw)


def _damaged(folder: Path, path: Path) -> None:
    _zip(path, *_pair(folder), how=zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    for place in range(60, 400):
        raw[place] ^= 0x5A
    path.write_bytes(raw)


def _truncated(folder: Path, path: Path) -> None:
    path.write_bytes(_zip(path, *_pair(folder)).read_bytes()[:-30])


def _twice(folder: Path, path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        _zip(path, *_pair(folder), _pair(folder)[1])


def _lying(folder: Path, path: Path) -> None:
    """A member that unpacks to far more than it claims."""
    _zip(path, (WEIGHTS_NAME, bytes(10**7)), _pair(folder)[1], how=zipfile.ZIP_DEFLATED)
    raw = path.read_bytes().replace((10**7).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    path.write_bytes(raw)


DEEP = b'{"kind":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_encrypted, "is encrypted"),
        (_damaged, "no exported adapter"),
        (_truncated, "no exported adapter"),
        (_twice, "it holds"),
        (_lying, "no exported adapter|truncated"),
        (
            lambda f, p: _zip(p, (WEIGHTS_NAME, bytes(65 << 20)), _pair(f)[1], how=8),
            "claims 68157440 bytes, expected at most 67108864",
        ),
        (lambda f, p: _zip(p, *_pair(f), ("../../evil", b"")), r"it holds '\.\./\.\./evil'"),
        (lambda f, p: _zip(p, *_pair(f), ("/etc/evil", b"")), "it holds '/etc/evil'"),
        (lambda f, p: _zip(p, *_pair(f), ("x/", b"")), "it holds"),
        (lambda f, p: _zip(p, _pair(f)[0], (_link(MANIFEST_NAME), b"/etc/passwd")), "is a link"),
        (lambda f, p: _zip(p, *_pair(f), how=zipfile.ZIP_LZMA), "unusual way"),
        (lambda f, p: _zip(p, _pair(f)[0], (MANIFEST_NAME, DEEP)), "Invalid JSON"),
        (lambda f, p: _zip(p, _pair(f)[0], (MANIFEST_NAME, b"\xff\xfe{")), "Invalid JSON"),
        (lambda f, p: _zip(p, _pair(f)[0], (MANIFEST_NAME, b"1" * 10_000)), "Invalid JSON"),
        (lambda f, p: _zip(p, _pair(f)[0], (MANIFEST_NAME, b'{"kind": NaN}')), "is wrong"),
        (lambda f, p: _zip(p, _pair(f)[0], (MANIFEST_NAME, b" " * (5 << 20))), "claims 5242880"),
        (lambda f, p: p.write_bytes(b""), "no exported adapter"),
        (lambda f, p: p.write_bytes(bytes(10**6)), "no exported adapter"),
        (lambda f, p: p.mkdir(), "no exported adapter"),
        (lambda f, p: os.mkfifo(p), "it is a pipe"),
        (lambda f, p: p.symlink_to("/dev/zero"), "it is a device"),
        (lambda f, p: p.symlink_to("/nowhere"), "no exported adapter"),
    ],
)
@unix
def test_what_is_no_adapter_is_refused_in_one_sentence(
    store: AdapterStore, tmp_path: Path, make: Callable[[Path, Path], object], said: str
) -> None:
    path = tmp_path / "given.zip"
    make(small_adapter(tmp_path / "made"), path)
    with pytest.raises(AdapterError, match=said) as refused:
        store.import_(path)
    assert "\n" not in str(refused.value)
    assert "given.zip" in str(refused.value)
    assert not store.root.exists()


def _edit_array(folder: Path, name: str, value: np.ndarray) -> None:
    put_weights(folder, save(load((folder / WEIGHTS_NAME).read_bytes()) | {name: value}))


def _bfloat(folder: Path) -> None:
    head = b'{"filters":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    put_weights(folder, len(head).to_bytes(8, "little") + head + b"\0\0")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: edit_manifest(f, sfreq=1e308), "sfreq is wrong"),
        (lambda f: edit_part(f, "classes", tmax=1e300), "tmax is wrong"),
        (lambda f: edit_part(f, "classes", tmin=float("nan")), "tmin is wrong"),
        (lambda f: edit_manifest(f, ch_names={"a": 1}), "ch_names is wrong"),
        (lambda f: edit_manifest(f, subject="../jo"), "subject is wrong"),
        (lambda f: edit_manifest(f, subject="kim\n"), "subject is wrong"),
        (lambda f: edit_manifest(f, kind={"a": 1}), "kind is wrong"),
        (lambda f: edit_part(f, "classes", n_filters=10**30), "is wrong|filters have shape"),
        (lambda f: edit_part(f, "classes", tmax=0.0), "at least two bins"),
        (
            lambda f: _edit_array(f, "prototypes", np.array(1, np.float32)),
            r"prototypes have shape \(\)",
        ),
        (lambda f: _edit_array(f, "prototypes", np.ones((2, 7), np.float32)), "prototypes have"),
        (lambda f: _edit_array(f, "coef", np.full((2, 2, 2), np.nan)), "coef have shape"),
        (lambda f: _edit_array(f, "extra", np.zeros(2)), "holds coef, extra"),
        (_bfloat, "not a readable safetensors file"),
    ],
)
def test_numbers_that_fit_nothing_are_refused_and_leave_nothing(
    store: AdapterStore, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = small_adapter(tmp_path / "made")
    damage(folder)
    with pytest.raises(AdapterError, match=said) as refused:
        store.import_(folder)
    assert "\n" not in str(refused.value)
    assert ".part-" not in str(refused.value)
    assert store.subjects() == ()


# -- a store that was damaged ---------------------------------------------------------------------


@unix
@pytest.mark.parametrize(
    "write",
    [
        lambda p: p.write_bytes(b'{"history":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
        lambda p: p.write_text(json.dumps({"history": ["x" * 90] * 300_000})),
        lambda p: p.write_bytes(b"\xff\xfe"),
        lambda p: p.write_text('{"history": {"a": 1}}'),
        lambda p: p.write_text("[]"),
        os.mkfifo,
        lambda p: p.symlink_to("/dev/zero"),
    ],
)
def test_a_damaged_history_means_no_active_adapter_and_no_more(
    store: AdapterStore, exported: Path, write: Callable[[Path], object]
) -> None:
    kept = store.import_(exported)
    write(store.root / "kim" / STATE_NAME)
    assert [(each.adapter_id, each.active, each.problem) for each in store.list()] == [
        (kept.adapter_id, False, "")
    ]
    assert store.active("kim") is None
    store.delete(kept.adapter_id)
    assert store.list() == ()


@unix
def test_a_damaged_adapter_is_named_and_the_others_are_listed(
    store: AdapterStore, exported: Path
) -> None:
    kept = store.import_(exported)
    damages: dict[str, Callable[[Path], object]] = {
        "kim-deep": lambda f: (f / MANIFEST_NAME).write_bytes(DEEP),
        "kim-pipe": lambda f: os.mkfifo(f / MANIFEST_NAME),
        "kim-device": lambda f: (f / MANIFEST_NAME).symlink_to("/dev/zero"),
        "kim-folder": lambda f: (f / MANIFEST_NAME).mkdir(),
        "kim-empty": lambda f: None,
        "no id at all": lambda f: None,
    }
    for name, damage in damages.items():
        folder = store.root / "kim" / name
        folder.mkdir()
        damage(folder)
    found = {each.adapter_id: each.problem for each in store.list()}
    assert found.pop(kept.adapter_id) == ""
    assert set(found) == set(damages)
    assert all(name in problem and "\n" not in problem for name, problem in found.items())
    assert store.active("kim") is None
    store.activate(kept.adapter_id)
    store.delete("kim-deep")
    assert store.delete_subject("kim") == len(damages)


def test_the_history_stays_short(store: AdapterStore, exported: Path) -> None:
    kept = store.import_(exported)
    many = [f"kim-{k}" for k in range(3 * LENGTH)]
    for name in many:
        (store.root / "kim" / name).mkdir()
    write_history(store.root / "kim", (*many, kept.adapter_id))
    state = json.loads((store.root / "kim" / STATE_NAME).read_text())
    assert len(state["history"]) == LENGTH
    assert store.active("kim").adapter_id == kept.adapter_id  # type: ignore[union-attr]


# -- who may read it ------------------------------------------------------------------------------


@unix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_all_of_it_is_its_owners_only(
    store: AdapterStore, exported: Path, tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        kept = store.import_(exported)
        store.activate(kept.adapter_id)
        zip_file = store.export(kept.adapter_id, tmp_path / "deep" / "er" / "out.zip")
    finally:
        os.umask(before)
    paths = [store.root, *store.root.rglob("*"), zip_file, zip_file.parent, zip_file.parents[1]]
    modes = {
        path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in paths
    }
    expected = {
        path.relative_to(tmp_path).as_posix(): 0o700 if path.is_dir() else 0o600 for path in paths
    }
    assert modes == expected


@unix
def test_a_store_that_was_open_is_closed_by_the_next_change(
    store: AdapterStore, exported: Path
) -> None:
    store.root.mkdir(mode=0o755)
    store.import_(exported)
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


def test_a_full_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    monkeypatch.setattr("models.adapters.atomic.make_private", full)
    with pytest.raises(AdapterError) as caught:
        write_pair(tmp_path / "new", ("a.json", b"{}"))
    assert str(caught.value) == (
        f"{tmp_path / 'new'} cannot be written (No space left on device): free disk space, or "
        "choose another folder."
    )
