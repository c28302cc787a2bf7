"""The Python code of docs/word2vec.md runs and gives the results that the page shows."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "word2vec.md"


def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), names)
    vectors = names["vectors"]
    assert vectors.most_similar(["king", "woman"], ["man"], topn=1)[0][0] == "queen"
    assert vectors.most_similar(["king", "woman"], ["man"], topn=1)[0][1] == pytest.approx(0.9606, abs=1e-4)
    assert vectors.doesnt_match(["king", "man", "tea"]) == "tea"
    assert names["output"].shape == (2, 4, 16)
    assert "oolong" in names["model"].wv
    assert names["logits"].shape == (2,)
    assert names["ids"][1, 3] == names["rows"].padding
