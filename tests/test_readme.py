"""The code of the README and the guides runs, and what they promise is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
GUIDES = [
    (path.stem, block)
    for path in sorted((ROOT / "docs").glob("*.md"))
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
]


@pytest.mark.parametrize(
    ("name", "code"), [*(("README", block) for block in BLOCKS), *GUIDES], ids=lambda x: x[:40]
)
def test_a_code_block_runs(name, code, capsys):
    exec(compile(code, f"{name}.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_verify_prints_the_table_that_is_shown(capsys):
    exec(compile(BLOCKS[1], "README.md", "exec"), {"__name__": "readme"})
    out = capsys.readouterr().out.splitlines()
    shown = re.search(r"```text\n(LeakyCell.*?)```", README, re.DOTALL)[1].splitlines()
    assert out[0] == shown[0] and out[1].split() == shown[1].split()
    assert out[2].startswith("float64") and out[2].split()[-1] == "ok"
    assert out[3].startswith("float32") and out[3].split()[-1] == "ok"


@pytest.mark.parametrize("path", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=str)
def test_links_and_named_files_exist(path):
    text = path.read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:paratime|configs|tests|experiments|docs)/[\w/.-]+\.\w+)`", text)
    for target in links + named:
        assert (path.parent / target).exists() or (ROOT / target).exists(), target


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make (\w+)", README, re.MULTILINE)):
        assert f"\n{target}:" in makefile


def test_the_demo_is_the_quick_comparison():
    assert "compare -c configs/compare/quick.yaml" in (ROOT / "Makefile").read_text()
