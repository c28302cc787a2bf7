"""README.md and docs/: their numbers are those of the committed results, README's code runs, links lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest

from bench.pages import __main__ as pages

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted([README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])
GUIDE = sorted([*ROOT.glob("docs/guide/*.md"), *ROOT.glob("bench/**/*.md")])


def between_marks(text: str) -> dict[str, str]:
    blocks = re.findall(r"<!-- ([\w-]+):begin -->\n(.*?)<!-- \1:end -->", text, re.DOTALL)
    return {topic: content.rstrip("\n") for topic, content in blocks}


def test_every_table_of_results_is_rendered_from_a_committed_file() -> None:
    expected = pages.blocks()
    for (page, topic), text in expected.items():
        assert between_marks(page.read_text(encoding="utf-8"))[topic] == text, "type: python -m bench.pages"
    for page in PAGES:
        for topic, content in between_marks(page.read_text(encoding="utf-8")).items():
            assert not content or (page, topic) in expected


def test_the_picture_is_drawn_from_the_committed_results(tmp_path: Path) -> None:
    layers = pages.load("bench")
    digest = pages.front_page.digest(layers).encode()
    assert digest in pages.PICTURE.read_bytes(), "type: python -m bench.pages"
    pages.front_page.draw(layers, tmp_path / "speed.png")
    assert digest in (tmp_path / "speed.png").read_bytes()


def test_readme_claims_no_number_outside_the_rendered_table() -> None:
    text = re.sub(
        r"<!-- numbers:begin -->.*?<!-- numbers:end -->", "", README.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert re.findall(r"[\d.]+ ?(?:×|%|times|ms\b|µs|s\b|[KMG]i?B|points|GFLOP)", text) == []


def test_readme_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    tables = re.findall(r"(?:^\|.*\n)+", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert tables
    assert all(table.count("\n") - 2 <= 8 for table in tables)  # without its head and rule


def test_the_code_of_readme_runs() -> None:
    names: dict[str, Any] = {}
    for snippet in re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        exec(compile(snippet, str(README), "exec"), names)
    assert type(names["model"]) is type(names["lstm"])


def test_a_page_that_quotes_a_file_has_its_text() -> None:
    page = ROOT / "docs" / "add-a-cell.md"
    quoted = re.findall(r"<!-- from (\S+) -->\n```\w+\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(quoted) == page.read_text(encoding="utf-8").count("\n```") // 2  # every block says where it is from
    for file, text in quoted:
        assert text in (ROOT / file).read_text(encoding="utf-8"), f"{file} no longer has this text:\n{text}"


@pytest.mark.parametrize("page", [*PAGES, *GUIDE], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, link
