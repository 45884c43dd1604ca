"""Hook of mkdocs: pages that live beside the code they describe are part of the site too."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "experiments/README.md", "sweeps/README.md", "benchmarks/RESULTS.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8").replace("../docs/", "../").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **context: object) -> str:
    """Links from docs/ to those pages lose one level, since the site has them below its own root."""
    for page in PAGES:
        markdown = markdown.replace(f"](../{page}", f"]({page}").replace(f"](../../{page}", f"](../{page}")
    return markdown
