"""The Python of every page of docs/guide/ runs from top to bottom, and the index has every page."""

import re
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
PAGES = sorted(page for page in GUIDE.glob("*.md") if "```python\n" in page.read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")  # torch's, of forward mode
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": f"guide_{page.stem}"}
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        before = text.count("\n", 0, found.start()) + 1  # so that a traceback has the page's lines
        exec(compile("\n" * before + found[1], str(page), "exec"), names)


def test_the_index_has_every_page() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (GUIDE / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(page.name for page in GUIDE.glob("*.md") if page.name != "README.md")
