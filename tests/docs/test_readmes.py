"""Every package and every group of the configuration says what its files are, and every page is listed."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("readmes", ROOT / "docs" / "readmes.py")
readmes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(readmes)


@pytest.mark.parametrize("folder", readmes.folders(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_the_readme_lists_every_file_with_what_it_is(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == readmes.page(folder), "type: python docs/readmes.py"
    assert not re.search(r"\): *$", text, re.M), "a file has no description: add a docstring, or a first comment"
    assert len(readmes.introduction(folder).split()) > 2


def test_every_page_of_the_documentation_is_in_the_index_and_in_the_site():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()
    assert {page for page in pages if page not in site} == set()


def test_links_between_pages_lead_somewhere():
    lost = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                lost.append(f"{path.relative_to(ROOT)} -> {target}")
    assert lost == []
