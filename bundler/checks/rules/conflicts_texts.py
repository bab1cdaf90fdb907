"""EB4xx: what gets into another's way."""

from __future__ import annotations

from bundler.model import Code

CODES: tuple[Code, ...] = (
    Code(
        code="EB401",
        severity="error",
        title="two distributions own one file",
        cause="Their contents differ, and the one that was installed last wins. Python files are compared by "
        "what they do: comments, blank lines and the docstring of an `__init__.py` do not count, and the "
        "usual ways to make a package a namespace (pkgutil, pkg_resources, both in a `try`) are the same, "
        "and so are modules that only run something as `python -m` (`jupyter.py`).",
        remedy="Keep one of the two.",
        example="opencv-python and opencv-python-headless both bring `cv2/`; which of the two is imported "
        "depends on the order of installation.",
    ),
    Code(
        code="EB402",
        severity="error",
        title="a module hides one of the standard library",
        cause="`PYTHONPATH` puts the bundle before the standard library, so a backport that no Python "
        "of today needs replaces the real module. In an environment it comes after it, and nobody "
        "notices. It is a warning for a known backport with which the standard library, its first use and "
        "all that is reached still work (argparse 1.4.0).",
        remedy="Leave the distribution out, or ask for it with a marker for the Pythons that need it.",
        example="enum34 1.1.10 on Python 3.8: `import re` fails with `module 'enum' has no attribute "
        "'IntFlag'`, and with it nearly everything, `pip --version` included.",
    ),
    Code(
        code="EB403",
        severity="warning",
        title="names that differ in case only",
        cause="File shares without regard to case (Azure Files, any SMB share, Windows) keep one of the two.",
        remedy="Leave one of the distributions out, or mount the bundle from a place that tells case.",
        example="The modules `crypto` and `Crypto` of two distributions: on the share one folder holds both, "
        "and one of the imports fails.",
    ),
    Code(
        code="EB404",
        severity="error",
        title="the bundle breaks a distribution of the image",
        cause="What the bundle brings comes before the image's own. A distribution of the image, its "
        "inference server perhaps, then runs with a version that its requirements exclude, or that is "
        "known to break it.",
        remedy="Pin a version that both accept.",
        example="Werkzeug 3.0.3 over an image with Flask 2.1.3: `cannot import name 'url_quote'`, and the "
        "server does not start.",
    ),
    Code(
        code="EB405",
        severity="warning",
        title="the bundle replaces a distribution that the image uses",
        cause="A distribution of the image was installed with another major version, or a newer one. Its "
        "requirements allow the bundle's, but nobody has tried it.",
        remedy="Pin the image's version, or run `verify.py` of the bundle in the image.",
        example="The image's server was installed with pydantic 1.10, and the bundle brings 2.5.",
    ),
    Code(
        code="EB406",
        severity="error",
        title="the bundle brings a pip, setuptools or wheel that nobody asked for",
        cause="It comes before the image's own: the image's `pip` command runs the bundle's pip. A "
        "package that was found because of them is missing in the next bundle.",
        remedy="Take it out of the requirements or the lock.",
        example="A lock that was made by `pip freeze --all` in an environment lists pip, setuptools and "
        "wheel.",
    ),
    Code(
        code="EB407",
        severity="error",
        title="a module that every start of Python runs",
        cause="Python imports `sitecustomize` and `usercustomize` from its path, the bundle first: it "
        "runs in every Python program of the image, and hides the image's own.",
        remedy="Choose a distribution that does not bring it.",
        example="A monitoring agent installs a `sitecustomize.py` at the top of site-packages; the one "
        "of the image, which sets up its certificates, does not run any more.",
    ),
)
