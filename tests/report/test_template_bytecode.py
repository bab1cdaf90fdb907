"""The bytecode of templates: kept like that of modules, and taken for the very source alone."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import pytest
from bundler.report.pages.page import TemplateBytecode

SOURCE = "{{ value }} and more"


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "page.py"
    file.write_text("options\n")
    return file


def _rendered(maker: Path, source: str = SOURCE) -> tuple[str, bool]:
    """What a template gives in a new process, and whether it had to be compiled."""
    compiled: list[str] = []

    class Environment(jinja2.Environment):
        def _generate(self, *args: object, **kwargs: object) -> str:
            compiled.append("")
            return super()._generate(*args, **kwargs)  # type: ignore[arg-type]  # Jinja's own call

    environment = Environment(
        loader=jinja2.FunctionLoader(lambda _: source),
        bytecode_cache=TemplateBytecode(maker),
        autoescape=True,
    )
    return environment.get_template("page.html").render(value="x"), bool(compiled)


def test_a_template_is_compiled_once(maker: Path) -> None:
    assert _rendered(maker) == ("x and more", True)
    assert _rendered(maker) == ("x and more", False)
    assert _rendered(maker, "{{ value }}!") == ("x!", True)
    assert _rendered(maker, "{{ value }}!") == ("x!", False)
    maker.write_text("other options\n")
    assert _rendered(maker, "{{ value }}!") == ("x!", True)


@pytest.mark.parametrize("damage", [b"", b"cut", None])
def test_damaged_bytecode_is_made_again(maker: Path, damage: bytes | None) -> None:
    _rendered(maker)
    (file,) = maker.parent.glob("__pycache__/*")
    file.write_bytes(file.read_bytes()[:-20] if damage is None else damage)
    assert _rendered(maker) == ("x and more", True)
    assert _rendered(maker) == ("x and more", False)


def test_nothing_is_written_where_python_writes_none(maker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert _rendered(maker) == ("x and more", True)
    assert [*maker.parent.iterdir()] == [maker]
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (maker.parent / "__pycache__").write_text("in the way")
    assert _rendered(maker) == ("x and more", True)
