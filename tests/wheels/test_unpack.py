"""Reading one wheel: what is laid out where, what is refused, and what the facts say."""

from __future__ import annotations

import base64
import hashlib
import shutil
import stat
import subprocess
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.errors import InputError
from bundler.model import Interpreter
from bundler.wheels.facts import LACKING, OTHER_HASH, UNHASHED, UNLISTED
from bundler.wheels.unpack import unpack

from tests.support import wheelmaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundler.model import WheelFacts


SP = "lib/python3.8/site-packages"


def describe(python: Path) -> Interpreter:
    """Describe an interpreter as far as this code asks."""
    minor = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    tag = f"cp{minor.replace('.', '')}" + ("m" if minor == "3.7" else "")
    return Interpreter(
        executable=python,
        version=f"{minor}.0",
        implementation="cpython",
        cache_tag=f"cpython-{minor.replace('.', '')}",
        magic="",
        abi=tag,
        extension_suffixes=(f".cpython-{minor.replace('.', '')}-x86_64-linux-gnu.so", ".abi3.so", ".so"),
        machine="x86_64",
        glibc="2.36",
        base_prefix=python.parent.parent,
        stdlib=(),
        stdlib_modules=frozenset(),
        markers={},
        conda=False,
        origin="given",
    )


@pytest.fixture
def open_wheel(tmp_path: Path, python38: Path) -> Callable[[Path], WheelFacts]:
    def opened(wheel: Path) -> WheelFacts:
        target = tmp_path / "tree"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        return unpack(wheel, target, sha256=wheelmaker.sha256(wheel), interpreter=describe(python38))

    return opened


def test_every_scheme_goes_where_pip_puts_it(
    tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    wheel = wheelmaker.make_wheel(
        tmp_path,
        "all-schemes",
        files={
            "all_schemes/__init__.py": "",
            "all_schemes/tool.sh": "#!/bin/sh\n",
            "all_schemes-1.0.data/purelib/pure.py": "",
            "all_schemes-1.0.data/platlib/plat.py": "",
            "all_schemes-1.0.data/data/share/x/data.txt": "data",
            "all_schemes-1.0.data/headers/x.h": "",
            "all_schemes-1.0.data/scripts/run.sh": "#!/bin/sh\necho hi\n",
        },
        requires=["six>=1", "tomli; extra == 'toml'"],
        extras=["toml"],
        requires_python=">=3.7",
        entry_points="[console_scripts]\nall = all_schemes:main\n[gui_scripts]\nall-gui = all_schemes:main\n",
    )
    facts = open_wheel(wheel)
    info = f"{SP}/all_schemes-1.0.dist-info"
    assert {fact.path: fact.executable for fact in facts.files} == {
        f"{SP}/all_schemes/__init__.py": False,
        f"{SP}/all_schemes/tool.sh": True,
        f"{SP}/pure.py": False,
        f"{SP}/plat.py": False,
        "share/x/data.txt": False,
        "include/site/python3.8/all-schemes/x.h": False,
        "bin/run.sh": True,
        "bin/all": True,
        "bin/all-gui": True,
        f"{info}/METADATA": False,
        f"{info}/WHEEL": False,
        f"{info}/entry_points.txt": False,
    }
    assert facts.scripts == ("all", "all-gui", "run.sh")
    assert facts.modules == ("all_schemes", "plat", "pure")
    assert facts.requires == ("six>=1", "tomli; extra == 'toml'")
    assert (facts.extras, facts.requires_python, facts.tags) == (("toml",), ">=3.7", ("py3-none-any",))
    for fact in facts.files:
        path = tmp_path / "tree" / fact.path
        assert wheelmaker.sha256(path) == fact.sha256
        assert path.stat().st_size == fact.size
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if fact.executable else 0o644)


def rewrite(
    wheel: Path, change: Callable[[zipfile.ZipInfo, bytes], tuple[zipfile.ZipInfo, bytes] | None]
) -> None:
    """Change members of a wheel, its RECORD left as it was."""
    with zipfile.ZipFile(wheel) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(wheel, "w") as archive:
        for info, data in members:
            changed = change(info, data)
            if changed is not None:
                archive.writestr(*changed)


INFO = "bad-1.0.dist-info"


LINK = zipfile.ZipInfo("bad/link")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": {"/etc/passwd": ""}}, "absolute"),
        ({"files": {"../../x.py": ""}}, "component '..'"),
        ({"files": {"bad-1.0.data/data/../../../x": ""}}, "component '..'"),
        ({"files": {"bad-1.0.data/data//x": ""}}, "component ''"),
        ({"files": {"./x.py": ""}}, "component '.'"),
        ({"files": {"a\\..\\x.py": ""}}, "backslash"),
        ({"files": {"a\tb.py": ""}}, "control character"),
        ({"files": {f"{'n' * 256}.py": ""}}, "more than 255 bytes"),
        ({"files": {f"{'ü' * 128}.py": ""}}, "more than 255 bytes"),
        ({"files": {"bad-1.0.data/stuff/x": ""}}, "no known scheme"),
        ({"files": {"bad-1.0.data/x": ""}}, "no known scheme"),
        ({"files": {"x": "", "x/y.py": ""}}, "both a file and a folder"),
        ({"files": {"x.py": "1", "bad-1.0.data/purelib/x.py": "2"}}, "are both"),
        ({"record": f"bad.py,sha256={'A' * 43},1\nbad.py,sha256={'B' * 43},1\n"}, "stands twice in RECORD"),
        ({"record": f"bad.py,md5={'A' * 22},1\n"}, "not permitted"),
        ({"record": "bad.py\n"}, "cannot be read as a wheel"),
        ({"files": {"other-2.0.dist-info/x": ""}}, "2 .dist-info folders"),
        ({"entry_points": "[console_scripts]\nx = bad\n"}, "without a function"),
        ({"entry_points": "[console_scripts]\n../x = bad:main\n"}, "component '..'"),
        ({"entry_points": "[console_scripts]\na/x = bad:main\n"}, "outside bin/"),
        ({"entry_points": "[console_scripts]\nx = os:system;import\n"}, "without a function"),
        ({"entry_points": "nonsense"}, "not well-formed"),
    ],
)
def test_refuses(
    options: dict[str, Any], message: str, tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    wheel = wheelmaker.make_wheel(tmp_path, "bad", **options)
    with pytest.raises(InputError, match=r"^bad-1\.0-py3-none-any\.whl") as caught:
        open_wheel(wheel)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info, data: None if info.filename.endswith("/METADATA") else (info, data), "METADATA"),
        (lambda info, data: None if info.filename.endswith("/WHEEL") else (info, data), "WHEEL"),
        (lambda info, data: None if info.filename.endswith("/RECORD") else (info, data), "RECORD"),
        (
            lambda info, data: (LINK, b"/etc/passwd") if info.filename == "bad.py" else (info, data),
            "symbolic link",
        ),
    ],
)
def test_refuses_what_was_changed(
    change: Callable[[zipfile.ZipInfo, bytes], tuple[zipfile.ZipInfo, bytes] | None],
    message: str,
    tmp_path: Path,
    open_wheel: Callable[[Path], WheelFacts],
) -> None:
    wheel = wheelmaker.make_wheel(tmp_path, "bad")
    rewrite(wheel, change)
    with pytest.raises(InputError) as caught:
        open_wheel(wheel)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("options", "change", "wrong"),
    [
        ({}, None, ()),
        ({"raw": {"bad-1.0.dist-info/RECORD.jws": "{}"}}, None, ()),
        ({"raw": {"unrecorded.py": ""}}, None, (("unrecorded.py", UNLISTED),)),
        (
            {"record": f"bad.py,,\n{INFO}/METADATA,,\n{INFO}/WHEEL,,\n{INFO}/RECORD,,\n"},
            None,
            (("bad.py", UNHASHED), (f"{INFO}/METADATA", UNHASHED), (f"{INFO}/WHEEL", UNHASHED)),
        ),
        ({}, lambda name, data: b"VALUE = 2\n" if name == "bad.py" else data, (("bad.py", OTHER_HASH),)),
        ({}, lambda name, data: None if name == "bad.py" else data, (("bad.py", LACKING),)),
        # torch 1.8.1: its METADATA was changed afterwards.
        (
            {},
            lambda name, data: data + b"\n" * name.endswith("/METADATA"),
            ((f"{INFO}/METADATA", OTHER_HASH),),
        ),
        (
            {"files": {"bad-1.0.data/scripts/run": "#!python\n"}},
            lambda name, data: b"#!python\nx" if name.endswith("/run") else data,
            (("bad-1.0.data/scripts/run", OTHER_HASH),),
        ),
    ],
)
def test_what_its_own_record_says_wrongly(
    options: dict[str, Any],
    change: Callable[[str, bytes], bytes | None] | None,
    wrong: tuple[tuple[str, str], ...],
    tmp_path: Path,
    open_wheel: Callable[[Path], WheelFacts],
) -> None:
    wheel = wheelmaker.make_wheel(tmp_path, "bad", **options)

    def changed(info: zipfile.ZipInfo, data: bytes) -> tuple[zipfile.ZipInfo, bytes] | None:
        content = change(info.filename, data) if change else data
        return None if content is None else (info, content)

    rewrite(wheel, changed)
    facts = open_wheel(wheel)
    assert facts.misrecorded == wrong
    for fact in facts.files:
        assert wheelmaker.sha256(tmp_path / "tree" / fact.path) == fact.sha256


@pytest.mark.parametrize(("content", "wrong"), [(b"x = 1\n", ()), (b"x = 2\n", (("m.py", OTHER_HASH),))])
def test_record_with_another_algorithm(
    content: bytes,
    wrong: tuple[tuple[str, str], ...],
    tmp_path: Path,
    open_wheel: Callable[[Path], WheelFacts],
) -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha384(b"x = 1\n").digest()).rstrip(b"=").decode()
    wheel = wheelmaker.make_wheel(tmp_path, "bad", files={"m.py": content})
    with zipfile.ZipFile(wheel) as archive:
        record = archive.read(f"{INFO}/RECORD").decode().splitlines()
    rows = [f"m.py,sha384={digest},6" if row.startswith("m.py,") else row for row in record]
    text = "\n".join(rows).encode()
    rewrite(wheel, lambda info, data: (info, text if info.filename.endswith("/RECORD") else data))
    assert open_wheel(wheel).misrecorded == wrong


def test_damage_of_the_archive_is_refused(tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]) -> None:
    """Its RECORD may be wrong, but what the archive holds must fit the archive's own checksum."""
    wheel = wheelmaker.make_wheel(tmp_path, "bad", files={"bad.py": "VALUE = 'once'\n"})
    rewrite(wheel, lambda info, data: (info, data))
    with zipfile.ZipFile(wheel) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for info, data in members:
            archive.writestr(info.filename, data)
    wheel.write_bytes(wheel.read_bytes().replace(b"'once'", b"'else'"))
    with pytest.raises(InputError, match="CRC"):
        open_wheel(wheel)


def test_refuses_two_members_of_one_name(tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]) -> None:
    wheel = wheelmaker.make_wheel(tmp_path, "bad")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("bad.py", "VALUE = 1\n")
    with pytest.raises(InputError, match="is there twice"):
        open_wheel(wheel)


def test_refuses_a_name_cut_at_nul(tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]) -> None:
    wheel = wheelmaker.make_wheel(tmp_path, "bad")
    wheel.write_bytes(wheel.read_bytes().replace(b"bad.py", b"ba\0.py"))
    with pytest.raises(InputError, match=r"bad-1\.0"):
        open_wheel(wheel)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"#!/bin/sh\n"])
def test_refuses_what_is_no_archive(
    content: bytes, tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    wheel = tmp_path / "bad-1.0-py3-none-any.whl"
    wheel.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a wheel"):
        open_wheel(wheel)


@pytest.mark.parametrize(
    ("filename", "good"),
    [
        ("bad-1.0-py3-none-any.whl", True),
        ("bad-1.0.0-py3-none-any.whl", True),
        ("Bad-1.0-1-py3-none-any.whl", True),
        ("bad-2.0-py3-none-any.whl", False),
        ("worse-1.0-py3-none-any.whl", False),
        ("bad-1.0-any.whl", False),
        ("bad.whl", False),
    ],
)
def test_filename_fits_the_metadata(
    *, filename: str, good: bool, tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    wheel = wheelmaker.make_wheel(tmp_path, "bad").rename(tmp_path / filename)
    if good:
        assert open_wheel(wheel).dist_info == INFO
    else:
        with pytest.raises(InputError):
            open_wheel(wheel)


def spelled(folder: Path, filename: str, dist_info: str, *, wheel_version: str = "1.0") -> Path:
    """Make a wheel whose .dist-info folder is spelled in its own way."""
    stem, _, version = dist_info.removesuffix(".dist-info").rpartition("-")
    files = {
        "m.py": b"",
        f"{dist_info}/METADATA": f"Metadata-Version: 2.1\nName: {stem}\nVersion: {version}\n".encode(),
        f"{dist_info}/WHEEL": f"Wheel-Version: {wheel_version}\n".encode(),
    }
    record = f"{dist_info}/RECORD,,\n"
    with zipfile.ZipFile(folder / filename, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
        archive.writestr(f"{dist_info}/RECORD", record)
    return folder / filename


@pytest.mark.parametrize(
    ("version", "good"), [("1.0", True), ("1.9", True), ("2.0", False), ("", False), ("x", False)]
)
def test_wheel_version(
    *, version: str, good: bool, tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    wheel = spelled(tmp_path, "v-1.0-py3-none-any.whl", "v-1.0.dist-info", wheel_version=version)
    if good:
        assert open_wheel(wheel).modules == ("m",)
    else:
        with pytest.raises(InputError, match="Wheel-Version"):
            open_wheel(wheel)


@pytest.mark.parametrize(
    "dist_info", ["Foo.Bar-1.0.dist-info", "foo-bar-1.0.dist-info", "FOO_bar-1.0.0.dist-info"]
)
def test_dist_info_spelled_oddly(
    dist_info: str, tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    facts = open_wheel(spelled(tmp_path, "foo_bar-1.0-py3-none-any.whl", dist_info))
    assert facts.dist_info == dist_info
    assert facts.name == dist_info.removesuffix(".dist-info").rpartition("-")[0]


def test_what_installers_write_is_not_taken_over(
    tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    own = {
        f"bad-1.0.dist-info/{name}": "" for name in ("INSTALLER", "REQUESTED", "direct_url.json", "AUTHORS")
    }
    facts = open_wheel(wheelmaker.make_wheel(tmp_path, "bad", files=own))
    names = {fact.path.rpartition("/")[2] for fact in facts.files}
    assert names == {"AUTHORS", "METADATA", "WHEEL"}


@pytest.mark.parametrize(
    "value",
    ["evil" + " " * 60_000 + "!", "a." * 60_000 + "!", "x:" + "a." * 60_000, "a" * 100_000, "a:b[" * 30_000],
    ids=["spaces", "dots", "attribute", "letters", "brackets"],
)
@pytest.mark.parametrize("key", ["x = ", "x"])
def test_refuses_long_entry_points_at_once(
    value: str, key: str, tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    began = time.process_time()
    wheel = wheelmaker.make_wheel(tmp_path, "bad", entry_points=f"[console_scripts]\n{key}{value}\n")
    with pytest.raises(InputError, match="more than 4096 characters"):
        open_wheel(wheel)
    assert time.process_time() - began < 5


def with_members(wheel: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a wheel again with other members; an empty content removes one."""
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w", method) as archive:
        for name, data in (found | members).items():
            archive.writestr(name, data)
    return wheel


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("METADATA", "Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n\n"),
        ("WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n\n"),
        ("RECORD", "bad.py,,\n"),
        ("entry_points.txt", "[console_scripts]\n# "),
    ],
)
def test_metadata_has_a_limit(
    name: str, head: str, tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    """One long line: what reads it without a limit takes a moment, where millions of lines take minutes."""
    member = f"bad-1.0.dist-info/{name}"
    wheel = with_members(wheelmaker.make_wheel(tmp_path, "bad"), {member: head.encode() + b"x" * (66 << 20)})
    tracemalloc.start()
    with pytest.raises(InputError, match=f"{name} has more than"):
        open_wheel(wheel)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_scripts_are_limited_and_programs_are_not(
    tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    place = "bad-1.0.data/scripts"
    files = {f"{place}/tool": "\x7fELF" + "x" * (3 << 20), f"{place}/odd": "#!python\n" + "-" * 200_000}
    facts = open_wheel(wheelmaker.make_wheel(tmp_path, "bad", files=files))
    assert {"bin/tool", "bin/odd"} <= {file.path for file in facts.files}
    files = {f"{place}/long": "#!python\n" + "x = 1\n" * 300_000}
    with pytest.raises(InputError, match="is a script of more than"):
        open_wheel(wheelmaker.make_wheel(tmp_path, "bad", files=files))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_of_every_compression_is_the_wheels(
    method: int, tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    wheel = with_members(
        wheelmaker.make_wheel(tmp_path, "bad"), {"bad.py": hashlib.sha512(b"").digest() * 200}, method
    )
    data = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        start = archive.getinfo("bad.py").header_offset + 30 + len("bad.py")
    data[start + 12 : start + 40] = bytes(28)
    wheel.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a wheel"):
        open_wheel(wheel)


def test_metadata_that_is_not_utf8(tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]) -> None:
    data = b"Metadata-Version: 2.1\nName: bad\nVersion: 1.0\nAuthor: \xff\n"
    wheel = with_members(wheelmaker.make_wheel(tmp_path, "bad"), {"bad-1.0.dist-info/METADATA": data})
    with pytest.raises(InputError, match="is not UTF-8"):
        open_wheel(wheel)


def test_refuses_two_sizes_of_one_member(tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]) -> None:
    wheel = with_members(wheelmaker.make_wheel(tmp_path, "bad"), {}, zipfile.ZIP_STORED)
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo("bad.py")
        assert open_wheel(wheel).name == "bad"
    data = bytearray(wheel.read_bytes())
    data[info.header_offset + 22 : info.header_offset + 26] = (info.file_size + 1).to_bytes(4, "little")
    wheel.write_bytes(data)
    with pytest.raises(InputError, match="another size in its own header"):
        open_wheel(wheel)


def _forged(content: bytes, crc: int) -> bytes:
    """Return the content with four bytes behind it that give it a CRC."""
    for_bits = [zlib.crc32(content + (1 << bit).to_bytes(4, "little")) for bit in range(32)]
    base = zlib.crc32(content + bytes(4))
    rows = [(one ^ base, 1 << bit) for bit, one in enumerate(for_bits)]
    wanted, made = base ^ crc, 0
    for bit in reversed(range(32)):
        pivot = next(row for row in rows if row[0] >> bit & 1)
        rows = [
            (one ^ pivot[0], by ^ pivot[1]) if one >> bit & 1 else (one, by)
            for one, by in rows
            if (one, by) != pivot
        ]
        if wanted >> bit & 1:
            wanted, made = wanted ^ pivot[0], made ^ pivot[1]
    return content + made.to_bytes(4, "little")


def test_refuses_two_members_of_one_destination_with_one_crc(
    tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]
) -> None:
    good = b"VALUE = 1 #\n"
    evil = _forged(b"import os #", zlib.crc32(good))
    assert zlib.crc32(evil) == zlib.crc32(good)
    wheel = wheelmaker.make_wheel(tmp_path, "bad")
    twice = "bad-1.0.data/purelib/bad.py"
    with pytest.raises(InputError, match="are both"):
        open_wheel(with_members(wheel, {"bad.py": good, twice: evil}))
    assert open_wheel(with_members(wheel, {"bad.py": good, twice: good})).name == "bad"


def test_a_member_before_the_file(tmp_path: Path, open_wheel: Callable[[Path], WheelFacts]) -> None:
    wheel = wheelmaker.make_wheel(tmp_path, "bad")
    data = bytearray(wheel.read_bytes())
    # The end says that the directory begins later than it does: so each member begins earlier.
    at = data.rfind(b"PK\5\6") + 16
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + 40).to_bytes(4, "little")
    wheel.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a wheel"):
        open_wheel(wheel)
