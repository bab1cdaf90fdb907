"""What the service reaches: roots, their main modules and their scripts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bundler.checks.imports import reach
from bundler.checks.imports.service_code import CodeImport
from bundler.model import Artifact, FileFact, Lock, LockedDistribution, WheelFacts

SITE = "lib/python3.8/site-packages"


def locked(
    name: str, *required_by: str, requested: bool = True, extras: tuple[str, ...] = ()
) -> LockedDistribution:
    artifact = Artifact(kind="wheel", filename=f"{name}-1-py3-none-any.whl", url=None)
    return LockedDistribution(
        name=name, version="1", artifact=artifact, requested=requested, required_by=required_by, extras=extras
    )


def lock(*dists: LockedDistribution) -> Lock:
    return Lock(python_version="3.8.18", machine="x86_64", glibc=(2, 31), distributions=dists)


@pytest.mark.parametrize(
    ("dists", "expected"),
    [
        ([locked("flask"), locked("jinja2", "flask", requested=False)], ["flask"]),
        # `pip freeze`: all are requested, and only what nothing else brings is a root.
        ([locked("flask"), locked("jinja2", "flask"), locked("markupsafe", "jinja2")], ["flask"]),
        # A list written by hand: Flask and a plug-in of it, of which both are used.
        (
            [
                locked("flask", "flask-sockets"),
                locked("flask-sockets"),
                *(locked(name, "flask", requested=False) for name in ("click", "jinja2", "werkzeug")),
            ],
            ["flask", "flask-sockets"],
        ),
        # Through one that was not requested.
        ([locked("flask"), locked("x", "flask", requested=False), locked("markupsafe", "x")], ["flask"]),
        # A circle, alone and below another.
        ([locked("a", "b"), locked("b", "a")], ["a", "b"]),
        ([locked("top"), locked("a", "b", "top"), locked("b", "a")], ["top"]),
        # A lock that does not say what was asked for.
        ([locked("a", requested=False), locked("b", "a", requested=False)], ["a"]),
        ([locked("a", "gone")], ["a"]),
    ],
)  # fmt: skip
def test_roots(dists: list[LockedDistribution], expected: list[str]) -> None:
    assert list(lock(*dists).roots) == expected


def facts(name: str, modules: dict[str, int], *entry_points: str) -> WheelFacts:
    """A wheel with so many bytes of code a module."""
    return WheelFacts(
        name=name,
        version="1",
        filename=f"{name}-1-py3-none-any.whl",
        sha256="0" * 64,
        dist_info=f"{name}-1.dist-info",
        tags=(),
        requires_python=None,
        requires=(),
        extras=(),
        modules=tuple(modules),
        scripts=(),
        files=tuple(
            FileFact(path=f"{SITE}/{module.replace('.', '/')}/__init__.py", sha256="", size=size)
            for module, size in modules.items()
        ),
        entry_points=entry_points,
    )


@pytest.mark.parametrize(
    ("name", "modules", "named", "expected"),
    [
        ("flask", {"flask": 10}, (), ["flask"]),
        ("Flask-SQLAlchemy", {"flask_sqlalchemy": 10}, (), ["flask_sqlalchemy"]),
        ("azure-storage-blob", {"azure.storage.blob": 10}, (), ["azure.storage.blob"]),
        ("mlflow", {"mlflow": 900, "pylint_plugins": 5}, ("mlflow", "pylint_plugins"), ["mlflow"]),
        ("tritonclient", {"tritonclient": 9, "tritonhttpclient": 9}, (), ["tritonclient"]),
        ("plac", {"plac": 20, "plac_core": 20, "plac_tk": 9}, (), ["plac"]),
        ("scikit-learn", {"sklearn": 900, "_sk_private": 900}, ("sklearn",), ["sklearn"]),
        ("PyYAML", {"yaml": 90, "_yaml": 1}, ("_yaml", "yaml"), ["yaml"]),
        ("protobuf", {"google.protobuf": 90}, ("google",), ["google.protobuf"]),
        ("attrs", {"attr": 90, "attrs": 5}, (), ["attrs"]),
        ("two", {"alpha": 90, "beta": 60, "gamma": 2, "tests": 99}, (), ["alpha", "beta"]),
        ("named", {"alpha": 9, "other": 90}, ("alpha",), ["alpha"]),
        ("libsass", {"sass": 90, "sasstests": 90, "latest": 90}, ("sass", "sasstests"), ["sass"]),
        ("contests", {"contests": 9}, (), ["contests"]),
        ("azureml-defaults", {}, (), []),
        ("only-private", {"_x": 9}, (), []),
    ],
)
def test_main_modules(
    name: str, modules: dict[str, int], named: tuple[str, ...], expected: list[str]
) -> None:
    found = reach.main_modules(facts(name, modules), site_packages=SITE, named=named)
    assert list(found) == expected


@pytest.mark.parametrize(
    ("dist", "entries", "expected"),
    [
        (
            locked("gunicorn"),
            ["console_scripts: gunicorn = gunicorn.app.wsgiapp:run"],
            [("gunicorn.app.wsgiapp", False)],
        ),
        (locked("server"), ["console_scripts: serve = server.main:run"], [("server.main", False)]),
        (
            locked("tool"),
            ["console_scripts: tool = tool:a", "console_scripts: other = tool.b:run"],
            [("tool", False), ("tool.b", True)],
        ),
        (locked("tool"), ["console_scripts: tool = tool:a", "gui_scripts: d = tool.d:x [d]"], [("tool", 0)]),
        (
            locked("tool", extras=("D",)),
            ["console_scripts: tool = tool:a", "console_scripts: tool-d = tool.d:main [d]"],
            [("tool", False), ("tool.d", True)],
        ),
        (locked("tool"), ["pytest11: tool = tool.plugin", "nonsense"], []),
        (locked("dash"), ["console_scripts: dash-generate-components = dash.dev:main"], [("dash.dev", True)]),
        (locked("dash"), ["console_scripts: dashboard = dash.dev:main"], [("dash.dev", False)]),
        # yfinance 0.2 has such an entry, which works nowhere.
        (locked("finance"), ["console_scripts: sample = sample:main"], [("sample", True)]),
        (locked("sample"), ["console_scripts: sample = other:main"], [("other", False)]),
    ],
)  # fmt: skip
def test_scripts(dist: LockedDistribution, entries: list[str], expected: list[tuple[str, bool]]) -> None:
    found = reach.obligations(
        lock(dist),
        {dist.name: facts(dist.name, {dist.name: 5}, *entries)},
        site_packages=SITE,
        named={},
        read=lambda *_: b"import os",
    )
    assert [(one.modules[0], one.optional) for one in found if one.kind == "script"] == expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["otel_traces_exporter: otlp = plug.traces:Exporter"], ("plug.traces:Exporter",)),
        (
            ["otel.logs: otlp = plug.logs:Exporter", "otel-traces: x = plug.traces : x.y"],
            ("plug.logs:Exporter", "plug.traces:x"),
        ),
        (["apache_airflow_provider: info = plug.info:get"], ("plug.info:get",)),
        # The consumer is not in the bundle, or is the distribution itself.
        (["sqlalchemy.dialects: plug = plug.dialect:Dialect"], ()),
        (["plug.backends: plug = plug.backend:Backend"], ()),
        (["plug_app: auth = plug.auth:create"], ()),
        # Tools of developers, what is behind an extra, a module without an object.
        (["babel.extractors: plug = plug.ext:extract"], ()),
        (["otel_traces: x = plug.traces:x [fast]"], ()),
        (["otel_variables: plug = plug.variables"], ()),
    ],
)  # fmt: skip
def test_what_others_load_by_entry_points(entries: list[str], expected: tuple[str, ...]) -> None:
    brought = {
        "plug": facts("plug", {"plug": 5}, *entries),
        "otel-api": facts("otel-api", {"otel": 5}, "otel_traces: own = otel.traces:Own"),
        "apache-airflow": facts("apache-airflow", {"airflow": 5}),
        "babel": facts("Babel", {"babel": 5}),
        "plug-skinny": facts("plug-skinny", {"plug": 5}),
    }
    dists = (locked("plug"), *(locked(name, "plug", requested=False) for name in brought if name != "plug"))
    found = reach.obligations(
        lock(*dists), brought, site_packages=SITE, named={}, read=lambda *_: b"import os"
    )
    assert [one.modules for one in found if one.of_entry_points] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", True),
        ('"""Text."""\n__version__ = "1.0"\n__all__ = ("image",)\n', True),
        ("# a licence\nfrom __future__ import annotations\n", True),
        ('from .about import __title__, __version__\n\n__all__ = ["__title__"]\n', True),  # botbuilder.ai
        ("from .about import __version__, about\n", False),
        ("from about import __version__\n", False),
        ("from .image import Image\n", False),
        ("VERSION = (1, 0)\n", False),
        ("print 'of Python 2'\n", False),
    ],
)
def test_empty_packages(source: str, expected: bool) -> None:  # noqa: FBT001 - a parameter of the table
    assert reach.is_empty(source.encode()) is expected


def below(*sizes: tuple[str, int]) -> WheelFacts:
    """A distribution `wand` with files below its package."""
    files = tuple(FileFact(path=f"{SITE}/wand/{path}", sha256="", size=size) for path, size in sizes)
    return replace(facts("wand", {"wand": 10}), files=files)


LAID_OUT = below(
    ("__init__.py", 10),
    ("image.py", 900),
    ("api.py", 400),
    ("version.py", 5),
    ("_private.py", 900),
    ("cdefs/__init__.py", 300),
    ("cdefs/magick.py", 100),
    ("data/table.py", 900),
    ("tests/__init__.py", 900),
)


def test_parts() -> None:
    """Without private ones, tests, folders that are no packages, and what is tiny."""
    assert list(reach.parts(LAID_OUT, "wand", site_packages=SITE)) == ["wand.api", "wand.cdefs", "wand.image"]


@pytest.mark.parametrize(("source", "expected"), [(b"", ["main", "main"]), (b"import os\n", ["main"])])
def test_an_empty_package_obliges_to_what_is_below(source: bytes, expected: list[str]) -> None:
    found = reach.obligations(
        lock(locked("wand")), {"wand": LAID_OUT}, site_packages=SITE, named={}, read=lambda *_: source
    )
    assert [one.kind for one in found] == expected
    assert [one.optional for one in found] == [False, True][: len(found)]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("v1/__init__.py", "v1/health.py", "v1/health_pb2.py"), ["v1.health", "v1.health_pb2"]),
        (("v1/__init__.py", "v1/health.py", "v2/__init__.py", "v2/x.py"), ["v1.health", "v2.x"]),
        (("v1/__init__.py", "v1/health.py", "v1/a/__init__.py", "v1/a/x.py"), ["v1.a", "v1.health"]),
        (("v1/__init__.py", "v1/a/__init__.py", "v1/a/x.py"), ["v1.a.x"]),
        (("v1/__init__.py",), ["v1"]),
        # One of use beside it: what is below the other may be for those who ask for more.
        (("v1/__init__.py", "v1/health.py", "client.py"), ["client", "v1"]),
        (("full/__init__.py", "full/x.py"), ["full"]),
        # django-storages: each of its backends is for those who have the client.
        (("backends/__init__.py", "backends/s3.py", "backends/azure.py", "utils.py"), ["backends"]),
    ],
)
def test_empty_packages_below_an_empty_one_are_entered(paths: tuple[str, ...], expected: list[str]) -> None:
    """grpcio-health-checking 1.43 with protobuf 4: `grpc_health` and its `v1` import, and nothing else."""
    files = tuple(
        FileFact(path=f"{SITE}/grpc_health/{path}", sha256="", size=1 if "utils" in path else 50)
        for path in ("__init__.py", *paths)
    )
    health = replace(facts("grpcio-health-checking", {"grpc_health": 50}), files=files)
    found = reach.obligations(
        lock(locked("grpcio-health-checking")),
        {"grpcio-health-checking": health},
        site_packages=SITE,
        named={},
        read=lambda _, path: b"import os\n" if "full" in path else b"",
    )
    assert found[1].modules == tuple(f"grpc_health.{one}" for one in expected)
    assert found[1].optional


def test_an_empty_package_beside_a_module_of_use_obliges_to_nothing() -> None:
    """libsass: people import `sass`, and hardly anybody what is below `sassutils`."""
    files = tuple(
        FileFact(path=f"{SITE}/{path}", sha256="", size=50)
        for path in ("sass.py", "sassutils/__init__.py", "sassutils/wsgi.py")
    )
    sass = replace(facts("libsass", {"sass": 50, "sassutils": 50}), files=files)
    found = reach.obligations(
        lock(locked("libsass")), {"libsass": sass}, site_packages=SITE, named={}, read=lambda *_: b""
    )
    assert [one.modules for one in found] == [("sass", "sassutils")]


@pytest.mark.parametrize(
    ("brought", "file", "source", "expected"),
    [
        ("django", "apps.py", b"class MpttConfig(AppConfig):", ("mptt", "mptt.apps")),
        ("django", "apps.py", b"APPS = []", ("mptt",)),
        ("django", "models.py", b"class MpttConfig(AppConfig):", ("mptt",)),
        ("flask", "apps.py", b"class MpttConfig(AppConfig):", ("mptt",)),
    ],
)
def test_what_django_imports_of_an_installed_app(
    brought: str, file: str, source: bytes, expected: tuple[str, ...]
) -> None:
    mptt = facts("django-mptt", {"mptt": 9})
    mptt = replace(mptt, files=(*mptt.files, FileFact(path=f"{SITE}/mptt/{file}", sha256="", size=9)))
    both = {"django-mptt": mptt, brought: facts(brought, {brought: 9})}
    dists = locked("django-mptt"), locked(brought, "django-mptt", requested=False)
    found = reach.obligations(
        lock(*dists),
        both,
        site_packages=SITE,
        named={},
        read=lambda _, path: source if file in path else b"x()",
    )
    assert [one.modules for one in found] == [expected]


def test_only_roots_oblige() -> None:
    names = ("flask", "jinja2")
    dists = (locked("flask"), locked("jinja2", "flask"))
    both = {name: facts(name, {name: 5}, f"console_scripts: {name} = {name}.cli:x") for name in names}
    found = reach.obligations(lock(*dists), both, site_packages=SITE, named={}, read=lambda *_: b"import os")
    assert [(one.kind, one.subject, one.modules) for one in found] == [
        ("main", "flask", ("flask",)),
        ("script", "flask", ("flask.cli",)),
    ]


@pytest.mark.parametrize(
    ("said", "reached", "missing"),
    [
        ({}, ("alpha",), []),
        ({"module": "json"}, (), []),
        ({"module": "yaml"}, (), ["yaml"]),
        ({"module": "yaml", "optional": True}, (), []),
        ({"module": "helper", "own": True}, (), []),
        # `try: import alpha / except ImportError: import yaml`, and the other way round.
        ({"module": "yaml", "instead_of": ("alpha.x", "json")}, (), []),
        ({"module": "yaml", "instead_of": ("beta",)}, (), ["yaml"]),
        ({"instead_of": ("beta",)}, ("alpha",), []),
        ({"module": "distutils.version"}, (), ["distutils.version"]),
    ],
)
def test_what_the_services_own_code_obliges_to(
    said: dict[str, Any], reached: tuple[str, ...], missing: list[str]
) -> None:
    imports = [CodeImport(where="score.py:1", **{"module": "alpha", **said})]
    known = {"alpha": facts("alpha", {"alpha": 5})}
    found, absent = reach.service_obligations(imports, known, standard={"json"})
    assert tuple(module for one in found for module in one.modules) == reached
    assert [one.module for one in absent] == missing


def test_the_imports_decide_about_what_setuptools_gives_back() -> None:
    """`import setuptools` brings distutils on a Python without it, if it comes first."""
    imports = [CodeImport(where=f"score.py:{n}", module=m) for n, m in enumerate(("setuptools", "distutils"))]
    known = {"setuptools": facts("setuptools", {"setuptools": 5})}
    found, absent = reach.service_obligations(imports, known, standard=())
    assert [one.modules for one in found] == [("setuptools", "distutils")]
    assert absent == ()
