"""A target accepts the wheels that a real interpreter on that glibc accepts, in the same order."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import uv
from bundler.errors import InputError, MachineError
from bundler.model import Interpreter, Target
from bundler.targets.target import (
    UV_GLIBC_MINORS,
    best_wheel,
    for_interpreter,
    require_supported_machine,
    supports,
    tags,
    uv_platform,
)

from tests.support.machine import need_pip

PIPS_TAGS = """
import json, sys, types
glibc = tuple(int(part) for part in sys.argv[1].split("."))
cap = types.ModuleType("_manylinux")
cap.manylinux_compatible = lambda major, minor, arch: (major, minor) <= glibc
sys.modules["_manylinux"] = cap
from pip._internal.utils.compatibility_tags import get_supported
print(json.dumps([str(tag) for tag in get_supported()]))
"""


def make_interpreter(version: str = "3.8.18") -> Interpreter:
    minor = ".".join(version.split(".")[:2])
    plain = minor.replace(".", "")
    return Interpreter(
        executable=Path("/opt/python/bin/python"),
        version=version,
        implementation="cpython",
        cache_tag=f"cpython-{plain}",
        magic="550d0d0a",
        abi=f"cp{plain}m" if minor == "3.7" else f"cp{plain}",
        extension_suffixes=(".so",),
        machine="x86_64",
        glibc="2.36",
        base_prefix=Path("/opt/python"),
        stdlib=(),
        stdlib_modules=frozenset(),
        markers={"python_version": minor, "platform_release": "6.1", "platform_version": "#1 SMP"},
        conda=False,
        origin="given",
    )


def make_target(version: str = "3.8.18", glibc: str | None = None) -> Target:
    return for_interpreter(make_interpreter(version), glibc=glibc)


@pytest.mark.parametrize("glibc", ["2.5", "2.12", "2.17", "2.27", "2.31"])
def test_tags_are_those_of_the_real_interpreter_in_its_order(target_python: Path, glibc: str) -> None:
    need_pip(target_python)
    argv = [str(target_python), "-I", "-c", PIPS_TAGS, glibc]
    told = subprocess.run(argv, text=True, capture_output=True, check=True).stdout
    version = subprocess.run([target_python, "-V"], text=True, capture_output=True, check=True).stdout
    target = make_target(version.split()[1], glibc)
    assert [str(tag) for tag in tags(target)] == json.loads(told)
    assert len(set(tags(target))) == len(tags(target))


@pytest.mark.parametrize(
    ("version", "glibc", "word"),
    [
        ("3.7.16", (2, 27), "Ubuntu 18.04"),
        ("3.8.18", (2, 31), "Ubuntu 20.04"),
        ("3.9.18", (2, 31), "Ubuntu 20.04"),
        ("3.10.13", (2, 28), "no prebuilt inference image has Python 3.10"),
        ("3.11.7", (2, 31), "Ubuntu 20.04"),
        ("3.12.1", (2, 35), "Ubuntu 22.04"),
        ("3.14.0", (2, 28), "no prebuilt inference image has Python 3.14"),
    ],
)
def test_glibc_is_that_of_the_images_of_this_python(version: str, glibc: tuple[int, int], word: str) -> None:
    target = make_target(version)
    assert target.glibc == glibc
    assert word in target.glibc_reason


def test_the_default_in_so_many_words_is_the_default_target() -> None:
    assert make_target(glibc="2.31") == make_target()


@pytest.mark.parametrize(("given", "glibc"), [("2.5", 5), ("2.28", 28), (" 2.35 ", 35), ("2.99", 99)])
def test_glibc_can_be_given(given: str, glibc: int) -> None:
    target = make_target(glibc=given)
    assert (target.glibc, target.glibc_reason) == ((2, glibc), "given with --glibc")


@pytest.mark.parametrize(
    "given", ["", "2", "2.4", "2.0", "2.100", "3.1", "2.28.1", "2.05", "2.-5", "glibc", "2.٢٨"]
)
def test_what_is_no_glibc_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="is no version of glibc") as raised:
        make_target(glibc=given)
    assert "ldd --version" in (raised.value.hint or "")


def test_the_builders_kernel_stays_out() -> None:
    target = make_target()
    assert target.markers == {"python_version": "3.8", "platform_release": "", "platform_version": ""}
    assert (target.python_version, target.abi, target.machine) == ("3.8.18", "cp38", "x86_64")


@pytest.mark.parametrize(
    ("version", "glibc", "filename", "accepted"),
    [
        ("3.8.18", "2.31", "numpy-1.24.4-cp38-cp38-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("3.8.18", "2.31", "cryptography-44.0.0-cp37-abi3-manylinux_2_28_x86_64.whl", True),
        ("3.8.18", "2.27", "cryptography-44.0.0-cp37-abi3-manylinux_2_28_x86_64.whl", False),
        ("3.8.18", "2.31", "cryptography-44.0.0-cp39-abi3-manylinux_2_28_x86_64.whl", False),
        ("3.8.18", "2.31", "bcrypt-4.2.1-cp37-abi3-musllinux_1_2_x86_64.whl", False),
        ("3.8.18", "2.31", "numpy-1.24.4-cp38-cp38-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", False),
        ("3.7.16", "2.27", "numpy-1.21.6-cp37-cp37m-manylinux_2_12_x86_64.manylinux2010_x86_64.whl", True),
        ("3.7.16", "2.27", "numpy-1.21.6-cp37-cp37-manylinux2014_x86_64.whl", False),
        ("3.8.18", "2.31", "six-1.16.0-py2.py3-none-any.whl", True),
        ("3.8.18", "2.31", "six-1.16.0-py2-none-any.whl", False),
        ("3.8.18", "2.31", "local-1.0-cp38-cp38-linux_x86_64.whl", True),
        ("3.8.18", "2.31", "six-1.16.0.tar.gz", False),
        ("3.8.18", "2.31", "not a wheel.whl", False),
        ("3.8.18", "2.31", "", False),
    ],
)
def test_a_wheel_is_accepted_or_not(version: str, glibc: str, filename: str, *, accepted: bool) -> None:
    target = make_target(version, glibc)
    assert supports(target, filename) is accepted
    assert best_wheel(target, [filename]) == (filename if accepted else None)


@pytest.mark.parametrize(
    ("glibc", "filenames", "best"),
    [
        (
            "2.31",
            [
                "x-1-cp37-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                "x-1-cp37-abi3-manylinux_2_28_x86_64.whl",
                "x-1-cp37-abi3-manylinux_2_34_x86_64.whl",
            ],
            "x-1-cp37-abi3-manylinux_2_28_x86_64.whl",
        ),
        (
            "2.27",
            [
                "x-1-cp37-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                "x-1-cp37-abi3-manylinux_2_28_x86_64.whl",
            ],
            "x-1-cp37-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        ),
        (
            "2.31",
            ["x-1-cp37-abi3-manylinux_2_28_x86_64.whl", "x-1-cp38-cp38-manylinux1_x86_64.whl"],
            "x-1-cp38-cp38-manylinux1_x86_64.whl",
        ),
        (
            "2.31",
            [
                "x-1-cp38-cp38-manylinux_2_17_x86_64.manylinux_2_31_x86_64.whl",
                "x-1-cp38-cp38-manylinux_2_28_x86_64.whl",
            ],
            "x-1-cp38-cp38-manylinux_2_17_x86_64.manylinux_2_31_x86_64.whl",
        ),
        ("2.31", ["x-1-py3-none-any.whl", "x-1-py38-none-any.whl"], "x-1-py38-none-any.whl"),
        ("2.31", ["x-1-py3-none-any.whl", "x-1-cp38-none-any.whl"], "x-1-cp38-none-any.whl"),
        ("2.31", ["x-1-2-py3-none-any.whl", "x-1-10-py3-none-any.whl"], "x-1-10-py3-none-any.whl"),
        ("2.31", ["x-1-1b-py3-none-any.whl", "x-1-py3-none-any.whl"], "x-1-1b-py3-none-any.whl"),
        ("2.31", ["x-1-9-py3-none-any.whl", "x-1-py38-none-any.whl"], "x-1-py38-none-any.whl"),
        ("2.31", ["x-1.tar.gz", "x-1-cp38-cp38-win_amd64.whl"], None),
        ("2.31", [], None),
    ],
)
def test_the_best_wheel_is_the_same_in_any_order(glibc: str, filenames: list[str], best: str | None) -> None:
    target = make_target(glibc=glibc)
    assert best_wheel(target, filenames) == best
    assert best_wheel(target, reversed(filenames)) == best


@pytest.mark.parametrize(
    ("glibc", "platform_"),
    [
        ("2.5", "2_17"),
        ("2.17", "2_17"),
        ("2.18", "2_28"),
        ("2.27", "2_28"),
        ("2.28", "2_28"),
        ("2.30", "2_31"),
        ("2.31", "2_31"),
        ("2.35", "2_35"),
        ("2.40", "2_40"),
        ("2.42", "2_40"),
    ],
)
def test_uv_is_asked_for_the_nearest_platform_that_has_enough(glibc: str, platform_: str) -> None:
    assert uv_platform(make_target(glibc=glibc)) == f"x86_64-manylinux_{platform_}"


def test_uv_knows_these_platforms_and_no_others() -> None:
    told = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", "--help"], text=True, capture_output=True, check=True
    ).stdout
    known = set(told.replace("]", ",").replace(" ", "").replace("\n", "").split(","))
    ours = {f"x86_64-manylinux_2_{minor}" for minor in UV_GLIBC_MINORS}
    assert {name for name in known if name.startswith("x86_64-manylinux_2_")} == ours


def test_this_machine_is_supported() -> None:
    require_supported_machine()


@pytest.mark.parametrize(
    ("system", "machine", "message"),
    [("darwin", "x86_64", "builds on Linux"), ("linux", "aarch64", "builds for x86_64, .* aarch64")],
)
def test_another_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, message: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(MachineError, match=message) as raised:
        require_supported_machine()
    assert "Linux on x86_64" in (raised.value.hint or "")
