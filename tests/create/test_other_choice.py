"""uv's choice is not proved, and pip's is another: mlflow 3.17 with azure-ai-ml 1.23, or 3.15 with 1.35."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.create import pipeline
from bundler.create.request import CreateRequest
from bundler.create.resolve import reference_pip, uv
from bundler.errors import ProofError
from bundler.model import IndexSettings, Requirement
from bundler.system.progress import Progress

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundler.create.request import CreateResult
    from bundler.create.resolve import Resolution, ResolveRequest
    from bundler.create.target_pip import Pip

    from tests.support.command import Command


class Resolvers:
    """Counts what pip is asked; uv is made to prefer the newest `ml`, as it does with the real ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.of_uv, self.of_pip = uv.resolve, reference_pip.resolve
        monkeypatch.setattr(uv, "resolve", self.by_uv)
        monkeypatch.setattr(reference_pip, "resolve", self.by_pip)

    def by_uv(self, request: ResolveRequest) -> Resolution:
        wanted = request.requirements
        newest = Requirement(text="ml>=2", name="ml", origin="test")
        constrained = replace(wanted, constraints=(*wanted.constraints, newest))
        return self.of_uv(replace(request, requirements=constrained))

    def by_pip(self, request: ResolveRequest, *, pip: Pip, timeout: float | None = None) -> Resolution:
        assert timeout is not None
        self.asked += 1
        return self.of_pip(request, pip=pip, timeout=timeout)


@pytest.fixture
def create(envbundle: Command, wheels: Path, tmp_path: Path, python38: Path) -> Callable[..., CreateResult]:
    """`ml` and `sdk`, whose newest versions exclude each other; an older `sdk` requires too little."""
    make_wheel(wheels, "shared", "1.0", {"shared.py": "OLD = 1\n"})
    make_wheel(wheels, "shared", "2.0", {"shared.py": ""})
    make_wheel(wheels, "ml", "1.0", {"ml.py": ""}, requires=["shared"])
    make_wheel(wheels, "ml", "2.0", {"ml.py": ""}, requires=["shared>=2"])
    make_wheel(wheels, "sdk", "1.0", {"sdk.py": "from shared import OLD\n"}, requires=["shared"])
    make_wheel(wheels, "sdk", "2.0", {"sdk.py": "from shared import OLD\n"}, requires=["shared<2"])

    def make(*arguments: str, **more: str) -> CreateResult:
        request = CreateRequest(
            arguments=arguments,
            python=str(python38),
            index=IndexSettings(no_index=True, find_links=(str(envbundle.pips), str(wheels))),
            cache_dir=envbundle.cache,
            output=tmp_path / "bundle",
        )
        request = replace(request, **more)  # type: ignore[arg-type]  # names of fields
        return pipeline.create(request, progress=Progress(stream=said), environ={})

    said = io.StringIO()
    return make


@pytest.mark.thorough
def test_what_the_caller_took_from_elsewhere_stays(
    create: Callable[..., CreateResult], wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index may have a newer `sdk`; it is not even asked for one."""
    resolvers = Resolvers(monkeypatch)
    (wheel,) = wheels.glob("sdk-1.0-*.whl")
    with pytest.raises(ProofError):
        create(f"sdk @ {wheel.as_uri()}", "ml>=2")
    assert resolvers.asked == 0


@pytest.mark.thorough
def test_what_pip_chooses_is_proved(
    create: Callable[..., CreateResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolvers = Resolvers(monkeypatch)
    done = create("sdk", "ml")
    versions = {one.name: one.version for one in done.lock.distributions}
    assert versions == {"sdk": "2.0", "ml": "1.0", "shared": "1.0"}
    assert resolvers.asked == 1


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("ml>=2", "sdk"), 1),  # pip finds nothing else
        (("ml>=2", "sdk==1.0"), 0),  # the caller wants this very sdk
        (("ml>=2", "shared>=2", "sdk<2"), 0),  # the newest that is permitted
    ],
)
def test_it_stays_refused(
    create: Callable[..., CreateResult],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    asked: int,
) -> None:
    resolvers = Resolvers(monkeypatch)
    with pytest.raises(ProofError) as failed:
        create(*arguments)
    (error,) = [one for one in failed.value.findings if one.severity == "error"]
    assert "cannot import name 'OLD' from 'shared'" in error.cause
    assert resolvers.asked == asked


@pytest.mark.thorough
def test_the_same_versions_are_proved_once(
    create: Callable[..., CreateResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip can choose as uv does: what is not proved stays so."""
    resolvers = Resolvers(monkeypatch)
    made: list[object] = []
    real, of_pip = pipeline._create, resolvers.of_pip

    def create_once_more(*arguments: object, **more: object) -> object:
        made.append(arguments)
        return real(*arguments, **more)  # type: ignore[arg-type]  # its own arguments

    def chosen(request: ResolveRequest, *, pip: Pip, timeout: float | None = None) -> Resolution:
        newest = Requirement(text="ml>=2", name="ml", origin="test")
        wanted = replace(
            request.requirements, constraints=(newest, Requirement(text="sdk<2", name="sdk", origin="test"))
        )
        return of_pip(replace(request, requirements=wanted), pip=pip, timeout=timeout)

    monkeypatch.setattr(pipeline, "_create", create_once_more)
    resolvers.of_pip = chosen
    with pytest.raises(ProofError):
        create("sdk", "ml")
    assert (resolvers.asked, len(made)) == (1, 1)


def test_versions_of_a_date_are_uvs_alone(
    create: Callable[..., CreateResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolvers = Resolvers(monkeypatch)
    with pytest.raises(ProofError):
        create("sdk", "ml", exclude_newer="2100-01-01")
    assert resolvers.asked == 0
