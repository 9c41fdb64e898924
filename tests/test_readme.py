"""The code of the README and of the site runs, and what they promise exists."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs" / "hooks"))
import tables  # noqa: E402

README = (ROOT / "README.md").read_text()
PLACES = ("*.md", "docs/**/*.md", "datasets/*/*.md", "experiments/*/*.md")
TEXTS = sorted(path for place in PLACES for path in ROOT.glob(place))
BLOCKS = {
    f"{path.relative_to(ROOT)}-{i}": block
    for path in TEXTS
    if path.parent.name != "tutorials"  # a slow test runs these
    for i, block in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S))
}
COMMAND = re.compile(r"(?<![\w/.-])paratime (fit|\w+(?: \w+)?)(?= +[-\\]|$)", re.M)
TARGET = re.compile(r"(?:^ *|`)make ([a-z-]+)(?=`|\s+#|$)", re.M)
EXAMPLES = re.compile(r"^```text\n(.*?)^```|^    (paratime .*)$", re.M | re.S)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # GluonTS's use of pandas
@pytest.mark.parametrize("name", BLOCKS)
def test_a_code_block_runs(name, capsys):
    exec(compile(BLOCKS[name], name, "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_verify_prints_the_table_that_is_shown(capsys):
    page = (ROOT / "docs" / "understand" / "own-cell.md").read_text()
    exec(BLOCKS["docs/understand/own-cell.md-0"], {"__name__": "readme"})
    out = capsys.readouterr().out.splitlines()
    shown = re.search(r"```text\n(LeakyCell.*?)```", page, re.DOTALL)[1].splitlines()
    assert out[0] == shown[0] and out[1].split() == shown[1].split()
    assert out[2].startswith("float64") and out[2].split()[-1] == "ok"
    assert out[3].startswith("float32") and out[3].split()[-1] == "ok"


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_named_files_exist(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    links = [a or b for a, b in links if "://" not in (a or b)]
    named = re.findall(r"`((?:paratime|configs|tests|experiments|docs)/[\w/.-]+\.\w+)`", text)
    for target in [link.partition("#")[0] for link in links] + named:
        assert (path.parent / target).exists() or (ROOT / target).exists(), target


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_pictures_have_a_text_and_a_dark_twin(path):
    for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", path.read_text()):
        if "docs" in path.parts or path.name == "README.md":
            assert alt, target
        file, _, theme = target.partition("#only-")
        if theme:
            other = {"light": "dark", "dark": "light"}[theme]
            assert f"{file.replace(theme, other)}#only-{other}" in path.read_text(), target


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_commands_exist(path):
    from paratime.__main__ import COMMANDS as FIRST
    from paratime.forecast.commands import COMMANDS as FORECAST
    from paratime.language.commands import COMMANDS as LANGUAGE
    from paratime.world.commands import COMMANDS as WORLD

    second = {"language": (*LANGUAGE, "size"), "forecast": FORECAST, "world": WORLD}
    for block in EXAMPLES.findall(path.read_text()):
        for words in COMMAND.findall("\n".join(block)):
            first, _, rest = words.partition(" ")
            assert first in FIRST, words
            assert rest in second.get(first, (rest,)), words


def test_the_readme_is_read_in_two_minutes():
    assert len(README.splitlines()) <= 150


def test_the_results_of_the_readme_are_those_of_the_experiments():
    assert tables.make("front") in README
    times = pd.read_csv(ROOT / "experiments" / "speed" / "front.csv").set_index("steps").loc[8192]
    torch, mamba = (times[name] / times.ParaGRU for name in ("torch.nn.GRU", "Mamba"))
    text = " ".join(README.split())
    assert f"{torch:.0f} times as fast as `torch.nn.GRU`" in text
    assert f"{mamba:.1f} times as fast as Mamba" in text
    scores = pd.read_csv(ROOT / "experiments" / "forecast" / "results.csv")
    scores = scores.groupby(["data", "model"])[["MASE", "mean_wQL"]].mean()
    m3, tourism = scores.loc["m3_monthly"], scores.loc["tourism_monthly"]
    assert (m3.loc["paratime"] < m3.loc[["auto_ets", "deepar"]]).all(axis=None)
    assert tourism.mean_wQL["deepar"] < tourism.mean_wQL["paratime"]


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for path in TEXTS:
        for target in set(TARGET.findall(path.read_text())):
            assert f"\n{target}:" in makefile, target


def test_the_demo_is_the_quick_comparison():
    assert "compare -c configs/compare/quick.yaml" in (ROOT / "Makefile").read_text()
