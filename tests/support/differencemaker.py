"""Makes manifests and locks for comparisons, as values and as files, without building anything."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bundler.bundle import manifest
from bundler.bundle.manifest.values import (
    Builder,
    Content,
    Inputs,
    Manifest,
    ManifestDistribution,
    ManifestTarget,
    Needs,
    Tool,
)
from bundler.model import CheckResult, Evidence, FileFact, Finding, Isolation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SITE = "lib/python3.8/site-packages"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def dist(name: str, version: str = "1.0", **changes: Any) -> ManifestDistribution:
    """A distribution that was asked for, of a wheel of an index, with one file of a thousand bytes."""
    filename = f"{name}-{version}-py3-none-any.whl"
    made = ManifestDistribution(
        name=name,
        version=version,
        source="index",
        kind="wheel",
        filename=filename,
        url=f"https://files.example/{filename}",
        index="https://index.example/simple",
        commit=None,
        sha256=digest(filename),
        size=500,
        requested=not changes.get("required_by"),
        extras=(),
        required_by=(),
        yanked=None,
        built_from=None,
        files=1,
        bytes=1000,
        licence="MIT",
        entry_points=(),
        native=(),
        contents=(Content(name=f"{name}.py", files=1, bytes=1000),),
    )
    return replace(made, **changes)


def finding(code: str = "EB401", subject: str = "alpha", **changes: Any) -> Finding:
    plain = Finding(code=code, severity="warning", subject=subject, cause="it shadows", remedy="rename it")
    return replace(plain, **changes)


def bundle(
    *distributions: ManifestDistribution, files: Mapping[str, str] | None = None, **changes: Any
) -> Manifest:
    """A manifest with a file of each distribution.

    :param files: further files, path below site-packages → content.
    """
    contents = {f"{one.name}.py": f"{one.name} {one.version}" for one in distributions} | dict(files or {})
    made = Manifest(
        tool=Tool(version="1.0"),
        inputs=Inputs(requirements=("alpha",), constraints=(), sha256=digest("alpha")),
        target=ManifestTarget(
            python="3.8.18",
            implementation="cpython",
            abi="cp38",
            machine="x86_64",
            glibc="2.31",
            glibc_reason="a test",
        ),
        interpreter=Builder(version="3.8.18", conda=False, managed=False),
        environment={"PYTHONPATH": SITE},
        distributions=tuple(sorted(distributions, key=lambda one: one.name)),
        checks=(CheckResult(code="EB101", outcome="passed"),),
        findings=(),
        evidence=Evidence(
            baseline_freeze=(),
            freeze=(),
            expected=(),
            modules=(),
            libraries=(),
            isolation=Isolation(proof=("moved", "no-network", "read-only")),
        ),
        assumed_libraries=(),
        relies_on={},
        image=None,
        needs=Needs(libraries=("libc.so.6",), symbols=("GLIBC_2.17",)),
        documents=(FileFact(path="verify.py", sha256=digest("verify"), size=10),),
        files=tuple(
            FileFact(path=f"{SITE}/{path}", sha256=digest(text), size=1000)
            for path, text in sorted(contents.items())
        ),
    )
    return replace(made, **changes)


def write(folder: Path, content: Manifest) -> Path:
    """Write a bundle's folder that has its manifest alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.NAME).write_text(manifest.render(content), encoding="utf-8")
    return folder


PYLOCK = """\
lock-version = "1.0"
created-by = "another tool"
"""


def pylock(*packages: tuple[str, str], more: str = "") -> str:
    """A `pylock.toml` of another tool, of names and versions."""
    text = PYLOCK
    for name, version in packages:
        filename = f"{name}-{version}-py3-none-any.whl"
        text += (
            f'[[packages]]\nname = "{name}"\nversion = "{version}"\nindex = "https://index.example/simple"\n'
            f'[[packages.wheels]]\nname = "{filename}"\nurl = "https://files.example/{filename}"\n'
            f'hashes = {{sha256 = "{digest(filename)}"}}\n'
        )
    return text + more


def requirements(*packages: tuple[str, str], head: str = "") -> str:
    """Pinned requirements with hashes."""
    return head + "".join(
        f"{name}=={version} \\\n    --hash=sha256:{digest(f'{name}-{version}-py3-none-any.whl')}\n"
        for name, version in packages
    )
