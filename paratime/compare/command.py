"""``paratime compare``: train mixers side by side, and write a report."""

import logging
import signal
import sys
from pathlib import Path

from jsonargparse import ActionConfigFile

from paratime.cli.parser import Parser, mistakes_in_one_line, run_commands
from paratime.compare import tables
from paratime.compare.config import Comparison
from paratime.compare.domains import Build
from paratime.compare.matching import jobs_of
from paratime.compare.pool import Pool, alone, view_of, warm_up
from paratime.compare.results import Grid, Key, read
from paratime.errors import InputError
from paratime.training.quiet import quiet

GRID = "grid.json"
AGAIN = "paratime compare report --out"


def compare(comparison: Comparison, build: Build, shard: str = "1/1") -> bool:
    """Do the unfinished runs of a comparison, and write the report.

    Args:
        comparison: Its config.
        build: Builds a run.
        shard: The part of the runs to do, as i/n; other calls do the others.

    Returns:
        Whether no run has failed.

    Raises:
        InputError: A folder with another comparison, or a config that cannot be run.
    """
    first, count = parts_of(shard)
    out, grid = Path(comparison.out), comparison.grid()
    check_folder(out, grid)
    keys = sorted(grid.runs(), key=lambda key: grid.seeds.index(key.seed))[first::count]
    left = [key for key in keys if not key.path(out).exists()]
    if len(left) < len(keys):
        print(finished(keys, left))
    if left:
        warm_up(build, comparison.threads)
    with quiet(logging.WARNING):
        jobs = jobs_of(comparison, left, build)
    with alone(out):
        check_folder(out, grid)  # since another process may have begun
        grid.save(out / GRID)
    view = view_of(len(keys), len(keys) - len(left))
    try:
        Pool(build, comparison.processes, view).run(jobs)
    finally:
        view.close()
    return finish(out, grid)


def parts_of(shard: str) -> tuple[int, int]:
    """Return the first run of a shard, and how many shards there are.

    Raises:
        InputError: It is not i/n, with i from 1 to n.
    """
    i, _, n = shard.partition("/")
    if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise InputError(
            "shard", expected="i/n, with i from 1 to n", got=repr(shard), remedy="correct it"
        )
    return int(i) - 1, int(n)


def check_folder(out: Path, grid: Grid) -> None:
    """Refuse a folder of another comparison, or with files that cannot be read.

    Raises:
        InputError: It is one, or no folder.
    """
    if out.exists() and not out.is_dir():
        raise InputError(
            "out",
            expected="a folder",
            got=f"the file {str(out)!r}",
            remedy="name another with --out",
        )
    path = out / GRID
    there = Grid.load(path) if path.exists() else grid
    names = [name for name, value in vars(grid).items() if vars(there)[name] != value]
    if names == ["code"]:
        check_code(out, grid, there)
    elif names:
        raise InputError(
            f"out {out}",
            expected=f"the {' and '.join(names)} of {path}",
            got="others",
            remedy="name another folder with --out, or remove this one",
        )
    grid.results(out)  # which refuses a file that cannot be read, before anything is trained


def check_code(out: Path, grid: Grid, there: Grid) -> None:
    """Refuse finished runs of a mixer whose code was another one.

    Raises:
        InputError: There are such runs.
    """
    for key in grid.runs():
        changed = grid.code.get(key.mixer) != there.code.get(key.mixer)
        if changed and key.path(out).exists():
            raise InputError(
                f"code of {key.mixer}",
                expected=f"what it was for the finished run {key.path(out)}",
                got="an edited one",
                remedy="remove the runs of that mixer, or name another folder with --out",
            )


def finish(out: Path, grid: Grid) -> bool:
    """Write and print the report if all runs have ended; return whether none of them failed."""
    keys = grid.runs()
    left = [key for key in keys if not key.path(out).exists()]
    failed = [key for key in left if key.error(out).exists()]
    if len(failed) < len(left):
        print(f"{finished(keys, left)}; the report comes with the last one, of another process")
        return not failed
    write_report(out)
    for key in failed:
        print(f"{key!s:<32} failed, see {key.error(out)}")
    return not failed


def finished(keys: list[Key], left: list[Key]) -> str:
    """Return how many runs are finished."""
    return f"{len(keys) - len(left)} of {len(keys)} runs are finished"


def write_report(out: Path) -> None:
    """Write the report, and print its table and path; without matplotlib, all but the page."""
    with alone(out):
        try:
            from paratime.compare import report
        except ModuleNotFoundError as error:
            tables.write_tables(read(out), out)
            page = f"none: {error.name} is missing; pip install matplotlib, then {AGAIN} {out}"
        else:
            page = str(report.write_page(out))
    print(f"\n{tables.aligned_text(read(out))}\n\n{'report':<20} {page}")


def rewrite(out: str) -> None:
    """Write the report of the runs that are finished.

    Args:
        out: Folder of the comparison.
    """
    if not (Path(out) / GRID).is_file():
        raise InputError(
            "out",
            expected=f"a folder with {GRID}",
            got=repr(out),
            remedy="name the folder that paratime compare wrote",
        )
    write_report(Path(out))


def main(build: Build) -> None:
    """Run ``paratime compare ...`` from ``sys.argv``; the status is 1 if a run has failed."""
    if sys.argv[2:3] == ["report"]:
        run_commands("paratime compare", {"report": rewrite}, "Reports of comparisons.")
        return
    with mistakes_in_one_line():
        parser = _parser()
        given = vars(parser.instantiate(parser.parse_args(sys.argv[2:])))
        shard = given.pop("shard")
        given.pop("config")
        try:
            good = compare(Comparison(**given), build, shard)
        except KeyboardInterrupt:
            sys.stderr.write("paratime: interrupted; the same command continues from here\n")
            sys.exit(128 + signal.SIGINT)
    sys.exit(not good)


def _parser() -> Parser:
    """Return a parser of a comparison's options."""
    description = (
        "Train mixers side by side, with as many parameters, steps and batches, and report."
        " Finished runs are kept: the same command continues. paratime compare report --out DIR"
        " writes the report of the finished runs."
    )
    parser = Parser(prog="paratime compare", description=description, allow_abbrev=False)
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Path of a config.")
    parser.add_class_arguments(Comparison)
    parser.add_argument("--shard", type=str, default="1/1", help="Part of the runs to do, as i/n.")
    return parser
