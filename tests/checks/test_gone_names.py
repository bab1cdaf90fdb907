"""Modules that no import loads and that need names which another distribution of the bundle no longer has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.checks.rules import gone_names, root_causes
from bundler.checks.rules.codes import finding
from bundler.model import FileFact
from bundler.wheels import import_lines

from tests.support.bundlemaker import facts, lock, locked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from bundler.model import Finding

SITE = "lib/python3.8/site-packages"
REST = {
    "rest/__init__.py": "__version__ = '3.9'\n",
    "rest/compat.py": "from web.utils import six\n",
    "rest/fields.py": "from rest.compat import six\n",
    "rest/views.py": "from . import fields\nclass View: pass\n",
    "rest/urls.py": "\n",
}
WEB = {
    "web/__init__.py": "VERSION = 4\n",
    "web/utils/__init__.py": "",
    "web/utils/text.py": "def slug(): ...\n",
}
OLD = {**WEB, "web/utils/six.py": "PY2 = False\n"}


def found(
    tmp_path: Path,
    rest: Mapping[str, str],
    web: Mapping[str, str] = WEB,
    *,
    told: Collection[str] = (),
    service: Collection[str] | None = None,
    settled: Mapping[str, str] | None = None,
    more: Mapping[str, Mapping[str, str]] | None = None,
    roots: Collection[str] = ("rest",),
) -> list[Finding]:
    """Check what is asked for, the distribution `rest`, beside `web` and more."""
    known = {}
    for name, files in {"rest": rest, "web": web, **(more or {})}.items():
        for path, text in files.items():
            file = tmp_path / SITE / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        paths = sorted(f"{SITE}/{path}" for path in files)
        known[name] = replace(
            facts(name, modules=sorted({path.partition("/")[0].partition(".")[0] for path in files})),
            files=tuple(
                FileFact(path=path, sha256="", size=(tmp_path / path).stat().st_size) for path in paths
            ),
            imported_names=import_lines.outside(tmp_path, paths, site_packages=SITE).names,
        )
    return list(
        gone_names.check(
            lock(*(locked(name, required_by=() if name in roots else ("rest",)) for name in known)),
            known,
            site_packages=SITE,
            read=lambda _, path: (tmp_path / path).read_bytes(),
            told=told,
            service=service,
            settled=settled,
        )
    )


def test_most_of_a_distribution_needs_what_is_gone(tmp_path: Path) -> None:
    (one,) = found(tmp_path, REST)
    assert (one.code, one.severity, one.subject, one.chain) == ("EB201", "error", "rest.compat", ("rest",))
    assert "web 1.0 has no web.utils.six" in one.cause
    assert one.cause.endswith(
        f'File "{SITE}/rest/compat.py", line 1, in <module>\n  from web.utils import six\n'
        "ImportError: cannot import name 'six' from 'web.utils'"
    )
    assert one.remedy.startswith(
        "take a release of rest that is made for web 1.0, or an older web for rest 1.0"
    )


@pytest.mark.parametrize(
    ("line", "last"),
    [
        ("from web.utils.six import PY2", "ModuleNotFoundError: No module named 'web.utils.six'"),
        ("import web.utils.six", "ModuleNotFoundError: No module named 'web.utils.six'"),
        ("import os, web.utils.six.moves as m", "ModuleNotFoundError: No module named 'web.utils.six'"),
        ("from web.utils.text import (  # of old\n    slug,\n    force as f,\n)",
         "ImportError: cannot import name 'force' from 'web.utils.text'"),
        ("from web.utils.text import slug, \\\n    force",
         "ImportError: cannot import name 'force' from 'web.utils.text'"),
        ("from web import utils, urls", "ImportError: cannot import name 'urls' from 'web'"),
    ],
)  # fmt: skip
def test_what_is_gone(tmp_path: Path, line: str, last: str) -> None:
    (one,) = found(tmp_path, {**REST, "rest/compat.py": f"{line}\n"})
    assert (one.severity, one.cause.rpartition("\n")[2]) == ("error", last)


@pytest.mark.parametrize(
    "source",
    [
        "from web.utils import text\nfrom web.utils.text import slug\n",
        "try:\n    from web.utils import six\nexcept ImportError:\n    six = None\n",
        "def f():\n    from web.utils import six\n",
        "import web\nif web.VERSION < 3:\n    from web.utils import six\n",
        '"""For example\n\nfrom web.utils import six\n"""\n',
        "from web.utils import *\n",
        "from absent.utils import six\n",
        "from .web.utils import six\n",
        "import web.utils\nweb.utils.six = 1\nfrom web.utils import six\n",
        "import sys, types\nsys.modules['web.utils.six'] = types\nfrom web.utils.six import moves\n",
        "print 'Python 2'\nfrom web.utils import six\n",
    ],
)
def test_what_is_there_or_not_needed(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, {**REST, "rest/compat.py": source}) == []


@pytest.mark.parametrize(
    "web",
    [
        OLD,
        {**WEB, "web/utils/six/moves.py": ""},
        {**WEB, "web/utils/six.cpython-38-x86_64-linux-gnu.so": ""},
        {**WEB, "web/utils/six.pyc": ""},
        {**WEB, "web/utils/__init__.py": "from web.vendored import six\n"},
        {**WEB, "web/utils/__init__.py": "from web.vendored import *\n"},
        {**WEB, "web/utils/__init__.py": "def __getattr__(name): ...\n"},
        {**WEB, "web/utils/__init__.py": "globals().update(all_of_them())\n"},
        {
            **WEB,
            "web/utils/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
        },
        {"web/__init__.py": "", "web/utils/text.py": ""},
        {**WEB, "web/_made.py": "import sys\nsys.meta_path.append(maker)\n"},
        {**WEB, "web/_made.py": "import sys\nsys.modules[name] = module\n"},
        {**WEB, "web/_made.py": "import sys\nsys.modules.update(all_of_them)\n"},
        {**WEB, "web/utils.cpython-38-x86_64-linux-gnu.so": ""},
        {"web/__init__.py": "", "web/utils/__init__.so": ""},
    ],
)
def test_what_may_come_from_somewhere_counts_as_there(tmp_path: Path, web: Mapping[str, str]) -> None:
    if "web/utils.cpython-38-x86_64-linux-gnu.so" in web:
        web = {path: text for path, text in web.items() if not path.startswith("web/utils/")}
        web = {**web, "web/utils.py": ""}
    assert found(tmp_path, REST, web) == []


NAMESPACE = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
CLOUD = {
    "google/cloud/storage/__init__.py": "",
    "google/cloud/storage/client.py": "from google.api.retry import Retry\nfrom google.cloud import errors\n",
    "google/cloud/storage/blob.py": "from google.cloud.storage import client\n",
}
API = {"google/api/__init__.py": "", "google/api/retry.py": "def retry(): ...\n"}


@pytest.mark.parametrize("shared", [{}, {"google/__init__.py": NAMESPACE}])
def test_parts_of_a_namespace_are_compared(tmp_path: Path, shared: Mapping[str, str]) -> None:
    (one,) = found(tmp_path, {**CLOUD, **shared}, {**API, **shared})
    assert (one.severity, one.subject) == ("error", "google.cloud.storage.client")
    assert one.cause.endswith("ImportError: cannot import name 'Retry' from 'google.api.retry'")


@pytest.mark.parametrize(
    "more",
    [
        {"google/api/retry.py": "class Retry: ...\n"},
        # Another part of it is in a third distribution, or may be in the image.
        {"google/api/retry.py": "from google.third import *\n"},
        {"google/api/__init__.py": NAMESPACE, "google/api/retry.py": "Retry = 1\n"},
    ],
)
def test_parts_of_a_namespace_that_are_there(tmp_path: Path, more: Mapping[str, str]) -> None:
    assert found(tmp_path, CLOUD, {**API, **more}) == []
    assert found(tmp_path / "third", CLOUD, API, more={"third": {"google/api/retry.py": "Retry = 1\n"}}) == []
    nothing = {"google/other/__init__.py": ""}  # google.api is nowhere: who knows whose it is
    assert found(tmp_path / "nobody", CLOUD, nothing) == []


def test_another_distribution_may_bring_or_give_the_name(tmp_path: Path) -> None:
    assert found(tmp_path, REST, more={"web-six": {"web/utils/six.py": ""}}) == []
    giving = {"shim.py": "import web.utils, six\nweb.utils.six = six\n"}
    assert found(tmp_path / "given", REST, more={"shim": giving}) == []
    using = {"use.py": "class Use:\n    def run(self):\n        self.six = 6\nif six.six == 6: ...\n"}
    assert [one.severity for one in found(tmp_path / "used", REST, more={"use": using})] == ["error"]


def test_one_of_two_names_is_given(tmp_path: Path) -> None:
    both = {**REST, "rest/views.py": "from web.utils.text import force\n"}
    giving = {"shim.py": "import sys\nsetattr(sys.modules['web.utils'], 'six', 6)\n"}
    assert [one.subject for one in found(tmp_path, both, more={"shim": giving})] == ["rest.views"]


def test_what_any_code_gives_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source of the bundle is read for that, and many distributions can be asked for."""
    asked: list[set[str]] = []

    def given(_: gone_names.Sources, names: Collection[str]) -> frozenset[str]:
        asked.append(set(names))
        return frozenset({"six"})

    monkeypatch.setattr(gone_names.Sources, "given", given)
    other = {"other/__init__.py": "", "other/views.py": "from web.utils.text import force\n"}
    said = found(tmp_path, REST, more={"other": other}, roots=("other", "rest"))
    assert [one.subject for one in said] == ["other.views"]
    assert asked == [{"six", "force"}]


def test_a_small_part_stops_nothing(tmp_path: Path) -> None:
    part = {**REST, "rest/compat.py": "six = 6\n" * 50, "rest/contrib.py": "from web.utils import six\n"}
    (one,) = found(tmp_path, part)
    assert (one.severity, one.subject) == ("info", "rest.contrib")
    assert one.remedy.startswith(
        "nothing, unless the service imports rest.contrib: then take a release of rest"
    )


def test_tests_and_what_is_told_already_are_passed_over(tmp_path: Path) -> None:
    aside = {"rest/__init__.py": "", "rest/tests/test_all.py": REST["rest/compat.py"]}
    assert found(tmp_path, aside) == []
    assert found(tmp_path / "told", REST, told={"rest"}) == []


@pytest.mark.parametrize(
    ("service", "severity"),
    [
        ({"rest.urls"}, "warning"),
        ({"rest", "rest.views:View"}, "error"),
        ({"rest:views"}, "error"),
        ({"rest:urls"}, "warning"),
        ({"flask"}, "warning"),
        (None, "error"),
    ],
)
def test_the_service_says_what_it_needs(
    tmp_path: Path, service: Collection[str] | None, severity: str
) -> None:
    assert [one.severity for one in found(tmp_path, REST, service=service)] == [severity]


COMPAT = f'File "{SITE}/rest/compat.py", line 1, in <module>\n  from web.utils import six\n'
ENDS = f"{COMPAT}ImportError: cannot import name 'six' from 'web.utils' ({SITE}/web/utils/__init__.py)"


@pytest.mark.parametrize(
    ("rest", "kept"), [(REST, "rest.compat"), ({**REST, "rest/views.py": "x = 1\n" * 99}, "rest.fields")]
)
def test_what_ends_with_it_once_it_has_settings_is_told_once(
    tmp_path: Path, rest: Mapping[str, str], kept: str
) -> None:
    """The cause, or where that is mere information, the warning of the module that needs it."""
    (gone,) = found(tmp_path, rest, settled={"rest.fields": ENDS})
    assert gone.cause.endswith("\nthe same stops: rest.fields, once it has settings")
    asks = f"ImproperlyConfigured: settings\n{root_causes.WITH_SETTINGS}\n"
    echo = finding("EB201", subject="rest.fields", cause=f"{asks}{ENDS}", severity="warning")
    assert [one.subject for one in root_causes.merged([echo, gone])] == [kept]
    # What ends with something else is told beside it.
    for other in (ENDS.replace("six", "nine"), ENDS.replace("compat.py", "other.py")):
        (alone,) = found(tmp_path, rest, settled={"rest.fields": other})
        assert "the same stops" not in alone.cause
        assert len(root_causes.merged([echo, alone])) == 2


def test_only_what_is_asked_for_is_judged(tmp_path: Path) -> None:
    assert (
        found(tmp_path, {"rest/__init__.py": ""}, more={"below": {"below.py": "from web.utils import six\n"}})
        == []
    )
