"""Pages of the documentation site that no file in docs/ holds; MkDocs calls the functions here.

The API reference is made of docstrings, and model cards, changelog and rules for contributors are
the files of the repository. A page of recordings (`recipes.release.audio_page`) is in the site
where it has been made. Links from docs/ to other files of the repository, which a code host
follows, lead to these pages or, where there is none, to the repository's host.
"""

from __future__ import annotations

import os
import posixpath
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
AUDIO_PAGE = "listen/index.md"
CARDS = {
    f"models/{path.parent.name}.md": path.relative_to(ROOT).as_posix()
    for path in sorted(ROOT.glob("*/pretrained/*/README.md"))
}
COPIES = CARDS | {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
# Packages whose public names are one page, and modules beside them.
PACKAGES = {"codec": "Speech tokenizer", "slm": "Language model and synthesis"}
MODULES = {
    "audio": ("Recordings", ("codec.audio.io", "codec.streaming.long_form")),
    "hhc": ("Files of codes", ("codec.bitstream.format", "codec.bitstream.verify")),
    "generation": ("Generation", ("slm.generation.generate", "slm.synthesis.voices")),
    "evaluation": (
        "Metrics, scores and reports",
        (
            *("eval.protocols", "eval.metrics.registry", "eval.metrics.readiness"),
            *("eval.scoring.pair", "eval.scoring.score", "eval.reporting.report"),
        ),
    ),
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages that are made here to the navigation."""
    nav: list[Any] = list(config.nav or [])
    api = [{title: f"api/{name}.md"} for name, title in PACKAGES.items()]
    api += [{title: f"api/{name}.md"} for name, (title, _) in MODULES.items()]
    nav.append({"Python": api})
    nav.append({"Models": [{Path(page).stem: page} for page in CARDS]})
    nav.append({"Project": [{"Changes": "changelog.md"}, {"Contributing": "contributing.md"}]})
    if (Path(config.docs_dir) / AUDIO_PAGE).is_file():
        nav.insert(1, {"Listen": AUDIO_PAGE})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add reference pages, and copies of files that lie beside docs/ with their pictures."""
    for name, title in PACKAGES.items():
        files.append(File.generated(config, f"api/{name}.md", content=package_page(name, title)))
    for name, (title, modules) in MODULES.items():
        content = f"# {title}\n\n" + "".join(f"::: {module}\n\n" for module in modules)
        files.append(File.generated(config, f"api/{name}.md", content=content))
    for page, source in COPIES.items():
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, page, content=text))
        for picture in (ROOT / source).parent.glob("*.png"):
            if picture.name in text:
                target = f"{posixpath.dirname(page)}/{Path(page).stem}/{picture.name}"
                files.append(File.generated(config, target, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave docs/ to the pages made here or to the repository's host."""
    own = page.file.src_uri
    source = COPIES.get(own, f"docs/{own}")
    return resolved(markdown, own, source, config.repo_url or os.environ.get("REPO_URL", ""))


def package_page(package: str, title: str) -> str:
    """Markdown that shows every public name of a package where it is defined."""
    module = import_module(package)
    names = [f"::: {package}{module._MODULE_OF[name]}.{name}\n\n" for name in module.__all__]
    return f"# {title}\n\n`from {package} import ...`\n\n" + "".join(names)


def resolved(markdown: str, page: str, source: str, repo_url: str) -> str:
    """Rewrite the links of one page.

    Args:
        markdown: Of the page; what is code is left alone.
        page: Path in the site's sources, such as "guides/codec.md".
        source: Path of the same page in the repository.
        repo_url: Of the repository on its host; "" leaves links to it as plain text.
    """

    def replaced(match: re.Match[str]) -> str:
        mark, text, link, anchor = match[1], match[2], match[3], match[4] or ""
        if ":" in link:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        shown = _page_of(target, page if source in COPIES.values() else "")
        if shown is not None:
            relative = posixpath.relpath(shown, posixpath.dirname(page) or ".")
            return f"{mark}[{text}]({relative}{anchor})"
        if repo_url:
            return f"{mark}[{text}]({repo_url.rstrip('/')}/blob/main/{target}{anchor})"
        return f"{text} (`{target}`)"

    parts = _CODE.split(markdown)
    return "".join(
        part if index % 2 else _LINK.sub(replaced, part) for index, part in enumerate(parts)
    )


def _page_of(target: str, copy: str) -> str | None:
    """Path in the site's sources of a file of the repository; None where it is not in the site.

    Args:
        target: Path in the repository.
        copy: Page that is a copy of a file elsewhere, whose pictures lie in a folder of its name;
            "" for a page of docs/.
    """
    for page, source in COPIES.items():
        if target == source:
            return page
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    if copy and target.endswith(".png"):
        return f"{posixpath.dirname(copy)}/{Path(copy).stem}/{posixpath.basename(target)}"
    return None
