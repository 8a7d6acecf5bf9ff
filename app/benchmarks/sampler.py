"""`phosphene bench sampler`: our sampler beside diffusers' and StreamDiffusion's, taking turns.

Owns the cases, the turns and the figures; `sampler_peers`,
`sampler_embedded` and `sampler_engines` own what runs. All draw with the same
weights, seed and scheduler, in one process. On a GPU the models have their true size with random
weights, and the table of docs/performance.md is written anew.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from app.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.benchmarks.sampler_embedded import EmbeddedBench
    from app.benchmarks.sampler_peers import Bench, Case
    from models.sampling.backends.engines import Engine

CASES = {
    "cpu": (("shipped", 128, 1), ("shipped", 128, 4), ("small", 64, 4), ("middle", 256, 4)),
    "cuda": (("sd-turbo", 512, 1), ("sdxl-turbo", 512, 4)),
}
"""Model, side in pixels, steps; by kind of device."""
N_TURNS, WARM_UP = 15, 2
TABLE = "table"
BEGIN, END = "<!-- bench sampler {0}: begin -->", "<!-- bench sampler {0}: end -->"
PAGE = Path("docs/performance.md")
FLAGS = frozenset(
    ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")
)
"""What a CPU can do that decides which back-end is fast, by Linux's names."""
COLUMNS = ("case", "who", "median ms", "least ms", "CPU ms", "time over our eager's")


def run_sampler_bench(
    *,
    device: str = "cpu",
    minutes: float = 8.0,
    only: str = "",
    quick: bool = False,
    cases: tuple[tuple[str, int, int], ...] = (),
    page: Path = PAGE,
) -> dict[str, Any]:
    """Measure; a report with `rows`.

    Parameters
    ----------
    device : str
        `cpu`, `cuda`, `cuda:1`.
    minutes : float
        Longest time: what has not begun by then is left out, and named.
    only : str
        `compiled` adds torch.compile on the CPU, which takes minutes to build; `peers` leaves our
        other back-ends out; `table` writes the CPU's table as well.
    quick : bool
        A third of the turns.
    cases : tuple of (str, int, int)
        Other cases than the device's own.
    page : Path
        Where the table is written, if the file is there: a GPU's, and the CPU's by `only`.

    Raises
    ------
    AppError
        There is no such device.
    """
    from app.benchmarks import sampler_embedded
    from app.benchmarks import sampler_peers as peers
    from models.accelerators import choose_device
    from models.sampling.backends.machine import cpu_flags, machine_name

    where = choose_device(device)
    kind = where.type
    if kind not in CASES and not cases:
        raise AppError(f"bench sampler has no cases for {kind}, expected {' or '.join(CASES)}.")
    began, rows, facts, left = perf_counter(), [], [], []
    n_turns = N_TURNS // 3 if quick else N_TURNS
    for model, size, steps in cases or CASES[kind]:
        if perf_counter() - began > 60 * minutes:
            left.append(f"{model} {size} px {steps} steps")
            continue
        case = peers.Case(model, size, steps)
        compiled = kind == "cuda" or only == "compiled"
        bench: Bench | EmbeddedBench = (
            sampler_embedded.make(case, compiled=compiled)
            if model == sampler_embedded.NAME
            else peers.make(case, device=str(where), compiled=compiled)
        )
        if only != "peers":
            _add_engines(bench, compiled=compiled)
        found = _take_turns(bench, n_turns, until=began + 60 * minutes)
        rows += _rows(case, found)
        facts.append(_facts(bench, found, n_turns))
    report = {
        "device": peers.device_name(str(where)) or machine_name("cpu"),
        "flags": sorted(cpu_flags() & FLAGS) if kind == "cpu" else [],
        "threads": peers.n_threads(),
        "turns": n_turns,
        "left_out": left,
        "cases": facts,
        "rows": rows,
    }
    if (kind == "cuda" or only == TABLE) and page.is_file():
        write_table(page, kind, report)
        report["written"] = str(page)
    return report


Times = dict[str, tuple[list[float], list[float]]]
"""Seconds on the clock and of the processor, by contender."""


def _add_engines(bench: Bench | EmbeddedBench, *, compiled: bool) -> None:
    """Let our sampler draw by each back-end as well."""
    from app.benchmarks.sampler_engines import engines_of

    unet = bench.parts[0].module
    dtype = str(next(unet.parameters()).dtype).removeprefix("torch.")
    bench.engines, bench.left = engines_of(
        bench.parts, bench.draw, device=str(bench.device), dtype=dtype, compiled=compiled
    )

    def by(engine: Engine) -> Callable[[], object]:
        def run() -> object:
            engine.use(bench.parts)
            picture = bench.draw()
            for part in bench.parts:
                part.use(None)
            return picture

        return run

    for name, engine in bench.engines.items():
        bench.runs[f"ours, {name}"] = by(engine)  # type: ignore[assignment]


def _take_turns(bench: Bench | EmbeddedBench, n_turns: int, *, until: float) -> Times:
    from app.benchmarks.sampler_peers import wait

    found: Times = {name: ([], []) for name in bench.runs}
    for turn in range(n_turns + WARM_UP):
        if turn > WARM_UP and perf_counter() > until:
            break
        for name, run in bench.runs.items():
            wait(bench.device)
            began, cpu = perf_counter(), process_time()
            run()
            wait(bench.device)
            if turn >= WARM_UP:
                found[name][0].append(perf_counter() - began)
                found[name][1].append(process_time() - cpu)
    return found


def _rows(case: Case, found: Times) -> list[dict[str, Any]]:
    """One a contender, with how many times longer it takes than ours."""
    ours = median(found["ours"][0])
    return [
        {
            "case": f"{case.model}, {case.size} px, {case.steps} step{'s' * (case.steps > 1)}",
            "who": name,
            "median ms": round(1000 * median(wall), 2),
            "least ms": round(1000 * min(wall), 2),
            "CPU ms": round(1000 * median(cpu), 2),
            "time over our eager's": f"{median(wall) / ours:.2f}x" if name != "ours" else "",
        }
        for name, (wall, cpu) in found.items()
    ]


def _facts(bench: Bench | EmbeddedBench, found: Times, n: int) -> dict[str, Any]:
    """What a picture is made of by each of our back-ends, and how near the roof it is."""
    from app.benchmarks import sampler_peers as peers
    from app.benchmarks.sampler_engines import overhead_of

    counts = bench.count()
    roof = peers.peak(bench.device, next(bench.parts[0].module.parameters()).dtype)
    ours: list[tuple[str, Engine | None]] = [("ours", None)]
    ours += [(f"ours, {name}", engine) for name, engine in bench.engines.items()]
    stages = []
    for who, engine in ours:
        parts = overhead_of(bench.parts, engine, bench.draw, stages=bench.stages, n=n)
        least = min(found[who][0])
        deviations = {} if engine is None else engine.manifest.deviations
        stages.append(
            {
                "who": who,
                "stages": [*(part.name for part in bench.parts), *bench.stages],
                **{f"{name}_ms": round(1000 * value, 3) for name, value in parts.items()},
                "gflops_per_s": round(counts["flops"] / least / 1e9, 2),
                "share_of_roof": round(counts["flops"] / least / roof, 3),
                "difference_to_eager": deviations.get("picture", 0.0),
            }
        )
    return {
        "model": f"{bench.case.model}, {bench.case.steps} step{'s' * (bench.case.steps > 1)}",
        "stages": stages,
        "left_out": bench.left,
        "gflops": round(counts["flops"] / 1e9, 3),
        "weight_mb_read": round(counts["weight_bytes"] / 1e6, 1),
        "roof_gflops_per_s": round(roof / 1e9, 1),
        "max_difference_to_diffusers": bench.difference(),
        **{name: round(value, 6) for name, value in bench.swap().items()},
    }


def table_of(report: dict[str, Any]) -> str:
    """The rows as Markdown, with what was measured where."""
    head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
    rows = "".join(
        f"| {' | '.join(str(row[column]) for column in COLUMNS)} |\n" for row in report["rows"]
    )
    said = "".join(f"- {_said(each)}\n" for each in report["cases"])
    able = f" ({' '.join(report['flags'])})" if report["flags"] else ""
    where = f"{report['device']}{able}, {report['threads']} threads, {report['turns']} turns"
    return f"{where}.\n\n{head}{rows}\n{said}"


def _said(each: dict[str, Any]) -> str:
    """What one case's picture is made of, in a line."""
    stages = "; ".join(
        f"{one['who']}: "
        + "".join(f"{name} {one[f'{name}_ms']} ms, " for name in one["stages"])
        + f"overhead {one['overhead_ms']} ms, {one['share_of_roof']:.0%} of the roof"
        + (f", {one['difference_to_eager']:.1g} from eager" if one["who"] != "ours" else "")
        for one in each["stages"]
    )
    swap = (
        f"; other cross-attention weights in place in {1000 * each['swap_s']:.1f} ms, A after B "
        f"differs from A by {each['a_b_a']:.1g}"
        if "swap_s" in each
        else ""
    )
    left = f"; not drawn by {', '.join(each['left_out'])}" if each["left_out"] else ""
    return (
        f"{each['model']}: {stages}. {each['gflops']} GFLOP and {each['weight_mb_read']} MB of "
        f"weights read a picture, roof {each['roof_gflops_per_s']} GFLOP/s (measured); largest "
        f"difference to diffusers' picture {each['max_difference_to_diffusers']:.1g}{swap}{left}"
    )


def write_table(page: Path, name: str, report: dict[str, Any]) -> None:
    """Put the table between a page's two marks.

    Raises
    ------
    AppError
        The page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    begin, end = BEGIN.format(name), END.format(name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise AppError(f"{page} has no place for the table, expected the lines {begin} and {end}.")
    page.write_text(f"{before}{begin}\n{table_of(report)}{end}{after}", encoding="utf-8")
