"""EB5xx: what the mount or the upload loses."""

from __future__ import annotations

from bundler.model import Code

COPY = "Copy the bundle again, whole, from where it was made."

CODES: tuple[Code, ...] = (
    Code(
        code="EB501",
        severity="warning",
        title="start-up code that does not run",
        cause="`.pth` and `.start` files run in an environment only. On a mount their code does not run and "
        "their paths are not added; what relied on it fails, or does less. (Namespace packages work without, "
        "as the imports show.)",
        remedy="Do in the service what the file would have done, or accept it: `--ignore EB501:NAME=reason`.",
        example="future-fstrings registers a codec by its `aaaaa_future_fstrings.pth`: mounted, a "
        "module that says `coding: future_fstrings` is a SyntaxError.",
    ),
    Code(
        code="EB502",
        severity="warning",
        title="data files outside of site-packages",
        cause="They are in the bundle, beside `lib/`, but nothing finds them through `PYTHONPATH`: code "
        "that looks below `sys.prefix` looks into the image.",
        remedy="If the service needs them, name their place to the package: an argument or a variable "
        "of its own.",
        example="A package reads its tables from `{sys.prefix}/share/alpha/`; in the bundle they are in "
        "`share/alpha/`, and the image has none.",
    ),
    Code(
        code="EB503",
        severity="info",
        title="console scripts are not on PATH",
        cause="The mount adds modules and no commands.",
        remedy="Call the script by its path in the bundle, or `python -m` with its module.",
        example="`gunicorn` of the bundle is `bin/gunicorn`; the image starts its own, or finds none.",
    ),
    Code(
        code="EB504",
        severity="info",
        title="an empty folder",
        cause="Object stores and archives know files only, so an upload loses it.",
        remedy="Make it where the service starts, if it needs it.",
        example="A package keeps an empty `cache/` folder to write into.",
    ),
    Code(
        code="EB505",
        severity="warning",
        title="a very long path",
        cause="Together with the folders above it, the path comes close to what an object store (1024 "
        "characters) or Windows (260 characters) can hold.",
        remedy="Mount an archive, or leave out what brings it.",
        example="The static files of a notebook extension, ten folders deep and with hashes in their names.",
    ),
    Code(
        code="EB506",
        severity="info",
        title="more than a snapshot holds",
        cause="The SDK and CLI v1 of Azure ML upload at most 2,000 files and 300 MB. For v2 no limit is "
        "documented.",
        remedy="Deploy with v2, or mount the bundle from storage.",
        example="pandas and scikit-learn with their requirements: 9,600 files, 313 MB.",
    ),
    Code(
        code="EB507",
        severity="warning",
        title="an ignore file keeps files of the bundle out of an upload",
        cause="Azure ML's client leaves out what `.amlignore`, or else `.gitignore`, of the uploaded "
        "folder names, without a word.",
        remedy="Put an `.amlignore` beside it without these patterns: it takes the place of the "
        "`.gitignore`.",
        example="The usual `.gitignore` for Python names `lib/`, `*.so` and `__pycache__/`: nothing is "
        "left of the bundle.",
    ),
    Code(
        code="EB508",
        severity="info",
        title="names that Windows and file shares cannot hold",
        cause="A colon, a question mark, a dot at the end or a name such as `aux` is lost on an SMB "
        "share, or stops the copy.",
        remedy="Mount the bundle from a Linux file system, or as an archive.",
        example="A test suite ships the file `aux.txt`.",
    ),
    Code(
        code="EB509",
        severity="error",
        title="modes that shut out the image's user, or that an upload loses",
        cause="The image runs as an unprivileged user. Where that user cannot read a folder, Python "
        "imports it as an empty namespace package, without an error.",
        remedy="Create the bundle again; after copying it, `chmod -R a+rX`.",
        example="A bundle that was copied under umask 077: `import numpy` works, and `numpy.array` is "
        "missing.",
    ),
    Code(
        code="EB511",
        severity="error",
        title="a file of the bundle is missing",
        cause="The manifest lists it; it was lost on the way.",
        remedy=COPY,
        example="An upload left out the files whose names begin with a dot or end in `.pyc`.",
    ),
    Code(
        code="EB512",
        severity="error",
        title="a file of the bundle was changed",
        cause="Hash or size differ from the manifest.",
        remedy=COPY,
        example="A checkout on Windows has turned the line ends of the sources from LF into CRLF.",
    ),
    Code(
        code="EB513",
        severity="error",
        title="a file that the bundle does not have",
        cause="The manifest does not list it. It was added afterwards. An empty folder in site-packages "
        "counts too: Python imports it as a package.",
        remedy="Remove it.",
        example="Somebody ran `pip install --target` into the bundle's site-packages to add one more "
        "package.",
    ),
    Code(
        code="EB514",
        severity="error",
        title="a symlink or special file in the bundle",
        cause="A bundle has ordinary files only: links break on the way or point elsewhere.",
        remedy=COPY,
        example="A tool has replaced equal files by symlinks to save space; the file share of the image "
        "cannot hold symlinks.",
    ),
    Code(
        code="EB515",
        severity="error",
        title="the manifest does not fit its own digest",
        cause="It was changed after it was written.",
        remedy=COPY,
        example="Somebody set `target.glibc` in manifest.json to 2.17 so that the verifier would accept "
        "an older image.",
    ),
    Code(
        code="EB516",
        severity="error",
        title="more than the platform takes",
        cause="The platform has a limit on bytes or files, and the bundle is over it.",
        remedy="Leave out what the service does not need, split the bundle, or choose a platform that takes "
        "more, such as an image.",
        example="pandas, scikit-learn and scipy as a layer of AWS Lambda: 313 MB, and 262 MB are the limit.",
    ),
    Code(
        code="EB517",
        severity="error",
        title="libraries beside site-packages, where the platform takes site-packages alone",
        cause="A wheel put shared libraries into `lib/`. Extension modules find them by a path relative to "
        "themselves, which another layout breaks.",
        remedy="Deploy to a platform that takes the whole bundle (docker, kubernetes, aws-lambda).",
        example="The wheels of mkl and tbb put their libraries into `lib/`.",
    ),
)
