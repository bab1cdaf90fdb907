"""What decides uv's output is counted in the key of a kept one, or keeps it from being kept."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from bundler.create.resolve import ResolveRequest, output_cache
from bundler.model import IndexSettings, Requirement, Requirements

from tests.support.bundlemaker import interpreter, target

SIX = Requirement(text="six", name="six", origin="the command line")
OTHER = replace(SIX, text="six>1")
COUNTED: dict[str, tuple[str, Any]] = {
    "requirements": ("requirements", (OTHER,)),
    "constraints": ("requirements", (OTHER,)),
    "no_binary": ("requirements", ("six",)),
    "only_binary": ("requirements", ("six",)),
    "build_constraints": ("requirements", ("setuptools<58",)),
    "pre": ("requirements", True),
    "python_version": ("target", "3.8.19"),
    "machine": ("target", "aarch64"),
    "glibc": ("target", (2, 35)),
    "markers": ("target", {"python_version": "3.9"}),
    "index_url": ("settings", "https://index.example/other"),
    "extra_index_urls": ("settings", ("https://index.example/more",)),
    "interpreter": ("", replace(interpreter(Path("/usr/bin/python3.8")), version="3.8.20")),
    "no_build": ("", True),
    "dependencies": ("", False),
}
NEVER_KEPT: dict[str, tuple[str, Any]] = {
    "find_links": ("settings", ("/wheels",)),
    "no_index": ("settings", True),
    "trusted_hosts": ("settings", ("index.example",)),
    "keyring_provider": ("settings", "subprocess"),
    "exclude_newer": ("", "2024-01-01"),
}
HOW_IT_IS_REACHED = {"cert", "client_cert", "proxy", "timeout", "retries", "variables"}
WHERE_IT_WORKS = {"scratch", "uv_cache", "store"}
HOW_LONG_AND_WHO_IS_TOLD = {
    *("refresh", "asked_since", "patience"),
    *("announce", "began", "ended", "on_request", "on_selection"),
    *("for_other_pythons",),  # as the index gave it a moment ago
}
SAID_OF_WHAT_IS_READ = {"notes", "told", "ignored", "glibc_reason"}
FOLLOWS_FROM_OTHERS = {
    *("implementation", "abi"),  # of the interpreter
    *("projects",),  # read into requirements
    *("index",),  # merged into the settings before
    *("require_hashes", "closed_by"),  # compared with the output afterwards
    *("prefer_binary",),  # becomes constraints
    *("learned", "learn"),  # what builds of files said that the pages name by their hash
}


def asked() -> ResolveRequest:
    return ResolveRequest(
        requirements=Requirements(requirements=(SIX,), constraints=(replace(SIX, text="six<9"),)),
        target=target(),
        interpreter=interpreter(Path("/usr/bin/python3.8")),
        settings=IndexSettings(index_url="https://index.example/simple"),
        variables={},
        scratch=Path("/scratch"),
        uv_cache=Path("/uv"),
        learn=lambda dist, _: pytest.fail(f"{dist} is built"),
    )


def changed(name: str, part: str, value: object) -> ResolveRequest:
    request = asked()
    if not part:
        return replace(request, **{name: value})  # type: ignore[arg-type]  # a field's name
    return replace(request, **{part: replace(getattr(request, part), **{name: value})})


def test_every_field_is_counted_or_need_not_be() -> None:
    request = asked()
    parts = (request.requirements, request.target, request.settings)
    names = {one.name for value in (request, *parts) for one in fields(value)}
    rest = HOW_IT_IS_REACHED | WHERE_IT_WORKS | HOW_LONG_AND_WHO_IS_TOLD | SAID_OF_WHAT_IS_READ
    assert names - {"target", "settings"} == {*COUNTED, *NEVER_KEPT, *rest, *FOLLOWS_FROM_OTHERS}


@pytest.mark.parametrize("name", COUNTED)
def test_what_decides_is_counted(name: str) -> None:
    assert output_cache.key(changed(name, *COUNTED[name])) != output_cache.key(asked())


@pytest.mark.parametrize("name", NEVER_KEPT)
def test_what_no_page_shows_keeps_it_from_being_kept(name: str) -> None:
    assert output_cache.may_be_kept(asked())
    assert not output_cache.may_be_kept(changed(name, *NEVER_KEPT[name]))
