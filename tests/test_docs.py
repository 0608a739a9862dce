"""The pages: every link leads somewhere, every page is in the site's navigation, and the README's example runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from contextssl.commands.configuration import config_groups
from contextssl.commands.main import VERBS, main

CHECKOUT = Path(__file__).resolve().parent.parent
DOCS = CHECKOUT / "docs"
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*DOCS.rglob("*.md"), *CHECKOUT.glob("*.md")])


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def anchors(page: Path) -> set[str]:
    """The heading anchors that both GitHub and mkdocs make."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = without_code(page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(CHECKOUT) and target.exists(), f"{page.name}: {link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link} has no such heading"


def test_every_page_is_in_the_navigation() -> None:
    def pages(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        return [page for child in (node if isinstance(node, list) else node.values()) for page in pages(child)]  # type: ignore[attr-defined]

    listed = pages(yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_readme_names_the_verbs_and_files_that_there_are() -> None:
    verbs = set(re.findall(r"^\| `(\w+)[ `]", README, flags=re.M))
    assert set(VERBS) <= verbs
    for path in re.findall(
        r"`((?:contextssl|configs|benchmarks|domains)/[\w/.]+)`", README + "".join(map(Path.read_text, DOCS.rglob("*.md")))
    ):
        stored_later = path.startswith("benchmarks/results/")
        assert stored_later or (CHECKOUT / path).exists(), f"{path} is named but does not exist"
    presets = {option.removeprefix("context_ssl/") for option in config_groups()["method"] if "/" in option}
    assert {"paper", "reference", "default"} <= presets


def test_the_first_experiment_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    domain, conditioning = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    command = next(line.split() for line in README.splitlines() if line.startswith("contextssl train --configs"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("mine.py").write_text(domain)
    Path("conf/domain").mkdir(parents=True)
    Path("conf/domain/mine.yaml").write_text("_target_: mine.domain\n")
    fewer = [word.replace("num_steps=500", "num_steps=3") for word in command[1:]]
    assert main([*fewer, "train.warmup_steps=1", "device=cpu"]) == 0
    names: dict[str, object] = {}
    try:
        exec(conditioning, names)
    finally:
        sys.modules.pop("mine", None)
    told, untold, x = names["told"], names["untold"], names["x"]
    embedded = told.embed(x)  # type: ignore[attr-defined]
    assert embedded.shape == (len(x), 64) and not embedded.allclose(untold.embed(x), atol=1e-4)  # type: ignore[attr-defined, arg-type]
    assert told.length == 126  # type: ignore[attr-defined]
