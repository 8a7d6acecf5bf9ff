"""`phosphene gallery`: pictures that can be shown, ranked and drawn; one's own in one command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import AppError

if TYPE_CHECKING:
    from models.retrieval.store import VectorStore
    from pipeline.gallery import Gallery


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "gallery",
        help="pictures that are shown and identified among",
        description="List galleries, show one, or make one of your own pictures: "
        "docs/how-to/make-a-gallery.md.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, what in (
        ("list", "every registered gallery"),
        ("show", "what a gallery holds, and whether all of it can be read"),
        ("make", "make a gallery of a folder of pictures, or a store of a table of vectors"),
    ):
        action = actions.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        action.add_argument("--json", action="store_true", help="print one JSON document")
        if name == "show":
            action.add_argument("gallery", metavar="DIR|NAME", help="a folder, or a name of `list`")
        if name == "make":
            _add_make(action)


def _add_make(action: argparse.ArgumentParser) -> None:
    from pipeline.gallery import SPACE

    action.add_argument(
        "folder",
        metavar="FOLDER|TABLE",
        type=Path,
        help="pictures: file names become names, subfolders categories; or vectors as NumPy saves "
        "them (.npy, (n_vectors, n_features)), with TABLE.txt beside it: a label a line; or a "
        "store, to make its index anew",
    )
    action.add_argument(
        "--store",
        action="store_true",
        help="of a folder of pictures: their vectors alone, in one space, to search",
    )
    action.add_argument(
        "--exact", action="store_true", help="a store without an index: every search is exact"
    )
    action.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the gallery, a new or empty folder"
    )
    action.add_argument(
        "--space",
        action="append",
        metavar="NAME",
        help=f"embedding space of its vectors, several times for several ({SPACE})",
    )
    action.add_argument("--name", default=None, help="what it is called (the name of DIR)")
    action.add_argument("--licence", default=None, help="of the pictures, in a sentence")


def run(args: argparse.Namespace) -> int:
    """List, show or make."""
    from models.retrieval.store import VectorStore, is_store
    from pipeline.gallery import load_gallery

    if args.action == "list":
        return _list(_whole_galleries(), as_json=args.json)
    if args.action == "make" and (args.store or is_store(args.folder) or not args.folder.is_dir()):
        return _say_store(_make_store(args), as_json=args.json)
    if args.action == "show" and is_store(Path(args.gallery)):
        return _say_store(VectorStore(Path(args.gallery)), as_json=args.json)
    if args.action == "make":
        return _say(_make(args), as_json=args.json)
    gallery = load_gallery(args.gallery)
    for label in gallery.labels:
        gallery.image(label)  # which refuses one that cannot be read
    return _say(gallery, as_json=args.json)


def _make(args: argparse.Namespace) -> Gallery:
    from app.output import clear_progress, show_progress
    from models.pictures import picture_encoder
    from pipeline.gallery import SPACE
    from pipeline.gallery.making import LICENCE, find_pictures, make_gallery

    found = find_pictures(args.folder)
    # Before a picture is read: absent weights are said at once.
    encoders = {space: picture_encoder(space) for space in args.space or [SPACE]}
    try:
        return make_gallery(
            found,
            args.out,
            name=args.name or args.out.resolve().name,
            licence=args.licence or LICENCE,
            encoders=encoders,
            on_progress=lambda n, of: show_progress(f"{n} of {of} pictures read"),
        )
    finally:
        clear_progress()


def _make_store(args: argparse.Namespace) -> VectorStore:
    """Make a store of a table of vectors, or of the vectors of pictures."""
    from app.output import clear_progress, show_progress
    from models.retrieval.making import make_store, picture_table, read_store, read_table
    from models.retrieval.store import is_store
    from pipeline.gallery import SPACE

    spaces = args.space or [SPACE]
    if len(spaces) > 1:
        raise AppError(f"--space is given {len(spaces)} times, expected once: a store has one.")
    space, licence = spaces[0], args.licence or ""
    try:
        if is_store(args.folder):
            facts, vectors, labels = read_store(args.folder)
            space = spaces[0] if args.space else facts.space
            licence = args.licence or facts.licence
        elif args.folder.is_dir():
            vectors, labels = picture_table(
                args.folder,
                space=space,
                on_progress=lambda n, of: show_progress(f"{n} of {of} pictures read"),
            )
        else:
            vectors, labels = read_table(args.folder)
        return make_store(
            vectors,
            labels,
            args.out,
            name=args.name or args.out.resolve().name,
            space=space,
            licence=licence,
            indexed=False if args.exact else None,
            on_progress=lambda n, of: show_progress(f"{n} of {of} vectors written"),
        )
    finally:
        clear_progress()


def _say_store(store: VectorStore, *, as_json: bool) -> int:
    from app.output import write_json, write_text
    from configs.plain import plain

    facts = store.facts
    if as_json:
        write_json({**facts.model_dump(), "folder": str(store.folder), "is_exact": store.is_exact})
        return 0
    how = "every search is exact" if store.is_exact else "searched by an index"
    write_text(
        f"{plain(facts.name)}: {facts.n_vectors} vectors of {facts.n_features} numbers in "
        f"{store.folder}\n  space: {plain(facts.space)}; {how}"
        + (f"\n  {store.advice}" if store.advice else "")
    )
    return 0


def describe(gallery: Gallery) -> dict[str, Any]:
    """A gallery as the JSON shows it."""
    return {
        "name": gallery.name,
        "folder": str(gallery.folder),
        "sha256": gallery.sha256,
        "licence": gallery.licence,
        "spaces": {space: list(gallery.tables[space].shape[1:]) for space in gallery.spaces},
        "stimuli": [
            {"label": each.label, "name": each.name, "category": each.category, "kind": each.kind}
            for each in gallery.stimuli
        ],
    }


def _whole_galleries() -> list[tuple[str, Gallery]]:
    """The registered galleries; one that cannot be opened costs a line."""
    from app.output import write_note
    from pipeline.errors import GalleryError
    from pipeline.gallery import gallery_names, load_gallery

    found = []
    for name in gallery_names():
        try:
            found.append((name, load_gallery(name)))
        except GalleryError as error:
            write_note(f"Note: {error}")
    return found


def _list(galleries: list[tuple[str, Gallery]], *, as_json: bool) -> int:
    from app.output import table, write_json, write_text

    if as_json:
        entries = [describe(gallery) | {"name": name} for name, gallery in galleries]
        for entry in entries:
            entry["stimuli"] = len(entry["stimuli"])
        write_json({"galleries": entries})
        return 0
    rows = [
        (name, str(len(gallery)), str(len(set(gallery.categories))), ", ".join(gallery.spaces))
        for name, gallery in galleries
    ]
    write_text(table(("gallery", "pictures", "categories", "spaces"), rows))
    write_text("\n`phosphene gallery make FOLDER --out DIR` makes one of your own pictures.")
    return 0


def _say(gallery: Gallery, *, as_json: bool) -> int:
    from app.output import write_json, write_text

    if as_json:
        write_json(describe(gallery))
        return 0
    lines = [
        f"{gallery.name}: {len(gallery)} pictures in {gallery.folder}",
        f"  vectors: {', '.join(gallery.spaces) or 'none'}",
        f"  sha256 {gallery.sha256}",
    ]
    if gallery.licence:
        lines.append(f"  licence: {gallery.licence}")
    for category in dict.fromkeys(gallery.categories):
        labels = [each.label for each in gallery.stimuli if each.category == category]
        more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
        lines.append(f"  {category}: {', '.join(labels[:8])}{more}")
    lines += _alike(gallery)
    write_text("\n".join(lines))
    return 0


def _alike(gallery: Gallery) -> list[str]:
    """The two upright pictures whose vectors are closest: what a decoder will confuse first."""
    import numpy as np

    rows = [k for k, each in enumerate(gallery.stimuli) if each.kind == "upright"]
    if len(rows) < 2 or not gallery.space:
        return []
    vectors = gallery.embeddings[rows].reshape(len(rows), -1)
    cosine = vectors @ vectors.T - 2 * np.eye(len(rows), dtype=np.float32)
    first, second = np.unravel_index(int(cosine.argmax()), cosine.shape)
    pair = (gallery.stimuli[rows[int(first)]].label, gallery.stimuli[rows[int(second)]].label)
    return [
        f"  most alike in {gallery.space}: {pair[0]} and {pair[1]} (cosine {cosine.max():.2f}); a "
        "decoder tells pictures apart the worse the more alike they are"
    ]
