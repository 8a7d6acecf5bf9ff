"""`phosphene bench sampler`: our sampler beside diffusers' and StreamDiffusion's, taking turns.

Owns the cases, the turns and the figures; `sampler_peers` owns what runs. All draw with the same
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
    from app.benchmarks.sampler_peers import Bench, Case

CASES = {
    "cpu": (("small", 64, 1), ("small", 64, 4), ("middle", 256, 4)),
    "cuda": (("sd-turbo", 512, 1), ("sdxl-turbo", 512, 4)),
}
"""Model, side in pixels, steps; by kind of device."""
N_TURNS, WARM_UP = 15, 2
BEGIN, END = "<!-- bench sampler {0}: begin -->", "<!-- bench sampler {0}: end -->"
PAGE = Path("docs/performance.md")
COLUMNS = ("case", "who", "median ms", "least ms", "CPU ms", "ours is")


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
        `compiled` adds torch.compile on the CPU, which takes minutes to build.
    quick : bool
        A third of the turns.
    cases : tuple of (str, int, int)
        Other cases than the device's own.
    page : Path
        Where the table of a GPU is written, if the file is there.

    Raises
    ------
    AppError
        There is no such device.
    """
    from app.benchmarks import sampler_peers as peers
    from models.accelerators import choose_device

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
        bench = peers.make(case, device=str(where), compiled=compiled)
        found = _take_turns(bench, n_turns, until=began + 60 * minutes)
        rows += _rows(case, found)
        facts.append(_facts(bench, found, n_turns))
    report = {
        "device": peers.device_name(str(where)) or str(where),
        "threads": peers.n_threads(),
        "turns": n_turns,
        "left_out": left,
        "cases": facts,
        "rows": rows,
    }
    if kind == "cuda" and page.is_file():
        write_table(page, "cuda", report)
        report["written"] = str(page)
    return report


Times = dict[str, tuple[list[float], list[float]]]
"""Seconds on the clock and of the processor, by contender."""


def _take_turns(bench: Bench, n_turns: int, *, until: float) -> Times:
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
            "ours is": f"{median(wall) / ours:.2f}x" if name != "ours" else "",
        }
        for name, (wall, cpu) in found.items()
    ]


def _facts(bench: Bench, found: Times, n: int) -> dict[str, Any]:
    """What a picture is made of, and how near the roof it is."""
    from app.benchmarks import sampler_peers as peers

    parts, counts = peers.stages(bench, n=n), peers.counted(bench)
    least = min(found["ours"][0])
    roof = peers.peak(bench.device, peers.type_of(bench))
    whole = bench.case.steps * parts["unet_step"] + parts["decode"]
    return {
        "model": bench.case.model,
        "unet_step_ms": round(1000 * parts["unet_step"], 3),
        "decode_ms": round(1000 * parts["decode"], 3),
        "overhead_ms": round(1000 * (least - whole), 3),
        "gflops": round(counts["flops"] / 1e9, 3),
        "weight_mb_read": round(counts["weight_bytes"] / 1e6, 1),
        "roof_gflops_per_s": round(roof / 1e9, 1),
        "share_of_roof": round(counts["flops"] / least / roof, 3),
        "max_difference_to_diffusers": peers.difference(bench),
        **{name: round(value, 6) for name, value in peers.swap(bench).items()},
    }


def table_of(report: dict[str, Any]) -> str:
    """The rows as Markdown, with what was measured where."""
    head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
    rows = "".join(
        f"| {' | '.join(str(row[column]) for column in COLUMNS)} |\n" for row in report["rows"]
    )
    said = "".join(f"- {_said(each)}\n" for each in report["cases"])
    where = f"{report['device']}, {report['threads']} threads, {report['turns']} turns"
    return f"{where}.\n\n{head}{rows}\n{said}"


def _said(each: dict[str, Any]) -> str:
    """What one case's picture is made of, in a line."""
    return (
        f"{each['model']}: U-Net {each['unet_step_ms']} ms a step, decode {each['decode_ms']} ms, "
        f"overhead {each['overhead_ms']} ms; {each['gflops']} GFLOP and {each['weight_mb_read']} "
        f"MB of weights read a picture, {each['share_of_roof']:.0%} of the roof "
        f"({each['roof_gflops_per_s']} GFLOP/s, measured); largest difference to diffusers' "
        f"picture {each['max_difference_to_diffusers']:.1g}; other cross-attention weights in "
        f"place in {1000 * each['swap_s']:.1f} ms, A after B differs from A by {each['a_b_a']:.1g}"
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
