"""`phosphene serve`: decoding as a service for several headsets."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.common import add_device, add_generator, add_settings, device_overrides, generator

if TYPE_CHECKING:
    from app.serving.application import RayBackend
    from app.serving.gate import Gate
    from configs import SessionConfig
    from configs.serving import ServingConfig


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "serve",
        help="decode for several headsets",
        description="Decode for several headsets, until stopped: each computer sends its epochs "
        "and gets pictures back. Any address but this machine's own needs --tls and a ticket for "
        "each client.",
        epilog="docs/serving.md goes from nothing to five headsets.",
    )
    add_settings(parser)
    parser.add_argument("--system", default=None, metavar="NAME", help="what decodes")
    parser.add_argument("--weights", type=Path, default=None, metavar="DIR", help="its weights")
    add_generator(parser)
    add_device(parser)
    parser.add_argument("--threads", type=int, default=None, metavar="N", help="CPU threads each")
    parser.add_argument(
        "--service",
        type=Path,
        default=None,
        metavar="FILE",
        help="TOML of the server itself: replicas, batches, Ray's cluster",
    )
    parser.add_argument("--host", default=None, help="address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=None, help="port (7447); 0: any free one")
    parser.add_argument("--tls", action="store_true", default=None, help="encrypt")
    parser.add_argument(
        "--replicas", type=int, default=None, metavar="N", help="processes that decode (1)"
    )
    parser.add_argument(
        "--max-batch", type=int, default=None, metavar="N", help="epochs drawn together at most (8)"
    )
    parser.add_argument(
        "--ticket",
        default=None,
        metavar="NAME",
        help="make a client's ticket (its old one is worth nothing then), and end",
    )
    parser.add_argument(
        "--url", default=None, metavar="URL", help="the server's address in that ticket"
    )
    parser.add_argument(
        "--out", type=Path, default=None, metavar="FILE", help="where the ticket is written"
    )
    parser.add_argument(
        "--revoke", default=None, metavar="NAME", help="take a ticket away, and end"
    )
    parser.add_argument(
        "--announce",
        action="store_true",
        help="let who asks on the local network find the server (never its tickets)",
    )
    parser.add_argument(
        "--find", action="store_true", help="ask the local network for servers, and end"
    )
    parser.add_argument("--json", action="store_true", help="say what was done, or the address")


def run(args: argparse.Namespace) -> int:
    """Serve, see to tickets, or look for servers."""
    if args.find:
        return _find(args)
    from app.serving.tokens import Tokens
    from configs.serving import load_serving

    serving = load_serving(
        args.service,
        host=args.host,
        port=args.port,
        tls=args.tls,
        min_replicas=args.replicas,
        max_replicas=args.replicas,
        max_batch=args.max_batch,
    )
    folder = state_folder()
    tokens = Tokens(folder)
    if args.revoke is not None:
        tokens.revoke(args.revoke)
        return _said(args, {"revoked": args.revoke}, f"{args.revoke} may ask no more.")
    if args.ticket is not None:
        return _ticket(args, serving, tokens, folder)
    return _serve(args, serving, tokens, folder)


def state_folder() -> Path:
    """Where a server keeps tokens, certificate and audit: its owner's only."""
    import platformdirs

    home = os.environ.get("PHOSPHENE_HOME")
    root = Path(home) if home else platformdirs.user_data_path("phosphene", appauthor=False)
    return Path(root) / "server"


def _said(args: argparse.Namespace, document: dict[str, Any], sentence: str) -> int:
    from app.output import write_json, write_lines

    if args.json:
        write_json(document)
    else:
        write_lines([sentence])
    return 0


def _find(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from app.output import table, write_json, write_text
    from app.runtime.remote.finding import NONE_FOUND, find_servers

    found = find_servers()
    if args.json:
        write_json([asdict(each) for each in found])
    elif found:
        rows = [[each.name, each.url, each.system] for each in found]
        write_text(table(["server", "address", "system"], rows))
    else:
        write_text(NONE_FOUND)
    return 0


def _certificate(serving: ServingConfig, folder: Path) -> tuple[Path, Path] | None:
    from app.serving.certificates import own_certificate

    if not serving.tls:
        return None
    if serving.certificate is not None and serving.key is not None:
        return Path(serving.certificate), Path(serving.key)
    return own_certificate(folder)


def _url(serving: ServingConfig, port: int) -> str:
    host = f"[{serving.host}]" if ":" in serving.host else serving.host
    return f"{'https' if serving.tls else 'http'}://{host}:{port}"


def _ticket(args: argparse.Namespace, serving: ServingConfig, tokens: Any, folder: Path) -> int:
    from app.errors import AppError
    from app.runtime.remote.ticket import Ticket, write_ticket
    from app.serving.certificates import fingerprint

    url = args.url or _url(serving, serving.port)
    if "0.0.0.0" in url or "[::]" in url:  # noqa: S104 - looked for, not listened at
        raise AppError(
            "a ticket needs the address by which its client reaches this server: give --url "
            "https://NAME:PORT."
        )
    certificate = _certificate(serving, folder)
    if url.startswith("https://") and certificate is None:
        raise AppError("the ticket's --url says https: give --tls as well, as the server has it.")
    mark = "" if certificate is None else fingerprint(certificate[0])
    out = args.out or Path(f"{args.ticket}.ticket.json")
    if out.exists():
        raise AppError(f"{out} exists already: give another --out; nothing was overwritten.")
    write_ticket(Ticket(url, tokens.issue(args.ticket), mark), out)
    return _said(
        args,
        {"client": args.ticket, "url": url, "ticket": str(out)},
        f"{out} is {args.ticket}'s way to {url}: carry it to that computer, and set decoder.remote "
        f'= "{url}" and decoder.ticket there. It is a key: its owner\'s only.',
    )


def _serve(args: argparse.Namespace, serving: ServingConfig, tokens: Any, folder: Path) -> int:
    from app.ending import FINISHING, orderly
    from app.errors import AppError
    from app.output import write_json, write_lines, write_note
    from app.runtime.remote.ticket import Ticket, place_of, write_ticket
    from app.serving.announcing import announced
    from app.serving.application import serve_here
    from app.serving.certificates import fingerprint, out_of_date

    if not serving.is_loopback and not (serving.tls and tokens.clients):
        lacks = "TLS (--tls)" if not serving.tls else "a client (phosphene serve --ticket NAME)"
        raise AppError(
            f"{serving.host} can be reached by others, and this server has not {lacks}: brains' "
            "signals go over no wire in the clear, nor to anybody who asks. Nothing was started."
        )
    config = decoded_by(args)
    certificate = _certificate(serving, folder)
    if certificate is not None and (words := out_of_date(certificate[0])):
        write_note(f"Warning: {words}")
    told = contextlib.ExitStack()

    def on_ready(port: int) -> None:
        url = _url(serving, port)
        if args.announce:
            system = config.decoder.system
            told.enter_context(announced(serving.host, port, system=system, tls=serving.tls))
        if serving.is_loopback:
            mark = "" if certificate is None else fingerprint(certificate[0])
            # By port: another server of ours on this computer keeps its own.
            token = tokens.issue(f"this-computer-{port}")
            write_ticket(Ticket(url, token, mark), place_of(url))
        if args.json:
            write_json(
                {"url": url, "system": config.decoder.system, "clients": len(tokens.clients)}
            )
            sys.stdout.flush()
        else:
            write_lines([f"{config.decoder.system} decodes at {url}. Ctrl-C ends it."])

    with orderly() as end, orderly(FINISHING), told:
        serve_here(
            config,
            serving,
            make_gate=gate_maker(config, serving, tokens, folder),
            certificate=certificate,
            on_ready=on_ready,
            asked=end.asked,
        )
    if serving.address is None and end.asked.is_set():
        # All is closed and removed. As the interpreter ends, Ray's library waits some five seconds
        # more for its own servers, which have ended.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def gate_maker(
    config: SessionConfig, serving: ServingConfig, tokens: Any, folder: Path
) -> Callable[[RayBackend], Gate]:
    """What makes the server's door."""
    from app.serving.counting import Audit, Figures
    from app.serving.gate import Gate

    return lambda backend: Gate(
        backend,
        config=config,
        tokens=tokens,
        figures=Figures(),
        audit=Audit(folder / "audit.jsonl"),
        max_open=serving.max_open,
    )


def decoded_by(args: argparse.Namespace) -> SessionConfig:
    """The server's settings: what decodes and draws, and where."""
    from app.commands.common import apply_overrides, load

    config = apply_overrides(
        load(args.preset, args.config),
        {
            "decoder.system": args.system,
            "decoder.weights": None if args.weights is None else str(args.weights.resolve()),
            "decoder.generator": generator(args),
            "decoder.vae": args.vae,
            "decoder.threads": args.threads,
            **device_overrides(args),
        },
    )
    decoder = config.decoder
    update: dict[str, Any] = {"adapter": None, "remote": None}
    if decoder.backend == "auto" and decoder.device == "cpu":
        # An engine is built for one picture; the networks themselves draw a batch for less.
        update |= {"backend": "eager", "dtype": "float32"}
    update["build"] = "first"
    return config.model_copy(update={"decoder": decoder.model_copy(update=update)})
