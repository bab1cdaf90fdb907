"""Requirements files: what pip's own parser reads in them is what we read, and what we refuse says where."""

from __future__ import annotations

import codecs
import functools
import os
import random
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import requirements
from bundler.errors import InputError, MachineError
from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name, parse_wheel_filename
from pip._internal.index.collector import LinkCollector
from pip._internal.index.package_finder import PackageFinder
from pip._internal.models.format_control import FormatControl
from pip._internal.models.search_scope import SearchScope
from pip._internal.models.selection_prefs import SelectionPreferences
from pip._internal.network.session import PipSession
from pip._internal.req.constructors import install_req_from_parsed_requirement
from pip._internal.req.req_file import SUPPORTED_OPTIONS, parse_requirements

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundler.errors import EnvbundleError
    from bundler.model import Requirement, Requirements

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
Row = tuple[str | None, tuple[str, ...], str, str, str, tuple[str, ...], bool]
"""Name, extras, specifier, URL, marker, hashes, constraint."""


def project(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "pyproject.toml").write_text('[project]\nname = "local-project"\nversion = "1"\n')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with projects and archives that requirements can name."""
    monkeypatch.chdir(tmp_path)
    for name in ("proj", "my proj", "two  spaces", "libs/deep"):
        project(tmp_path, name)
    make_wheel(tmp_path, "local-wheel", "2.0")
    (tmp_path / "archive-1.0.tar.gz").write_bytes(b"")
    (tmp_path / "links").mkdir()
    return tmp_path


def url_of(text: str) -> str:
    """A URL without `#egg=`, which pip keeps and we turn into a name."""
    plain, _, fragment = text.partition("#")
    kept = "&".join(part for part in fragment.split("&") if part and not part.startswith("egg="))
    return plain + (f"#{kept}" if kept else "")


def name_of(name: str | None, url: str) -> str | None:
    filename = url.partition("#")[0].rpartition("/")[2]
    if filename.endswith(".whl"):
        return parse_wheel_filename(filename)[0]
    return canonicalize_name(name) if name else None


def ours(requirement: Requirement) -> Row:
    hashes = tuple(sorted(requirement.hashes))
    if requirement.name is None:
        body, _, marker = requirement.text.partition(" ; ")
        extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
        url = body.removesuffix(extras)
        marker = str(Pep508(f"x ; {marker}").marker) if marker else ""
        return name_of(None, url), requirement.extras, "", url, marker, hashes, requirement.constraint
    parsed = Pep508(requirement.text)
    assert requirement.name == canonicalize_name(parsed.name)
    assert requirement.extras == tuple(sorted(parsed.extras))
    url = parsed.url or ""
    marker = str(parsed.marker) if parsed.marker else ""
    name = name_of(parsed.name, url)
    return name, requirement.extras, str(parsed.specifier), url, marker, hashes, requirement.constraint


def by_pip(path: Path, *, constraint: bool = False) -> tuple[list[Row], Any]:
    """What pip reads; also the finder that its option lines configured."""
    with PipSession() as session:
        finder = PackageFinder.create(
            link_collector=LinkCollector(session=session, search_scope=SearchScope([], [], no_index=False)),
            selection_prefs=SelectionPreferences(allow_yanked=False),
        )
        rows = []
        for parsed in parse_requirements(str(path), session, finder=finder, constraint=constraint):
            wanted = install_req_from_parsed_requirement(parsed)
            link = wanted.link
            url = url_of(link.url) if link else ""
            rows.append(
                (
                    name_of(wanted.req.name if wanted.req else None, url),
                    tuple(sorted(wanted.extras)),
                    "" if link else str(wanted.req.specifier) if wanted.req else "",
                    url,
                    str(wanted.markers) if wanted.markers else "",
                    tuple(
                        sorted(f"{kind}:{one}" for kind, all_ in wanted.hash_options.items() for one in all_)
                    ),
                    wanted.constraint,
                )
            )
    return rows, finder


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / next(iter(files))


def rows(read: Requirements) -> list[Row]:
    return sorted(map(ours, (*read.requirements, *read.constraints)), key=repr)


def agree(path: Path) -> list[Row]:
    found = rows(requirements.read(files=[path]))
    assert found == sorted(by_pip(path)[0], key=repr)
    return found


LIKE_PIP = {
    "pins": {"r.txt": "six==1.16.0\nRequests>=2,<3\nzope.interface~=5.4\na!=1 , !=2\nb===1.0-weird\nc\n"},
    "extras": {"r.txt": "requests[socks,security]==2.28\nblack [d]\nA_b.C[ Ex_tra , other ]>1\n"},
    "markers": {
        "r.txt": 'a; python_version<"3.8"\nb ;python_version<"3.8"\nc==1 ; (os_name=="posix" or extra=="x")\n'
        "d;sys_platform=='a/b'\ne>=1;python_full_version<'3.7.2'\n"
    },
    "comments": {
        "r.txt": "# head\na # why\n  # indented\nb==1# not a comment, a bad version\n".replace(
            "b==1# not a comment, a bad version", "b==1\t# tab"
        )
        + "\n\n   \nc @ https://h.test/c-1.tar.gz#sha256="
        + ONE
        + " # end\n"
    },
    "continued": {"r.txt": "a==1.\\\n2\nb \\\n  >=1, \\\n  <3\nc; python_version \\\n < '3.9'\nd \\"},
    "comment ends a continued line": {"r.txt": "a==1 \\\n# why\nb==2\n   # x \\\nc\n"},
    "continued comment": {"r.txt": "# nothing \\\na==1\nb # x \\\nc\n"},
    "hashes": {
        "r.txt": f"a==1 \\\n    --hash=sha256:{ONE} \\\n    --hash=sha256:{TWO}\n"
        f"b==2 --hash sha256:{THREE} # via a\n"
        f"c @ https://h.test/c-1.tar.gz --hash=sha256:{ONE}\n"
    },
    "empty option lines": {"r.txt": "a\n\n--pre\n--prefer-binary\n--use-feature=fast-deps\nb\n"},
    "nested": {
        "r.txt": 'a\n-r sub/more.txt\n-r "sub dir/x.txt"\nz\n',
        "sub/more.txt": "b\n-r deeper/last.txt\n-c ../con.txt\n--requirement=again.txt\n",
        "sub/again.txt": "again\n",
        "sub/deeper/last.txt": "c\n-rend.txt\n",
        "sub/deeper/end.txt": "d==4\n",
        "sub dir/x.txt": "spaced\n",
        "con.txt": "b<2\nc<3 # limit\n",
    },
    "constraints of constraints": {
        "r.txt": "a\n--constraint c/one.txt\n",
        "c/one.txt": "a<9\n-c two.txt\n-r really.txt\n",
        "c/two.txt": "b<8\n",
        "c/really.txt": "b\n",
    },
    "one file twice": {"r.txt": "-r one.txt\n-r two.txt\n", "one.txt": "-r base.txt\na\n",
                       "two.txt": "-r base.txt\nb\n", "base.txt": "base\n"},
    "paths": {
        "r.txt": "./proj\nproj/\n./my proj\n./two  spaces\nlibs/deep\n"
        "./archive-1.0.tar.gz\narchive-1.0.tar.gz\n./local_wheel-2.0-py3-none-any.whl\nlocal_wheel-2.0-py3-none-any.whl\n"
    },
    "paths with extras and markers": {
        "r.txt": "./proj[fast]\n./proj[fast, slow] ; python_version < '3.9'\n./my proj; os_name == 'posix'\n"
        "./local_wheel-2.0-py3-none-any.whl[x];os_name=='posix'\nproj/ ;os_name=='posix'\n"
    },
    "editables": {
        "r.txt": '-e ./proj\n--editable=proj/\n-e "./my proj[fast]"\n-e ./proj[b,a]\n'
        "-e git+https://h.test/x.git@v1#egg=some-name\n"
        "-e git+https://h.test/x.git#egg=some-name&subdirectory=sub/dir\n"
    },
    "direct URLs": {
        "r.txt": f"a @ https://h.test/a-1.0-py3-none-any.whl#sha256={ONE}\n"
        "b@https://h.test/b-1.zip\nc[x] @ https://h.test/c.tar.gz ; os_name == 'posix'\n"
        "d@git+https://h.test/d.git@abc\ne @ git+ssh://git@h.test/e.git@v1#subdirectory=pkg\n"
        "https://h.test/f-1.0-py3-none-any.whl\nhttps://h.test/g.zip\n"
        "https://h.test/h.zip#egg=h_h\nhttps://h.test/i.zip#egg=i&sha256=" + TWO + "\n"
        "https://h.test/j.zip; os_name=='posix'\nhttps://h.test/k.zip#egg=k ; os_name=='posix'\n"
        "git+https://h.test/l.git@main#egg=l\ngit+https://h.test/m.git\n"
        "git+file:///srv/n.git#egg=n&subdirectory=s\nhg+http://h.test/o#egg=o\n"
    },
    "variables": {
        "r.txt": "a @ https://${USER_1}:${TOKEN}@h.test/a.zip\nb==${VERSION}\n"
        "c @ https://h.test/$VERSION/%7Bx%7D.zip\n-r ${SUB}/x.txt\n# ${UNSET}\n",
        "sub/x.txt": "x==${VERSION}\n",
    },
    "words and options without effect": {
        "r.txt": f"a==1 --hash=sha256:{ONE} trailing words\nb --pre\nc --index-url https://x.test/simple\n"
        "d==1 -f https://x.test -r none.txt\n"
        "-e ./proj -e ./gone --pre\n-r n.txt more.txt\n-r n.txt -r gone.txt\n"
        "-c n.txt --pre\n-c gone.txt -r n.txt\n--no-binary :none: word\n--pre word\n",
        "n.txt": "n\n",
    },
    "beginnings of options": {"r.txt": "a\n--extra-index https://x.test\n--requirem n.txt\n", "n.txt": "n\n"},
    "files by URL of this machine": {
        "r.txt": "a\n-r file://${PWD_HERE}/sub%20dir/x.txt\n-c file:${PWD_HERE}/c.txt\n",
        "sub dir/x.txt": "b\n-r y.txt\n", "sub dir/y.txt": "y\n", "c.txt": "b<2\n",
    },
    "semicolons without a marker": {"r.txt": "a;\nb==1 ;\nc @ https://h.test/c.zip ;\n./proj;\n"},
    "quotes in markers": {
        "r.txt": "a; python_version<'3.8'and os_name==\"posix\"\nb;'linux' in sys_platform\n"
        "c ; platform_machine not in \"arm64 aarch64\"\nd; python_implementation=='CPython'\n"
    },
    "spellings": {
        "r.txt": "Foo.Bar_baz (>=1.0,<2)\na(==1)\nb [x]>=1 , <2\nc==1.0.post1+local.2\nd ~=1.4.2\ne==1.*\n"
        "f>=1.0-alpha.1\ng==v1.0\nh==1!2.0\ni==01.02\n"
    },
    "other archives": {"r.txt": "./x-1.0.tar.lzma\nx-1.0.tlz\n", "x-1.0.tar.lzma": "", "x-1.0.tlz": ""},
    "odd line ends": {"r.txt": "a\r\nb==1\r\n\tc\t\r\n  d  \r\ne\x0cf\n"},
}  # fmt: skip


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # pip leaves file:// files open
@pytest.mark.parametrize("name", LIKE_PIP)
def test_what_pip_reads_we_read(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PWD_HERE", str(folder))
    for variable, value in {"USER_1": "u", "TOKEN": "t%40", "VERSION": "1.2", "SUB": "sub"}.items():
        monkeypatch.setenv(variable, value)
    assert agree(write(folder, LIKE_PIP[name]))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(codecs.BOM_UTF8 + "a==1\n# é\n".encode(), id="utf-8"),
        pytest.param(codecs.BOM_UTF16_LE + "a==1\r\n".encode("utf-16-le"), id="utf-16-le"),
        pytest.param(codecs.BOM_UTF16_BE + "a==1\r\n".encode("utf-16-be"), id="utf-16-be"),
        pytest.param(codecs.BOM_UTF32_LE + "a==1\r\n".encode("utf-32-le"), id="utf-32-le"),
        pytest.param(codecs.BOM_UTF32_BE + "a==1\r\n".encode("utf-32-be"), id="utf-32-be"),
        pytest.param("#\n# vim: set fileencoding=utf-8 :\na==1 # é\n".encode(), id="PEP 263, second line"),
        pytest.param(b"# -*- coding: latin-1 -*-\na==1\n# \xe9\n", id="PEP 263"),
    ],
)
def test_encodings(folder: Path, data: bytes) -> None:
    (folder / "r.txt").write_bytes(data)
    assert [row[:3] for row in agree(folder / "r.txt")] == [("a", (), "==1")]


@pytest.mark.thorough
def test_random_files_agree_with_pip(folder: Path) -> None:
    """Lines put together at random, from a fixed seed: whatever pip takes, we take and read alike."""
    pick = random.Random(751).choice
    heads = ["a", "B_b", "c.c[x]", "d[x,y]", "./proj", "./proj[x]", "./my proj", "archive-1.0.tar.gz"]
    heads += ["e @ https://h.test/e.zip", "f[x]@ https://h.test/f.zip", "https://h.test/g.zip#egg=g"]
    heads += ["https://h.test/h-1-py3-none-any.whl", "git+https://h.test/i.git@v1#egg=i&subdirectory=s"]
    versions = ["", "==1", ">=1,<2", " ~= 1.2", "!=1.*", " == 1.0"]
    markers = ["", "; os_name == 'posix'", " ; python_version<'3.8' or os_name=='nt'", " ;  extra == 'x'"]
    hashes = ["", f" --hash=sha256:{ONE}", f" \\\n  --hash=sha256:{ONE} \\\n  --hash sha256:{TWO}"]
    ends = ["\n", " # why\n", "\n\n", "  \n# alone\n", "\r\n", "\n--pre\n", "\n-c none.txt\n"]
    (folder / "none.txt").write_text("# nothing\n")
    for _ in range(60):
        text = ""
        for _ in range(5):
            head = pick(heads)
            direct = "/" in head or "archive" in head
            text += head + ("" if direct else pick(versions)) + pick(markers) + pick(hashes) + pick(ends)
        path = folder / "random.txt"
        path.write_bytes(text.encode())
        assert agree(path), text


OPTIONS = {
    "index": "-i https://one.test/simple\n",
    "last index wins": "-i https://one.test/simple\n--index-url=https://two.test/simple\n",
    "extra": "-i https://one.test\n--extra-index-url https://x.test --extra-index-url=https://y.test\n",
    "links": "-f links\n--find-links=https://h.test/page.html\n--find-links elsewhere\n",
    "no index": "--no-index -f ./links\n",
    "formats": "--no-binary :all: --only-binary a,b\n",
    "formats, one by one": "--only-binary :all:\n--no-binary a\n--no-binary=b,c\n",
    "behind a requirement": "b --no-binary b,c\n-e ./proj --only-binary e\n-r n.txt --no-binary=d\n",
    "blank": "--index-url=\n--extra-index-url https://x.test/simple\n--find-links ''\n",
    "trusted": "--trusted-host h.test --trusted-host=i.test:8080\n",
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_those_of_pip(folder: Path, name: str) -> None:
    path = write(folder, {"deep/r.txt": "a\n" + OPTIONS[name], "deep/n.txt": "n\n"})
    (folder / "deep" / "links").mkdir()
    found = requirements.read(files=[path])
    _, finder = by_pip(path)
    index = found.index
    expected = [*([index.index_url] if index.index_url else []), *index.extra_index_urls]
    assert finder.index_urls == ([] if index.no_index else expected)
    assert finder.search_scope.no_index == index.no_index
    assert [os.path.realpath(one) if "://" not in one else one for one in index.find_links] == [
        os.path.realpath(one) if "://" not in one else one for one in finder.find_links
    ]
    assert [one.partition(":")[0] for one in index.trusted_hosts] == [
        one.partition(":")[0] for one in finder.trusted_hosts
    ]
    control = FormatControl()
    given = [(value, control.no_binary, control.only_binary) for value in found.no_binary]
    given += [(value, control.only_binary, control.no_binary) for value in found.only_binary]
    for value, mine, other in sorted(given, key=lambda one: one[0] != ":all:"):
        FormatControl.handle_mutual_excludes(value, mine, other)
    assert (control.no_binary, control.only_binary) == (
        finder.format_control.no_binary,
        finder.format_control.only_binary,
    )


def test_switches(folder: Path) -> None:
    plain = requirements.read(arguments=["a"], files=[])
    assert (plain.pre, plain.prefer_binary, plain.require_hashes) == (False, False, False)
    path = write(folder, {"r.txt": "a\n--pre --prefer-binary\n-r n.txt\n", "n.txt": "--require-hashes\n"})
    found = requirements.read(files=[path])
    assert (found.pre, found.prefer_binary, found.require_hashes) == (True, True, True)
    hashed = write(folder, {"h.txt": f"a==1 --hash=sha256:{ONE}\n"})
    assert requirements.read(files=[hashed]).require_hashes


def test_hashes_behind_a_comment_count(folder: Path) -> None:
    """pip warns and drops such hashes; a hash that was written must never be ignored."""
    text = f"a==1 \\\n    # the wheel\n    --hash=sha256:{ONE} \\\n    --hash=sha256:{TWO}\n"
    text += f"b==1 --hash=sha256:{ONE}\n"
    found = requirements.read(files=[write(folder, {"r.txt": text})])
    assert [(one.name, len(one.hashes)) for one in found.requirements] == [("a", 2), ("b", 1)]


def test_origins(folder: Path) -> None:
    path = write(folder, {"r.txt": "# x\na\n\nb \\\n  >1\n-r n.txt\n", "n.txt": "\nc\n"})
    found = requirements.read(files=[path], arguments=["d"], constraints=[write(folder, {"c.txt": "a<2\n"})])
    assert [one.origin.removeprefix(f"{folder}/") for one in found.requirements] == [
        "the command line", "r.txt:2", "r.txt:4", "n.txt:2",
    ]  # fmt: skip
    assert [(one.text, one.origin.removeprefix(f"{folder}/")) for one in found.constraints] == [
        ("a<2", "c.txt:1")
    ]


def test_paths_beside_the_file_where_the_current_folder_has_none(folder: Path) -> None:
    """pip looks in the current folder alone; a file read from elsewhere means its neighbours."""
    project(folder, "service/lib")
    path = write(folder, {"service/r.txt": "./lib[x]\n"})
    (found,) = requirements.read(files=[path]).requirements
    assert found.text == f"{(folder / 'service' / 'lib').as_uri()}[x]"


REFUSED = {
    "no such file": ({"r.txt": "-r gone.txt\n"}, "gone.txt", "r.txt:1"),
    "syntax": ({"r.txt": "a\nb\nc\nd\ne\nf\nnumpy 1.0\n"}, "r.txt:7", "numpy 1.0"),
    "operator": ({"r.txt": "numpy=1.0\n"}, "r.txt:1", "numpy=1.0"),
    "marker": ({"r.txt": "numpy ; python<3\n"}, "r.txt:1", "python<3"),
    "marker of a path": ({"r.txt": "a\n./proj ; python<3\n"}, "r.txt:2", "python<3"),
    "unknown option": ({"r.txt": "a\n--target x\n"}, "r.txt:2", "--target"),
    "settings of a build": ({"r.txt": "a --config-settings=--x=y\n"}, "r.txt:1", "--x=y"),
    "legacy settings of a build": ({"r.txt": "a --global-option=--x\n"}, "r.txt:1", "--x"),
    "lone settings of a build": ({"r.txt": "a\n-C x=y\n"}, "r.txt:2", "--config-settings"),
    "hash of a project": ({"r.txt": f"-e ./proj --hash=sha256:{ONE}\n"}, "r.txt:1", "--hash"),
    "lone hash": ({"r.txt": f"a==1\n--hash=sha256:{ONE}\n"}, "r.txt:2", "--hash"),
    "quote": ({"r.txt": '-e "proj\n'}, "r.txt:1", "quotation"),
    "short hash": ({"r.txt": "a==1 --hash=sha256:abc\n"}, "r.txt:1", "sha256:abc"),
    "other hash": ({"r.txt": f"a==1 --hash=md5:{ONE[:32]}\n"}, "r.txt:1", "md5:"),
    "unset variable": ({"r.txt": "a\nb==${NOT_SET_HERE}\n"}, "r.txt:2", "NOT_SET_HERE"),
    "no such path": ({"r.txt": "./nothing\n"}, "r.txt:1", "nothing"),
    "no such wheel": ({"r.txt": "gone-1.0-py3-none-any.whl\n"}, "r.txt:1", "gone-1.0"),
    "another machine's path": ({"r.txt": "a @ file:///home/conda/x/work\n"}, "r.txt:1", "/home/conda/x/work"),
    "another machine's path, bare": ({"r.txt": "file:///tmp/gone/x.whl\n"}, "r.txt:1", "/tmp/gone/x.whl"),
    "circle": ({"r.txt": "a\n-r s/b.txt\n", "s/b.txt": "\n-r ../r.txt\n"}, "b.txt:2", "itself"),
    "constraint circle": ({"r.txt": "a\n-c r.txt\n"}, "r.txt:2", "itself"),
    "empty": ({"r.txt": "# nothing\n\n-c c.txt\n", "c.txt": "a\n"}, "nothing is required", "r.txt"),
    "conda": ({"environment.yml": "dependencies: [python]\n"}, "environment.yml", "not a requirements file"),
    "a folder": ({"r.txt": "a\n-r proj\n"}, "proj", "r.txt:2"),
    "two words": ({"r.txt": "-e ./my proj\n"}, "r.txt:1", "proj"),
    "NUL": ({"r.txt": "a\nb\0c\n"}, "r.txt:2", "NUL"),
    "address": ({"r.txt": "a @ http://[::1/a.whl\n"}, "r.txt:1", "http://[::1/a.whl"),
    "HTML": ({"r.txt": "<!DOCTYPE html>\n"}, "r.txt:1", "DOCTYPE"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_place(folder: Path, name: str) -> None:
    files, place, subject = REFUSED[name]
    with pytest.raises(InputError) as caught:
        requirements.read(files=[write(folder, files)])
    assert place in caught.value.message
    assert subject in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "line", ["~no-such-user/x", f"./{'a' * 3000}", f"file:///{'a' * 3000}", "-r ~no-such-user/x"]
)
def test_a_path_that_cannot_be_one_is_told(folder: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"no such file|cannot read"):
        requirements.read(files=[write(folder, {"r.txt": f"{line}\n"})])


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("numpy<=1.19.*", "write <=1.19"),
        ("numpy~=1.19.*", "write ~=1.19"),
        ("numpy=1.19.5=py38h1234_0", "numpy==1.19.5"),
        ("numpy=1.19", "numpy==1.19"),
        ("numpy 1.19", "NAME==VERSION"),
    ],
)
def test_a_wrong_spelling_is_told_with_the_right_one(folder: Path, line: str, hint: str) -> None:
    with pytest.raises(InputError, match="not a requirement") as caught:
        requirements.read(files=[write(folder, {"r.txt": f"{line}\n"})])
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("numpy>=1.19.*", "numpy>=1.19"),
        ("numpy[x] >= 1.19.*, <2.*,!=1.20.*", "numpy[x] >= 1.19, <2,!=1.20.*"),
        ("numpy>=1.* ; python_version < '3.9'", "numpy>=1 ; python_version < '3.9'"),
        ("numpy!=1.19.*", ""),
        ("numpy @ https://h.test/a>=1.*.zip", ""),
    ],
)
def test_a_star_that_says_nothing_is_left_out_and_told(folder: Path, line: str, read: str) -> None:
    found = requirements.read(files=[write(folder, {"r.txt": f"{line}\n"})])
    (one,) = found.requirements
    assert one.text == (read or line)
    told = [f"r.txt:1: {line!r} is read as {read!r}, as by older versions of pip"] if read else []
    assert [note.removeprefix(f"{folder}/") for note in found.notes] == told


def test_what_has_no_effect_is_told(folder: Path) -> None:
    text = f"a==1 --hash=sha256:{ONE} some words\nb --pre --no-binary b\n"
    text += "-r n.txt m.txt\n--pre\n-f links -f links\n"
    path = write(folder, {"r.txt": text, "n.txt": "n\n-e ./proj -i https://u:secret@h.test/simple\n"})
    found = requirements.read(files=[path])
    assert [one.removeprefix(f"{folder}/") for one in found.notes] == [
        "r.txt:1: passed over, as by pip: some words",
        "r.txt:2: passed over, as by pip: --pre",
        "n.txt:2: passed over, as by pip: --index-url https://****@h.test/simple",
        "r.txt:3: passed over, as by pip: m.txt",
    ]


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    """The URL at which the current folder is served."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_files_at_a_url_are_read_with_those_that_they_name(folder: Path, served: str) -> None:
    path = write(
        folder,
        {
            "r.txt": f"-r {served}/web/one.txt\n-c {served}/web/c.txt\na\n",
            "web/one.txt": "# é\nb\n-r deeper/two.txt\n./proj\n",
            "web/deeper/two.txt": "c\n-r ../three.txt\n",
            "web/three.txt": "d\n",
            "web/c.txt": "b<2\n",
        },
    )
    assert len(agree(path)) == 6
    (given,) = requirements.read(files=[Path(f"{served}/web/three.txt")]).requirements
    assert given.origin == f"{served}/web/three.txt:1"


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("-r {url}/gone.txt", MachineError, "404"),
        ("-r http://u:secret@127.0.0.1:1/r.txt", MachineError, "cannot read http://127.0.0.1:1/r.txt"),
        ("-r {url}/circle.txt", InputError, "includes itself"),
        ("-r {url}/local.txt", InputError, "names a file of this machine: file:///etc/passwd"),
        ("-r {url}/large.txt", InputError, "more than"),
    ],
)
def test_files_at_a_url_that_are_refused(
    folder: Path, served: str, text: str, error: type[EnvbundleError], said: str
) -> None:
    environ = {**os.environ, "PIP_RETRIES": "0"}
    files = {"circle.txt": "-r circle.txt\n", "local.txt": "-r file:///etc/passwd\n"}
    write(folder, files | {"large.txt": "#" * (9 << 20)})
    with pytest.raises(error, match=said) as caught:
        requirements.read(files=[write(folder, {"r.txt": f"{text.format(url=served)}\n"})], environ=environ)
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    assert caught.value.hint


@pytest.mark.parametrize(
    "data", [b"a\n\xff\xfe\xfa", b"\x80abc", codecs.BOM_UTF16_LE + b"a", b"# coding: nope\na"]
)
def test_text_that_is_none(folder: Path, data: bytes) -> None:
    (folder / "r.txt").write_bytes(data)
    with pytest.raises(InputError, match=r"r\.txt is not .* text"):
        requirements.read(files=[folder / "r.txt"])


def test_a_missing_variable_of_a_comment_is_none(folder: Path) -> None:
    path = write(folder, {"r.txt": "a # needs ${NOT_SET_HERE}\n"})
    assert [one.text for one in requirements.read(files=[path]).requirements] == ["a"]


def test_every_option_of_pip_is_known_or_refused(folder: Path) -> None:
    """A newer pip brings newer options: each is read, or named as unknown; none is passed over."""
    not_ours = set()
    values = {"-r": "n.txt", "-c": "n.txt", "-e": "./proj"}
    (folder / "n.txt").write_text("n\n")
    for factory in SUPPORTED_OPTIONS:
        option = factory()
        for flag in (*option._short_opts, *option._long_opts):
            value = values.get(option._short_opts[0] if option._short_opts else "", "x")
            line = f"{flag} {value}" if option.takes_value() else flag
            try:
                requirements.read(files=[write(folder, {"r.txt": f"a\n{line}\n"})])
            except InputError as error:
                not_ours.add(flag if flag in error.message else error.message)
    assert not_ours <= {"--all-releases", "--only-final", "--no-require-hashes"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("six==1.16.0", "six==1.16.0"),
        ("a @ https://u:secret@h.test/a.zip", "a @ https://****@h.test/a.zip"),
        ("git+https://secret@h.test/x.git#egg=x", "x @ git+https://****@h.test/x.git"),
        ("git+ssh://git@h.test/x.git#egg=x", "x @ git+ssh://git@h.test/x.git"),
        ("./my proj[b,a]", "my proj[a,b] (local)"),
        ("./proj ; os_name == 'posix'", "proj (local)"),
        ("./local_wheel-2.0-py3-none-any.whl", "local_wheel-2.0-py3-none-any.whl (local)"),
    ],
)
def test_what_is_told_of_a_requirement(folder: Path, line: str, told: str) -> None:
    (found,) = requirements.read(files=[write(folder, {"r.txt": line})]).requirements
    assert requirements.public(found) == told
    assert str(folder) not in told


@pytest.mark.parametrize("parted", [";", " @ https://h.test/x-1.0.tar.gz ;"])
def test_a_marker_of_a_thousand_parentheses_is_refused(tmp_path: Path, parted: str) -> None:
    """Its parser goes one call deeper for each."""
    marker = "(" * 3000 + "python_version > '3'" + ")" * 3000
    (tmp_path / "requirements.txt").write_text(f"alpha{parted} {marker}\n")
    with pytest.raises(InputError, match=r"not a (requirement|marker)"):
        requirements.read(files=[tmp_path / "requirements.txt"])


def test_links_that_lead_to_each_other_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "requirements.txt").write_text("./pack-1.0.tar.gz\n-r loop.txt\n")
    (tmp_path / "pack-1.0.tar.gz").symlink_to("pack-1.0.tar.gz")
    for name in ("loop.txt", "requirements.txt"):
        with pytest.raises(InputError, match=r"Too many levels of symbolic links|no such"):
            requirements.read(files=[tmp_path / name], arguments=[])


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    """The index was asked for it, and refused so long a URL: "out of reach" was the machine's fault."""
    (tmp_path / "requirements.txt").write_text(f"{'a' * 241}==1.0\n")
    with pytest.raises(InputError, match="a name of more than 240 characters"):
        requirements.read(files=[tmp_path / "requirements.txt"], arguments=[])
    assert requirements.read(files=[], arguments=["a" * 240]).requirements


@pytest.mark.parametrize("line", ["./x-1.0-py3-none-any.whl", "x @ file://{}/x-1.0-py3-none-any.whl"])
def test_a_wheel_that_is_a_pipe_is_refused(tmp_path: Path, line: str) -> None:
    """The resolver waited for ever."""
    os.mkfifo(tmp_path / "x-1.0-py3-none-any.whl")
    (tmp_path / "requirements.txt").write_text(line.format(tmp_path))
    with pytest.raises(InputError, match=r"x-1.0-py3-none-any.whl is no file"):
        requirements.read(files=[tmp_path / "requirements.txt"], arguments=[])


def test_a_wheel_of_a_terabyte_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x-1.0-py3-none-any.whl").touch()
    os.truncate(tmp_path / "x-1.0-py3-none-any.whl", 1 << 40)
    with pytest.raises(InputError, match="is larger than 16 GiB"):
        requirements.read(files=[], arguments=[str(tmp_path / "x-1.0-py3-none-any.whl")])
