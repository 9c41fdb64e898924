"""The hooks of mkdocs: pages from all over the repository, links between them, and directives.

A Markdown file links to other files of the repository by relative paths, which work in a checkout.
On the site such a link leads to the page made of that file, or to the file's source.

A directive is a comment on a line of its own, ``<!-- table: front -->``, ``<!-- help -->`` or
``<!-- api: paratime.world -->``. It is replaced by what a program makes of the repository.
"""

import posixpath
import re
from pathlib import Path, PurePosixPath

import commands
import mathematics
import names
import tables
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {
    "CONTRIBUTING.md": "about/contributing.md",
    "CHANGELOG.md": "about/changelog.md",
    "CODE_OF_CONDUCT.md": "about/conduct.md",
    "SECURITY.md": "about/security.md",
    "datasets/language/README.md": "guides/data/language.md",
    "datasets/forecast/README.md": "guides/data/forecast.md",
    "datasets/world/README.md": "guides/data/world.md",
    "experiments/language/generation.md": "results/generation.md",
    **{
        path.relative_to(ROOT).as_posix(): f"results/{path.parent.name}.md"
        for path in sorted(ROOT.glob("experiments/*/README.md"))
    },
}
"""Pages that are made of files outside of ``docs``."""

PICTURES = {
    path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
    for path in sorted(ROOT.glob("experiments/*/*.png"))
}
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")
DIRECTIVE = re.compile(r"^<!-- (table|help|api)(?:: (.+?))? -->$", re.MULTILINE)
MAKERS = {"table": tables.make, "help": commands.make, "api": names.make}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that lie outside of ``docs``."""
    for source, place in (PAGES | PICTURES).items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to pages or to sources, and replace directives."""
    here = page.file.src_uri
    text = LINK.sub(lambda m: m[1] + _target(here, m[2], str(config.repo_url)), markdown)
    return DIRECTIVE.sub(lambda m: MAKERS[m[1]](m[2] or ""), text)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write formulas in MathML, which needs no script."""
    return mathematics.render(html)


def _target(here: str, link: str, repository: str) -> str:
    """Return what a link of a page should be on the site."""
    source = next((s for s, place in PAGES.items() if place == here), f"docs/{here}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if not (ROOT / target).exists():
        return link  # mkdocs reports it
    if (ROOT / target).is_dir() and f"{target}/README.md" in PAGES:
        target = f"{target}/README.md"
    known = PAGES | PICTURES
    if target in known or target.startswith("docs/"):
        place = known.get(target) or target.removeprefix("docs/")
        return posixpath.relpath(place, str(PurePosixPath(here).parent))
    return f"{repository}/blob/main/{target}"
