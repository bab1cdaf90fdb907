"""EB2xx: what the bundle lacks."""

from __future__ import annotations

from bundler.checks.rules.leaks_texts import REBUILD
from bundler.model import Code

CODES: tuple[Code, ...] = (
    Code(
        code="EB201",
        severity="error",
        title="a module does not import",
        cause="Mounted as in the image (PYTHONPATH, no start-up files, no network, read-only), it fails. It "
        "is an error where the service reaches it: a main module of what was asked for, the target of its "
        "script or entry point, an import of the service's own code, or what these import. It is one too "
        "where, by its source, most of what was asked for needs names that another distribution does not "
        "have. Where nothing reaches it, a distribution that is broken is a warning, and one that misses "
        "something optional is information.",
        remedy="See the last lines of the traceback: add what is missing, or pin another version.",
        example="A package imports `pkg_resources` and does not require setuptools: `No module named "
        "'pkg_resources'` in the image, while every environment with seed packages has it.",
    ),
    Code(
        code="EB202",
        severity="error",
        title="a file of a distribution is missing",
        cause="The distribution's RECORD lists it.",
        remedy=REBUILD,
        example="A disk that was full while the tree was made has lost "
        "`pandas/_libs/algos.cpython-38-x86_64-linux-gnu.so`.",
    ),
    Code(
        code="EB203",
        severity="error",
        title="a file is not what its distribution says",
        cause="Hash or size differ from the distribution's RECORD.",
        remedy=REBUILD,
        example="A virus scanner has cleaned a file of the tree: 8,192 bytes where its RECORD says 8,704.",
    ),
    Code(
        code="EB204",
        severity="error",
        title="a requirement of a distribution is not met",
        cause="With the target's markers and the extras asked for, a distribution requires another that is "
        "missing, or in a version that it excludes.",
        remedy="Add the requirement, or loosen the constraint that keeps it out.",
        example="jsonschema 4.17.3 requires importlib-resources on Python 3.8; a resolver that ran on "
        "3.11 took the marker for its own, and left it out.",
    ),
    Code(
        code="EB205",
        severity="error",
        title="an extra that the distribution does not have",
        cause="Installers only warn, and leave out what the extra would have brought. A warning where no "
        "extra of it has a name like that: a release may have given it up.",
        remedy="Correct the name of the extra.",
        example="`requests[sockz]` installs requests without PySocks, with a warning that nobody reads: "
        "the extra is called `socks`.",
    ),
    Code(
        code="EB206",
        severity="error",
        title="the service's own code imports what nothing brings",
        cause="The syntax tree of the code that `--entry` or `--source` names has an import that leads "
        "neither to the code itself, nor to the standard library, nor to a distribution of the bundle.",
        remedy="Add the distribution to the requirements, or take the import out.",
        example="`score.py` imports `joblib` in `init()`; scikit-learn brought it until that requirement was "
        "dropped.",
    ),
    Code(
        code="EB207",
        severity="error",
        title="the RECORD of a wheel is wrong upstream",
        cause="The file is the one that the index or the lock names, but it was changed after its RECORD was "
        "written: a member has another hash, is not listed, or is listed and lacking. Installers do not "
        "look. The bundle has what the archive holds, and a RECORD of its own that is right. A warning where "
        "only the metadata differs, or a library of the system that was put into NAME.libs, or where a file "
        "is not listed.",
        remedy="Ask whoever made the wheel, or choose another version; where you trust it, accept it with "
        "--ignore EB207:NAME=reason.",
        example="torch 1.8.1: its METADATA has 23,676 bytes where its RECORD says 23,682.",
    ),
    Code(
        code="EB208",
        severity="error",
        title="a distribution fails when it is first used",
        cause="It imports, and the first call that everyone makes raises an exception, because another "
        "distribution of the lock is a release that took away what it uses. This is known of a few "
        "pairs, each with the source that says so, and not found by trying. It is an error where the "
        "distribution is asked for, else a warning.",
        remedy="Pin the other distribution to the release before, or take a newer version of this one.",
        example="dash 2.4.1 with Flask 2.3: `dash.Dash()` raises `'Flask' object has no attribute "
        "'before_first_request'`.",
    ),
)
