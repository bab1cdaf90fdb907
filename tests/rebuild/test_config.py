"""`envbundle.toml`: lines, every key, every refusal, and that reader, schema and documentation agree."""

from __future__ import annotations

import json
import os
import random
import re
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bundler import formats
from bundler.errors import InputError
from bundler.model import IndexSettings, RoomLimits
from bundler.rebuild import config
from bundler.rebuild.config import document, keys
from bundler.rebuild.config.lines import KeyPath, locate
from bundler.targets import catalogue

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(config.__path__[0])
SCHEMA: dict[str, Any] = json.loads((FOLDER / "envbundle.schema.json").read_text(encoding="utf-8"))
DOCS = Path(__file__).resolve().parents[2] / "docs" / "rebuild.md"
AML37 = "minimal-ubuntu18.04-py37-cpu-inference"
AML38 = "minimal-ubuntu20.04-py38-cpu-inference"
BUNDLE = '[[bundle]]\nname = "a"\nrequirements = "r.txt"\npython = "3.8"\n'
"""Four lines, after which keys of the bundle may follow."""


def read(folder: Path, text: str) -> config.Config:
    path = folder / "envbundle.toml"
    path.write_text(text, encoding="utf-8")
    return config.read(path)


def only(folder: Path, text: str) -> config.Bundle:
    (bundle,) = read(folder, text).bundles
    return bundle


def plain(value: Any) -> Any:
    """What a TOML value is in JSON: editors see dates as text."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, date | datetime) else value


def fits_schema(text: str) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(plain(tomllib.loads(text)))


# Every leaf names its own line.
NASTY = '''# 1 a = "L1"
"a" = "L2" # = "no" [x] {
'b.c' = ["L3", # ] "no"
  "L4", [ "L4"
  , "L5"], # ,
  { x = "L6", y.z = ["L6"], "q ] r" = "L6" },
]
d . "e\\u0020f" . g = "L8"
h = """L9"""
i = [ \'\'\'L10\'\'\', """
no ] # , = ""
\\""" no \\
""""", \'\'\'

no' '' \'\'\'\'\', "L15" ]
j = [1979-05-27 07:32:00, 1.5e3, 0x1F, true, "L16"] # "no"
[ "t" . u ] # [no]
v = "L18"
[[ bundle ]]
name = "L20"

[[bundle]]
name = "L23"
list = []
[bundle.sub]
deep = ["L26"]
[[bundle.rows]]
x = "L28"
[[bundle.rows]]
x = "L30"
[[bundle]]
name = "L32"
[[bundle.rows]]
x = "L34"
[t.w]
empty = {}
last = "L37"'''


def leaves(value: Any, place: KeyPath = ()) -> list[tuple[KeyPath, str]]:
    if isinstance(value, dict):
        return [leaf for key, one in value.items() for leaf in leaves(one, (*place, key))]
    if isinstance(value, list):
        return [leaf for number, one in enumerate(value) for leaf in leaves(one, (*place, number))]
    return [(place, value)] if isinstance(value, str) and re.fullmatch(r"L[0-9]+", value) else []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_a_nasty_document(end: str) -> None:
    text = NASTY.replace("\n", end)
    found = locate(text)
    leaf = leaves(tomllib.loads(text))
    assert len(leaf) == 22
    assert [(place, found[place]) for place, _ in leaf] == [(place, int(value[1:])) for place, value in leaf]
    assert found[("bundle", 1)] == 22
    assert found[("bundle", 1, "rows")] == 27
    assert found[("bundle", 2, "rows", 0)] == 33
    assert found[("d", "e f", "g")] == found[("d",)] == 8


def test_lines_of_documents_that_chance_wrote() -> None:
    """Strings, comments and brackets in any order: each leaf says its line, and the parser is the judge."""
    chance = random.Random(5)
    fillers = [
        '"# ["',
        "'] #'",
        '"""\n] = \\""" \'\'\' """',
        "'''\n\"\"\" [\n'''",
        "2024-01-01 10:00:00",
        "-1",
    ]
    fillers += ["[]", "{}", '[ # ] "\n]', "1e5", "true", '"\\\\"', '"\\" = "', "''"]
    for _ in range(60):
        text, line = "", 1
        for number in range(chance.randint(1, 12)):
            kind = chance.randint(0, 4)
            if kind == 0:
                part = f"# [[x]] = '\n\t\n[t{number}] # ]\n"
            elif kind == 1:
                part = "[[rows]]\n"
            elif kind == 2:
                filler = chance.choice(fillers)
                part = f'"k # {number}" . x = [ {filler},\n'
                part += f'"L{line + part.count(chr(10))}", {{ y = '
                part += f'"L{line + part.count(chr(10))}" }} ] # \'\n'
            elif kind == 3:
                part = f'  k{number} = {chance.choice(fillers)} # "\n'
            else:
                part = f'k{number}.a = "L{line}"\n'
            text += part
            line += part.count("\n")
        found = locate(text)
        for place, value in leaves(tomllib.loads(text)):
            assert found[place] == int(value[1:]), text


GOOD = {
    "least": BUNDLE,
    "everything": f'''
output = "../out"
jobs = 4
cache-dir = "/var/cache/envbundle"
publish = "abfs://bundles@account.dfs.core.windows.net/nightly"
python-downloads = false
exclude-newer = "7 days"
index-url = "https://${{USER}}:${{FEED_TOKEN}}@feed.example:8443/a@b/simple"
extra-index-url = ["https://user@feed.example/simple", "${{FEED}}/simple"]
find-links = ["wheels", "https://feed.example/links"]
no-index = false
trusted-host = "feed.example:8443"

[defaults]
requirements = ["a.txt", "b.txt"]
constraints = "company.txt"
build-constraints = "builds.txt"
python = ["3.7", "3.8.18"]
image = ["{AML37}", "{AML38}"]
formats = ["dir", "squashfs", "tar.zst"]
keep = 5
glibc = "2.28"
fit = false
resolver = "uv"
no-binary = ":all:"
only-binary = ["numpy"]
pre = true
no-build = true
build-network = true
require-isolation = true
prefer-binary = true
build-timeout = 120
build-disk = 512
import-timeout = 30
memory-limit = 2048
process-limit = 100
output-limit = 1
thin = true
mend = true
entry = "score.py"
source = ["src", "lib"]
strict = true
ignore = ["EB501:coloredlogs=not used", "EB204"]
assume-lib = "libgomp.so.1"
deny-licence = "AGPL"
note = "nightly"

[[bundle]]
name = "everything"
server = "1.3.4"
image = "{AML38}"
python = "3.8"
output = "elsewhere"
constraints = ["more.txt"]
ignore = "EB302"
note = """
two
\tlines"""

[[bundle]]
name = "locked"
lock = "pylock.toml"
image = false
thin = false
exclude-newer = false
''',
    "publishers": f'[provenance]\nrequire = "a-*"\npublishers.b = "GitHub:b/b"\n{BUNDLE}provenance = false',
    "an environment": '[[bundle]]\nname = "a"\nfrom-env = ".venv"\npython = "3.8"',
    "dates": f"exclude-newer = 2024-06-30T12:00:00+02:00\n{BUNDLE}exclude-newer = 2024-06-30",
    "nothing instead of defaults": f"[defaults]\nno-binary = 'x'\n{BUNDLE}no-binary = []\nformats = []",
    "a date in words": f"{BUNDLE}exclude-newer = '2024-06-30 12:00'",
    "dotted and inline": 'defaults.python = "3.8"\nbundle = [{name = "a", requirements = "r.txt"}]',
}


@pytest.mark.parametrize("name", GOOD)
def test_good_files(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, GOOD[name]).bundles
    assert fits_schema(GOOD[name])


def test_every_key_arrives(tmp_path: Path) -> None:
    said = read(tmp_path, GOOD["everything"])
    every, locked = said.bundles
    assert (said.output, said.jobs, said.cache_dir) == (
        tmp_path.parent / "out",
        4,
        Path("/var/cache/envbundle"),
    )
    assert said.publish == "abfs://bundles@account.dfs.core.windows.net/nightly"
    assert said.python_downloads is False
    assert every.requirements == (tmp_path / "a.txt", tmp_path / "b.txt")
    assert every.constraints == (tmp_path / "company.txt", tmp_path / "more.txt")
    assert every.build_constraints == locked.build_constraints == (tmp_path / "builds.txt",)
    assert (every.python, [image.given for image in every.images]) == (("3.8",), [AML38])
    assert every.output == tmp_path / "elsewhere"
    assert every.formats == ("tar.zst", "squashfs")
    assert (every.keep, every.glibc, every.server, every.fit) == (5, "2.28", "1.3.4", False)
    assert (every.resolver, every.no_binary, every.only_binary) == ("uv", (":all:",), ("numpy",))
    assert (every.prefer_binary, every.build_timeout, every.build_disk) == (True, 120, 512)
    assert every.limits == RoomLimits(import_seconds=30, memory_mib=2048, processes=100, output_mib=1)
    assert (every.pre, every.no_build, every.thin, every.mend) == (True, True, True, True)
    assert (every.build_network, every.require_isolation) == (True, True)
    assert (every.entry, every.source) == ((tmp_path / "score.py",), (tmp_path / "src", tmp_path / "lib"))
    assert [one.code for one in every.policy.ignores] == ["EB501", "EB204", "EB302"]
    assert every.policy.strict is True
    assert (every.policy.assumed_libraries, every.policy.denied_licences) == (("libgomp.so.1",), ("AGPL",))
    assert every.exclude_newer == "7 days"
    assert every.index == IndexSettings(
        index_url="https://${USER}:${FEED_TOKEN}@feed.example:8443/a@b/simple",
        extra_index_urls=("https://user@feed.example/simple", "${FEED}/simple"),
        find_links=(str(tmp_path / "wheels"), "https://feed.example/links"),
        trusted_hosts=("feed.example:8443",),
    )
    assert every.note == "two\n\tlines"
    assert every.place("keep").endswith("envbundle.toml:21")
    assert every.place("server").endswith("envbundle.toml:50")
    assert every.place("glibc") == f"{tmp_path}/envbundle.toml:22"
    assert read(tmp_path, 'publish = "../store"\n' + BUNDLE).publish == str(tmp_path.parent / "store")
    # A lock says it all; the rest of the defaults holds.
    assert locked.lock == tmp_path / "pylock.toml"
    assert (locked.requirements, locked.constraints, locked.images) == ((), (), ())
    assert (locked.exclude_newer, locked.pre, locked.keep) == (None, False, 5)


def test_an_environment(tmp_path: Path) -> None:
    assert only(tmp_path, GOOD["an environment"]).from_env == tmp_path / ".venv"


def test_dates_are_utc_and_the_bundle_wins(tmp_path: Path) -> None:
    text = GOOD["dates"] + '\n[[bundle]]\nname = "b"\nrequirements = "r.txt"\npython = "3.8"\n'
    found = read(tmp_path, text).bundles
    assert [bundle.exclude_newer for bundle in found] == ["2024-06-30", "2024-06-30T10:00:00Z"]


# (text, line, what the message says, what the hint says, whether the schema sees it too)
BAD: dict[str, tuple[str, int, str, str, bool]] = {
    "not TOML": ("a = [1 2]\n", 1, "Unclosed array", "toml.io", False),
    "not TOML in line 3": ("output = 'x'\n\nname = x\n", 3, "Invalid value", "toml.io", False),
    "key twice": ("jobs = 1\njobs = 2\n", 2, "overwrite", "toml.io", False),
    "table twice": ("[defaults]\n\n[defaults]\n", 3, "twice", "toml.io", False),
    "NUL": ("jobs = 1\noutput = 'a\0b'\n", 2, "character '\\x00'", "toml.io", False),
    "a number without end": (f"\njobs = {'9' * 5000}\n", 0, "Exceeds the limit", "toml.io", False),
    "no bundle": ("jobs = 2\n", 0, "no bundle is named", "[[bundle]]", True),
    "a table alone": ("jobs = 2\n[bundle]\nname = 'a'\n", 2, "one table", "two brackets", True),
    "bundle by name": ("[bundle.scoring]\nlock = 'l'\n", 1, "one table", "two brackets", True),
    "bundles": ("[[bundles]]\nname = 'a'\n", 1, "no key 'bundles'", "did you mean bundle?", True),
    "bundle is text": ("bundle = 'a'\n", 1, "list of tables", "[[bundle]]", True),
    "bundle is a list of text": ("bundle = ['a']\n", 1, "list of tables", "[[bundle]]", True),
    "defaults is text": ("defaults = 'a'\n" + BUNDLE, 1, "defaults must be a table", "", True),
    "unknown key": (BUNDLE + "pyton = '3.8'\n", 5, "[[bundle]] has no key 'pyton'", "python?", True),
    "underscore": ("exclude_newer = '7 days'\n" + BUNDLE, 1, "no key", "mean exclude-newer?", True),
    "singular": (BUNDLE + "format = 'zip'", 5, "no key 'format'", "did you mean formats?", True),
    "American": (BUNDLE + "deny-license = 'GPL'", 5, "no key", "did you mean deny-licence?", True),
    "key of a bundle above": ("keep = 3\n" + BUNDLE, 1, "the top of the file has no key 'keep'",
                              "belongs to [defaults] or [[bundle]]", True),
    "key of the top below": (BUNDLE + "jobs = 2", 5, "has no key 'jobs'", "the top of the file", True),
    "name in defaults": ("[defaults]\nname = 'x'\n" + BUNDLE, 2, "[defaults] has no key", "[[bundle]]", True),
    "unknown and far": (BUNDLE + "zzz = 1", 5, "no key 'zzz'", "docs/rebuild.md", True),
    "no name": ("\n[[bundle]]\nrequirements = 'r'\npython = '3.8'", 2, "has no name", "name =", True),
    "name is a number": (BUNDLE.replace('"a"', "1"), 2, "letters, digits", "", True),
    "name with a slash": (BUNDLE.replace('"a"', '"a/b"'), 2, "'a/b'", "", True),
    "name goes up": (BUNDLE.replace('"a"', '".."'), 2, "'..'", "", True),
    "name is hidden": (BUNDLE.replace('"a"', '".a"'), 2, "'.a'", "", True),
    "name is an option": (BUNDLE.replace('"a"', '"-a"'), 2, "'-a'", "", True),
    "name with a space": (BUNDLE.replace('"a"', '"a b"'), 2, "'a b'", "", True),
    "name with an umlaut": (BUNDLE.replace('"a"', '"ä"'), 2, "'ä'", "", True),
    "name of two lines": (BUNDLE.replace('"a"', '"a\\nb"'), 2, "control character", "", True),
    "name without end": (BUNDLE.replace('"a"', f'"{"a" * 101}"'), 2, "letters", "", True),
    "empty name": (BUNDLE.replace('"a"', '""'), 2, "name is empty", "", True),
    "names twice": (BUNDLE + BUNDLE, 6, "the name 'a' is that of the bundle in line 1", "folders", False),
    "names but for case": (BUNDLE + BUNDLE.replace('"a"', '"A"'), 6, "'A' is that of", "case", False),
    "nothing to install": ("[[bundle]]\nname = 'a'\npython = '3.8'", 1, "nothing to install", "requirements",
                           False),
    "no requirements": (BUNDLE.replace('"r.txt"', "[]"), 3, "requirements is empty", "", True),
    "requirement twice": (BUNDLE.replace('"r.txt"', "[\n'r', \n'r']"), 5, "has 'r' twice", "once", True),
    "requirements is a number": (BUNDLE.replace('"r.txt"', "1"), 3, "must be a path, not a number", "", True),
    "requirements with a number": (BUNDLE.replace('"r.txt"', "['r',\n1]"), 4, "must be a path", "", True),
    "home": (BUNDLE.replace('"r.txt"', '"~/r.txt"'), 3, "begins with ~", "write the folder out", True),
    "variable in a path": ("output = '${HOME}/x'\n" + BUNDLE, 1, "URLs of indexes only", "write", True),
    "NUL in a path": ('output = "a\\u0000b"\n' + BUNDLE, 1, "control character", "", True),
    "blank path": ("output = ' '\n" + BUNDLE, 1, "output is empty", "", True),
    "lock and requirements": (BUNDLE + "lock = 'pylock.toml'", 3, "exclude each other", "leave one", True),
    "lock and exclude-newer": ("[[bundle]]\nname = 'a'\nlock = 'pylock.toml'\nexclude-newer = '7 days'", 4,
                            "lock and exclude-newer exclude", "leave one", True),
    "no Python": (BUNDLE.replace('python = "3.8"', ""), 1, "the image's Python is not named", "image", False),
    "Python is a number": (BUNDLE.replace('"3.8"', "3.10"), 4, "not the number 3.1", "in quotes", True),
    "Python 2": (BUNDLE.replace('"3.8"', '"2.7"'), 4, "'2.7'", "3.8", True),
    "Python 3.6": (BUNDLE.replace('"3.8"', '["3.8",\n "3.6"]'), 5, "'3.6'", "3.8", True),
    "Python as py38": (BUNDLE.replace('"3.8"', '"py38"'), 4, "'py38'", "3.8", True),
    "Python is a path": (BUNDLE.replace('"3.8"', '"/usr/bin/python3.8"'), 4, "3.7 or later", "3.8", True),
    "no Pythons": (BUNDLE.replace('"3.8"', "[]"), 4, "python is empty", "", True),
    "a release twice": (BUNDLE.replace('"3.8"', '["3.8", "3.8.18"]'), 4, "names a 3.8 twice", "minor", False),
    "unknown image": (BUNDLE + "image = 'minimal-ubuntu20.04-py38-cpu-inferense'", 5, "no image is called",
                      f"is it {AML38}", False),
    "unknown second image": (BUNDLE + f"image = ['{AML38}',\n'nope']", 6, "no image is called", "", False),
    "image without a file": (BUNDLE + "image = 'nope.json'", 5, "nope.json", "", False),
    "an image twice": (BUNDLE + f"image = ['{AML38}', '{AML38}:latest']", 5, "as another one", "once", False),
    "image is true": (BUNDLE + "image = true", 5, "name of an image, or false, not true", "", True),
    "no images": (BUNDLE + "image = []", 5, "image is empty", "", True),
    "unknown format": (BUNDLE + "formats = ['zip',\n'tar.bz2']", 6, "'tar.bz2' is not known", "tar.gz", True),
    "keep nothing": (BUNDLE + "keep = 0", 5, "from 1 to 1000, not 0", "", True),
    "keep less": (BUNDLE + "keep = -1", 5, "not -1", "", True),
    "keep a float": (BUNDLE + "keep = 2.5", 5, "not the number 2.5", "", True),
    "keep a point": (BUNDLE + "keep = 3.0", 5, "not the number 3.0", "", False),
    "keep true": (BUNDLE + "keep = true", 5, "not true", "", True),
    "keep text": (BUNDLE + "keep = '3'", 5, "not a string", "", True),
    "keep without end": (BUNDLE + f"keep = 0x{'f' * 900}", 5, "many digits", "", True),
    "jobs": ("jobs = 0\n" + BUNDLE, 1, "jobs must be a whole number", "", True),
    "flag as text": (BUNDLE + "strict = 'yes'", 5, "strict must be true or false", "quotes", True),
    "resolver": (BUNDLE + "resolver = 'Pip'", 5, "'Pip' is not known", "did you mean pip?", True),
    "glibc is a number": (BUNDLE + "glibc = 2.31", 5, "glibc between", "glibc =", True),
    "glibc of another world": (BUNDLE + "glibc = '2.4'", 5, "'2.4'", "ldd", True),
    "glibc 1": (BUNDLE + "glibc = '1.31'", 5, "'1.31'", "ldd", True),
    "server without image": (BUNDLE + "server = '1.3.4'", 5, "server is about an image", "image", False),
    "thin without image": ("[defaults]\nthin = true\n" + BUNDLE, 2, "a: thin is about an image", "", False),
    "exclude-newer by pip": ("exclude-newer = '7 days'\n" + BUNDLE + "resolver = 'pip'", 6,
                          "knows no upload times", "exclude-newer = false", False),
    "length": (BUNDLE + "exclude-newer = '7 moons'", 5, "neither a length of time nor", "7 days", True),
    "no length": (BUNDLE + "exclude-newer = '0 days'", 5, "no length of time", "7 days", False),
    "length is a number": (BUNDLE + "exclude-newer = 7", 5, "or false, not a number", "7 days", True),
    "length is true": (BUNDLE + "exclude-newer = true", 5, "not true", "7 days", True),
    "a time alone": (BUNDLE + "exclude-newer = 07:32:00", 5, "not a date or time", "7 days", True),
    "a day that is none": (BUNDLE + "exclude-newer = '2024-02-30'", 5, "of the calendar", "", False),
    "index without scheme": (BUNDLE + "index-url = 'feed.example/simple'", 5, "must be a URL", "", True),
    "index with a space": (BUNDLE + "index-url = 'https://feed.example/a b'", 5, "must be a URL", "", True),
    "password": (BUNDLE + "index-url = 'https://me:secret@feed.example/'", 5,
                 "holds a password: https://****@feed.example/", "${NAME}", True),
    "password in a second": (BUNDLE + "extra-index-url = ['https://a.example',\n'https://x:${T}y@b.ex']", 6,
                             "holds a password", "${NAME}", True),
    "password of a page": (BUNDLE + "find-links = 'https://u:p@h.example/'", 5, "holds a password", "", True),
    "small variable": (BUNDLE + "index-url = 'https://${token}@feed.example'", 5, "'${token}' is no variable",
                       "capital", True),
    "open variable": (BUNDLE + "index-url = 'https://${TOKEN@feed.example'", 5, "is no variable", "", True),
    "variable in publish": ("publish = 's3://${BUCKET}/x'\n" + BUNDLE, 1, "URLs of indexes", "log in", True),
    "password in publish": ("publish = 'ftp://u:p@h/x'\n" + BUNDLE, 1, "holds a password", "log in", True),
    "publish with a space": ("publish = 's3://a b'\n" + BUNDLE, 1, "a folder or a URL", "", True),
    "publish home": ("publish = '~/x'\n" + BUNDLE, 1, "begins with ~", "", True),
    "host": (BUNDLE + "trusted-host = 'https://x'", 5, "must be a host", "", True),
    "distribution": (BUNDLE + "no-binary = 'a b'", 5, "name of a distribution", "", True),
    "ignore": (BUNDLE + "ignore = ['EB501',\n 'EB999']", 6, "'EB999' is no check", "explain --list", False),
    "ignore is no code": (BUNDLE + "ignore = 'all'", 5, "is no check code", "explain --list", True),
    "library": (BUNDLE + "assume-lib = 'gomp'", 5, "no name of a shared library", "libgomp.so.1", True),
    "note": (BUNDLE + 'note = "a\\u0007"', 5, "control character", "", True),
    "provenance in words": (BUNDLE + "provenance = 'yes'", 5, "true, false or a table", "", True),
    "provenance key": ("[provenance]\nrequired = 'a'\n" + BUNDLE, 2, "no key 'required'", "require", True),
    "no publisher": ("[provenance]\npublishers.a = 'b'\n" + BUNDLE, 2, "pins no publisher", "KIND", True),
    "note without end": (BUNDLE + f"note = '{'x' * 2001}'", 5, "longer than 2000", "", True),
    "value without end": (BUNDLE + f"deny-licence = '{'x' * 5000}'", 5, "longer than 4096", "", True),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text, line, message, hint, schema = BAD[name]
    monkeypatch.chdir(tmp_path)
    Path("envbundle.toml").write_text(text, encoding="utf-8", newline="")
    with pytest.raises(InputError) as caught:
        config.read(Path("envbundle.toml"))
    place = f"envbundle.toml:{line}: " if line else "envbundle.toml: "
    assert caught.value.message.startswith(place)
    assert caught.value.message.count("\n") == 0
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "secret" not in caught.value.message
    if "toml.io" not in hint:
        assert fits_schema(text) is not schema


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = (
        "jobs = 0\npyton = 1\n"
        + BUNDLE
        + "keep = 0\nformats = ['zip', 'rar']\n"
        + BUNDLE.replace("3.8", "3.1")
    )
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    lines = caught.value.message.replace(f"{tmp_path}/", "").splitlines()
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == [1, 2, 7, 8, 12]
    assert all(line.endswith(")") for line in lines)
    with pytest.raises(InputError, match="and 30 more"):
        read(tmp_path, "".join(f"k{number} = 1\n" for number in range(50)) + BUNDLE)


def test_a_bundle_without_sense_hides_no_other(tmp_path: Path) -> None:
    text = BUNDLE + "server = '1'\n" + BUNDLE.replace('"a"', '"b"') + "thin = true\n" + BUNDLE
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert [line.split(": ")[0].rpartition(":")[2] for line in caught.value.message.splitlines()] == [
        "5",
        "10",
        "12",
    ]


@pytest.mark.parametrize("more", ["constraints = []\npre = false\nexclude-newer = false", "strict = true"])
def test_what_a_lock_goes_with(tmp_path: Path, more: str) -> None:
    text = BUNDLE.replace("requirements", "lock") + more
    assert fits_schema(text)
    assert read(tmp_path, text).bundles


@pytest.mark.parametrize(
    "more",
    ["constraints = 'c.txt'", "from-env = 'v'", "extra = 'x'", "pre = true", "exclude-newer = '1 day'"],
)
def test_what_a_lock_does_not_go_with(tmp_path: Path, more: str) -> None:
    text = BUNDLE.replace("requirements", "lock") + more
    assert not fits_schema(text)
    with pytest.raises(InputError, match=f"lock and {more.split(maxsplit=1)[0]} exclude each other"):
        read(tmp_path, text)


def test_reader_schema_and_documentation_have_the_same_keys() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    tables = SCHEMA["properties"]
    bundle = tables["bundle"]["items"]["properties"]
    assert tables.keys() == {*keys.TOP, "defaults", "bundle"}
    assert tables["defaults"]["properties"].keys() == keys.DEFAULTS.keys()
    assert bundle.keys() == keys.BUNDLE.keys()
    assert SCHEMA["$defs"]["format"]["enum"] == list(formats.NAMES)
    assert bundle["keep"]["maximum"] == keys.MOST_BUILDS
    assert bundle["keep"]["default"] == config.DEFAULT_KEEP
    assert tables["jobs"]["maximum"] == keys.MOST_JOBS
    assert tables["output"]["default"] == config.DEFAULT_OUTPUT
    for key in keys.ADDED:
        assert "added to the defaults'" in bundle[key]["description"]
    rows = re.findall(r"^\| `([a-z-]+)` \|(.*)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {key for key, _ in rows} >= {*keys.TOP, *keys.BUNDLE}
    added = {key for key, row in rows if "added to" in row}
    assert added == set(keys.ADDED)


def test_the_example_of_the_documentation_is_good(tmp_path: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert examples
    for text in examples:
        assert read(tmp_path, text).bundles
        assert fits_schema(text)


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "envbundle.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BUNDLE.replace("\n", "\r\n").encode())
    assert config.read(path).bundles[0].place("python") == f"{path}:4"
    for data, line in ((b"# \xe4\n", 1), (b"#\n#\nname = '\xff'", 3), (BUNDLE.encode("utf-16"), 1)):
        path.write_bytes(data)
        with pytest.raises(InputError, match=rf"envbundle.toml:{line}: is not UTF-8 text"):
            config.read(path)


def test_a_folder_a_symlink_and_nothing(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    (there / "real.toml").write_text(BUNDLE)
    with pytest.raises(InputError, match=r"here/envbundle\.toml: there is no such file"):
        config.read(here)
    (here / "envbundle.toml").symlink_to(there / "real.toml")
    # As a mounted ConfigMap has it: what the link leads to is nobody's folder.
    found = config.read(here)
    assert found.output == here / "bundles"
    assert found.bundles[0].requirements == (here / "r.txt",)
    with pytest.raises(InputError, match="there is no such file"):
        config.read(tmp_path / "none.toml")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    with pytest.raises(InputError, match=r"loop\.toml"):
        config.read(tmp_path / "loop.toml")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "envbundle.toml")
    with pytest.raises(InputError, match="is not a file"):
        config.read(tmp_path)


@pytest.mark.thorough
def test_a_huge_file_and_a_deep_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is larger than 2,000,000 bytes"):
        read(tmp_path, "#" * (document.MAX_BYTES + 1))
    with pytest.raises(InputError, match="nested too deeply"):
        read(tmp_path, f"jobs = {'[' * 20_000}{']' * 20_000}")
    many = "".join(BUNDLE.replace('"a"', f'"a{number}"') for number in range(3000))
    assert len(read(tmp_path, many).bundles) == 3000


def test_parents_are_those_of_the_system(tmp_path: Path) -> None:
    """`..` behind a symlink is the parent of where it leads; requirements and output agree on it."""
    (tmp_path / "real" / "nightly").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "nightly")
    text = 'output = "../out"\n' + BUNDLE.replace("r.txt", "../svc/r.txt")
    found = read(tmp_path / "link", text)
    assert found.output == tmp_path / "real" / "out"
    assert found.bundles[0].requirements == (tmp_path / "real" / "svc" / "r.txt",)
    again = config.read(tmp_path / "link" / ".." / "nightly" / "envbundle.toml")
    assert again.output == tmp_path / "real" / "out"
    assert read(tmp_path / "link", "output = '..'\n" + BUNDLE).output == tmp_path / "real"


def test_what_it_names_need_not_be_there_but_for_images(tmp_path: Path) -> None:
    assert only(tmp_path, BUNDLE + "constraints = 'gone.txt'").requirements == (tmp_path / "r.txt",)
    profile = json.loads((catalogue.FOLDER / f"{AML37}.json").read_text())
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "mine.json").write_text(json.dumps({**profile, "name": "own/mine"}))
    (image,) = only(tmp_path, BUNDLE.replace("3.8", "3.7") + "image = 'probes/mine.json'").images
    assert image == keys.ImageChoice(given=f"{tmp_path}/probes/mine.json", name="own-mine", python="3.7")
    (tmp_path / "probes" / "mine.json").write_text("{}")
    with pytest.raises(InputError, match=r"envbundle\.toml:5: .*mine\.json: lacks 'kind'"):
        config.read(tmp_path)
