"""Settings from TOML and from the command line: what is read is what was written, and errors say what to type."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.train.models.recurrent import CELLS
from fastrnn.train.tasks import config
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    digits: int = setting(3, "Digits of a number.", least=1)
    decay: Mapping[str, Any] | str = setting("cosine", "One with a default.")
    sizes: tuple[int, ...] = setting((3, 5), "Sizes.", least=1)


def assigned(*texts: str, **start: Any) -> Settings:
    return config.make_settings(Settings, config.assign(Settings, start, map(config.parse_assignment, texts)))


def test_values_are_toml_and_bare_words_are_text() -> None:
    found = assigned("hidden=64", "lr=1", "cell=gru", "data=my file.txt", "clip=0.25", "sizes=[1, 2, 3]", "clip=none")
    assert (found.hidden, found.cell, found.data, found.sizes) == (64, "gru", "my file.txt", (1, 2, 3))
    assert type(found.lr) is float
    assert found.clip is None
    assert assigned('data="2024"').data == "2024"
    assert assigned("data=a=b").data == "a=b"


def test_a_nested_key_changes_one_entry() -> None:
    schedule = {"name": "decay", "factor": 0.5, "after": 4}
    assert assigned("schedule.factor=0.25", schedule=schedule).schedule == schedule | {"factor": 0.25}
    assert assigned("schedule.name=cosine", "schedule.warmup=10").schedule == {"name": "cosine", "warmup": 10}
    assert assigned("schedule.factor=0.25", "schedule=none", schedule=schedule).schedule is None
    assert schedule["factor"] == 0.5
    assert assigned("schedule.factor=0.25", schedule="decay").schedule == {"name": "decay", "factor": 0.25}
    assert assigned("decay.factor=0.25").decay == {"name": "cosine", "factor": 0.25}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hiden=3", "unknown setting 'hiden'; did you mean 'hidden'? There are: accumulate, autocast, batch"),
        ("zzz=3", "unknown setting 'zzz'. There are: accumulate, autocast"),
        ("hidden=big", 'hidden must be a whole number; got "big"'),
        ("hidden=2.5", "hidden must be a whole number; got 2.5"),
        ("hidden=true", "hidden must be a whole number; got true"),
        ("hidden=0", "hidden must be at least 1; got 0"),
        ("lr=nan", "lr must be at least 0; got nan"),
        ("lr=fast", 'lr must be a number; got "fast"'),
        ("tensorboard=1", "tensorboard must be true or false; got 1"),
        ("data=2024", 'data must be a text or "none"; got 2024'),
        (
            "cell=gur",
            f"cell must be one of {', '.join(CELLS)} (did you mean gru?)",
        ),
        ("sizes=[1, 2.5]", "sizes must be a list, each a whole number; got [1, 2.5]"),
        ("sizes=[1, 0]", "sizes must be at least 1; got [1, 0]"),
        ("schedule=3", 'schedule must be a table such as {name = "decay", factor = 0.5} or a text or "none"; got 3'),
        ("hidden", "--set takes key=value, such as --set lr=0.01; got 'hidden'"),
        ("=3", "--set takes key=value"),
    ],
)
def test_a_wrong_setting_says_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        assigned(text)
    assert message in str(error.value)


def test_an_entry_of_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden is 5, which has no entry 'size'"):
        assigned("hidden.size=3", hidden=5)


def test_a_file_is_read_and_its_errors_have_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_bytes(b'\xef\xbb\xbftask = "addition"\r\nhidden = 7\r\n[published]\r\nfigure = 99\r\n')
    assert config.read_config(file, "addition") == {"hidden": 7}
    with pytest.raises(ValueError, match=r"f\.toml is for the task 'addition', not 'lm'. Type: fastrnn train addition"):
        config.read_config(file, "lm")
    for text, line in (
        ("hidden = 7\nlr = fast\n", 2),
        ('a = 1\n\nb = "open', 3),
        ("a = 1\na = 2\n", 2),
        ("a = [\n1,\n", 2),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=rf"f\.toml, line {line}: ."):
            config.read_toml(file)
    file.write_bytes(b"data = '\xe9'")
    with pytest.raises(ValueError, match=r"f\.toml is not UTF-8: byte 8 is 0xe9"):
        config.read_toml(file)
    with pytest.raises(FileNotFoundError):
        config.read_toml(tmp_path / "missing.toml")


VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_toml_that_is_written_is_read_back(value: Any) -> None:
    text = f"value = {config.toml(value)}\n"
    assert config.tomllib.loads(text) == {"value": value}


@given(
    data=st.none() | st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text != "none"),
    clip=st.none() | st.floats(0),
    hidden=st.integers(1, 2**40),
)
def test_settings_that_are_written_are_read_back(
    data: str | None, clip: float | None, hidden: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = Settings(data=data, clip=clip, hidden=hidden, schedule={"name": "decay", "factor": 0.5}, sizes=(4,))
    file = tmp_path_factory.getbasetemp() / "settings.toml"
    file.write_text(config.document(settings, task="addition", version="1"), encoding="utf-8", newline="")
    found = config.make_settings(Settings, config.read_config(file, "addition"))
    assert found == settings
    assert isinstance(found.schedule, Mapping)
