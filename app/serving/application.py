"""The Ray Serve application: replicas of one system, and the server's own door in front of them.

Owns everything that knows Ray: starting it here or joining a cluster, how many replicas there are
and where, which of them a session keeps to, and the end. What a replica does is `service`'s, what
is let in is `gate`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.ending import take_back
from app.errors import AppError
from app.runtime.messages import Ready
from app.runtime.remote.adapters import AdapterFiles
from app.runtime.remote.wire import Served
from app.serving.connection import impatient_protocol
from app.serving.gate import Gate
from app.serving.replica import Replica, Work
from app.serving.service import Declined, ReplicaService
from configs import SessionConfig
from configs.serving import ServingConfig
from models.api import EncoderSpec
from pipeline.extras import extras_named

if TYPE_CHECKING:
    import psutil
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle

_LOG = logging.getLogger(__name__)

NAME = "phosphene"
_SSL = ("ssl_certfile", "ssl_keyfile")


def build_application(config: SessionConfig, serving: ServingConfig) -> Application:
    """The application, as `serve.run` takes it."""
    from ray import serve

    class Decoder:
        """One replica."""

        def __init__(self) -> None:
            self._service = ReplicaService(
                Replica(config),
                max_batch=serving.max_batch,
                max_wait=serving.max_wait_ms / 1000,
                threads=config.decoder.threads,
            )

        async def ready(self) -> Ready:
            return await self._service.ready()

        # What is "loaded" for a session is its state; Ray sends a session where that is.
        @serve.multiplexed(max_num_models_per_replica=1024)  # type: ignore[untyped-decorator]
        async def keep_to(self, session: str) -> str:
            return session

        async def decode(self, work: Work, budget: float) -> Served | Declined:
            await self.keep_to(work.session)
            return await self._service.decode(work, budget=budget)

        async def check_adapter(
            self, files: AdapterFiles, session: SessionConfig, ch_names: tuple[str, ...]
        ) -> EncoderSpec | Declined:
            return await self._service.check_adapter(files, session, ch_names)

        def pid(self) -> int:
            return os.getpid()

    options: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": serving.cpus, "num_gpus": serving.gpus},
        "max_ongoing_requests": 4 * serving.max_batch + 8,
        "graceful_shutdown_timeout_s": serving.drain,
        "health_check_period_s": 2.0,
    }
    if serving.max_replicas > serving.min_replicas:
        options["autoscaling_config"] = {
            "min_replicas": serving.min_replicas,
            "max_replicas": serving.max_replicas,
            # Half a batch on the average. Not more: what comes too late is refused, so that no
            # more than a batch and a half are ever under way, however many ask.
            "target_ongoing_requests": max(1.0, serving.max_batch / 2),
            "upscale_delay_s": 10.0,
        }
    else:
        options["num_replicas"] = serving.min_replicas
    return serve.deployment(**options)(Decoder).bind()


class RayBackend:
    """Replicas behind Ray's handle; satisfies `service.Backend`."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def ready(self) -> Ready:
        """What decodes."""
        found: Ready = await self._handle.ready.remote()
        return found

    async def decode(self, work: Work, *, budget: float) -> Served | Declined:
        """Decode one epoch where the session's state is, as far as that replica lives."""
        handle = self._handle.options(multiplexed_model_id=work.session)
        found: Served | Declined = await handle.decode.remote(work, budget)
        return found

    async def check_adapter(
        self, files: AdapterFiles, config: SessionConfig, ch_names: tuple[str, ...]
    ) -> EncoderSpec | Declined:
        """Load an adapter as the session would."""
        found: EncoderSpec | Declined = await self._handle.check_adapter.remote(
            files, config, ch_names
        )
        return found

    async def pid(self) -> int:
        """Process of a replica, for who tries what its end does."""
        return int(await self._handle.pid.remote())


@contextlib.contextmanager
def _ray(serving: ServingConfig) -> Iterator[None]:
    """Start Ray here, reachable by nobody without its own token; or join a cluster."""
    import psutil
    import ray
    from ray import serve

    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    with contextlib.ExitStack() as ending:
        if serving.address is None:
            folder = ending.enter_context(tempfile.TemporaryDirectory(prefix="phos-ray-"))
            before = psutil.Process().children()
            ray.init(
                include_dashboard=False,
                num_cpus=max(1, round(serving.max_replicas * max(serving.cpus, 0.01) + 1)),
                object_store_memory=256 << 20,
                _temp_dir=folder,
                **quiet,
            )
            ending.callback(_shut_down, before)
        else:
            ray.init(address=serving.address, namespace=NAME, **quiet)
            ending.callback(ray.shutdown)
        take_back()
        serve.start(proxy_location="Disabled")
        if serving.address is not None:  # our own Ray takes all with it
            ending.callback(serve.delete, NAME)
        yield


def _shut_down(before: Sequence[psutil.Process]) -> None:
    """End the Ray that was started here, its processes together.

    `ray.shutdown` ends them one after the other, a second each. Once it has ended the first, this
    process is disconnected from all, and the others have nothing to lose.
    """
    import psutil
    import ray

    ours = {process.pid for process in before}
    first = [each for each in psutil.Process().children() if each.pid not in ours]
    found = first + [below for each in first for below in each.children(recursive=True)]
    over = threading.Event()

    def end_together() -> None:
        while not over.wait(0.01) and all(map(_lives, first)):
            pass
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    others = threading.Thread(target=end_together, name="ray-end", daemon=True)
    others.start()
    ray.shutdown()
    over.set()
    others.join()
    # What still writes keeps the folder from being removed.
    until = time.monotonic() + 1.0
    while any(map(_lives, found)) and time.monotonic() < until:
        time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def serve_here(
    config: SessionConfig,
    serving: ServingConfig,
    *,
    make_gate: Callable[[RayBackend], Gate],
    certificate: tuple[Path, Path] | None,
    on_ready: Callable[[int], None],
    asked: threading.Event,
) -> None:
    """Serve until `asked`; then drain.

    Parameters
    ----------
    make_gate : callable
        Makes the door in front of what decodes.
    certificate : tuple of Path, optional
        Certificate and key; None: no TLS.
    on_ready : callable
        Takes the port once a replica decodes; called in a thread of its own.

    Raises
    ------
    AppError
        The port is taken, or no replica could be started.
    MissingExtraError
        Ray is not installed.
    """
    # All are read once, when Ray is imported. Its statistics of use go nowhere, the ports between
    # its processes listen at this machine's own address, and ask for its own token.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if serving.address is None:
        # Its name says Windows and macOS, where it is off already; it does the same on Linux. Ray
        # takes `_node_ip_address = "127.0.0.1"` for the machine's outer address.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    with extras_named("serving"):
        import ray  # noqa: F401
        import uvicorn  # noqa: F401
    listening = _listen(serving)
    with contextlib.closing(listening), _ray(serving):
        from ray import serve

        try:
            handle = serve.run(
                build_application(config, serving), name=NAME, route_prefix=None, blocking=False
            )
        except RuntimeError as error:
            raise AppError(
                f"no replica could be started ({' '.join(str(error).split())[:300]}): see Ray's "
                "log, and `phosphene doctor`."
            ) from None
        backend = RayBackend(handle)
        asyncio.run(
            _serve(
                make_gate(backend),
                listening,
                certificate=certificate,
                drain=serving.drain,
                on_ready=on_ready,
                asked=asked,
            )
        )


def _listen(serving: ServingConfig) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
        made = socket.create_server((serving.host, serving.port), family=family, backlog=256)
    except OSError as error:
        raise AppError(
            f"{serving.host}:{serving.port} cannot be listened at ({error.strerror or error}): "
            "choose another --host or --port."
        ) from None
    made.set_inheritable(False)
    return made


async def _serve(
    gate: Gate,
    listening: socket.socket,
    *,
    certificate: tuple[Path, Path] | None,
    drain: float,
    on_ready: Callable[[int], None],
    asked: threading.Event,
) -> None:
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc]
        """The command's own handlers see to signals."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    files = {} if certificate is None else dict(zip(_SSL, certificate, strict=True))
    settings: Any = files
    # A line for each thing that is no HTTP would be a stranger's way to fill the disk.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = Server(
        uvicorn.Config(
            gate,
            http=impatient_protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
            limit_concurrency=4096,
            h11_max_incomplete_event_size=16 << 10,
            server_header=False,
            **settings,
        )
    )
    running = asyncio.create_task(server.serve(sockets=[listening]))
    watching = asyncio.create_task(gate.watch())
    told = False
    try:
        while not asked.is_set() and not running.done():
            if not told and gate.is_ready:
                told = True
                await asyncio.to_thread(on_ready, int(listening.getsockname()[1]))
            await asyncio.sleep(0.05)
        await gate.drain(drain)
    finally:
        server.should_exit = True
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await running
