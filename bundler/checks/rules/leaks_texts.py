"""EB1xx: what leaks in from the builder."""

from __future__ import annotations

from bundler.model import Code

REBUILD = "Create the bundle again. If it comes back, report it with what `envbundle -v` showed."

CODES: tuple[Code, ...] = (
    Code(
        code="EB101",
        severity="error",
        title="a distribution of the lock is not installed",
        cause="The installation took it for satisfied by something outside of the bundle, or lost it.",
        remedy=REBUILD,
        example="A builder has six in its user site, and the installer says `Requirement already "
        "satisfied`: the bundle lacks six, and works on the builder alone.",
    ),
    Code(
        code="EB102",
        severity="error",
        title="a distribution is installed that is not in the lock",
        cause="Something got into the environment besides what was resolved.",
        remedy=REBUILD,
        example="A `pip install` of a build script goes into the bundle's environment as well and brings "
        "urllib3, which no requirement asks for.",
    ),
    Code(
        code="EB103",
        severity="error",
        title="a distribution is installed in another version than the lock says",
        cause="It was resolved twice with two answers, or its file does not hold what its name says.",
        remedy="Create the bundle again, or pin another version of it.",
        example="The lock says numpy 1.21.6, and the wheel of that name holds numpy 1.21.5.",
    ),
    Code(
        code="EB104",
        severity="error",
        title="the environment was not empty before the installation",
        cause="What is there already counts as installed, and is missing in the bundle.",
        remedy="Use an interpreter that creates empty environments (`envbundle doctor`).",
        example="An older virtualenv seeds pip, setuptools and wheel without being asked: a package that "
        "needs setuptools finds it while it is built, and not in the image.",
    ),
    Code(
        code="EB105",
        severity="error",
        title="a file belongs to no distribution",
        cause="No RECORD lists it, so nobody knows where it came from.",
        remedy=REBUILD,
        example="A wheel's own start-up code downloads a model into its package folder while it is imported.",
    ),
    Code(
        code="EB106",
        severity="error",
        title="an installation that is not a wheel's",
        cause="Editable installs (an egg-link, a path in a `.pth` file, a finder module), eggs and "
        "leftovers of a broken removal lead out of the bundle, or are half.",
        remedy="Give the project as a path or a wheel, not as an editable one.",
        example="`pip install -e ./lib` leaves `lib.egg-link` and a line in `easy-install.pth`: the code "
        "itself stays on the builder.",
    ),
    Code(
        code="EB107",
        severity="error",
        title="the metadata of a distribution is missing, doubled or contradicts itself",
        cause="Tools and packages that ask for their own version get a wrong answer, or an exception.",
        remedy="Choose another release of it; this one's wheel is damaged.",
        example="A removal that was killed leaves `numpy-1.21.5.dist-info` beside "
        "`numpy-1.21.6.dist-info`; `importlib.metadata.version` tells one of them, by chance.",
    ),
    Code(
        code="EB108",
        severity="error",
        title="something points out of the bundle",
        cause="A path in a `.pth` file, a symlink or a direct_url.json leads to a place of the builder. What "
        "stands there is not in the bundle, and the image does not have it.",
        remedy="Install the project itself, as a wheel or by its path, instead of leading to it.",
        example="`lib.pth` holds the line `/home/me/src/lib`: the module is found on the builder, and "
        "nowhere else.",
    ),
    Code(
        code="EB109",
        severity="warning",
        title="a path of the machine that built it stands in a file",
        cause="The build wrote down where it took place: code may look there when it runs, and the "
        "bundle tells of the builder. In a wheel that was fetched it is as its publisher made it, and "
        "only information.",
        remedy="Find out what writes it (a generated `_config.py`, often), or choose a release that has "
        "a wheel.",
        example="A project generates `_version.py` with the path of its checkout, "
        "`/home/me/.cache/build/alpha/`, when its wheel is built.",
    ),
    Code(
        code="EB110",
        severity="error",
        title="code was loaded from outside of the bundle",
        cause="While everything was imported, a module or shared object came from a place that "
        "is neither the bundle, nor the standard library, nor a system library. The image lacks it.",
        remedy="Require the distribution that brings it, or one that does not reach for it.",
        example="`import yaml` works on the builder because a `sitecustomize` of its base interpreter "
        "puts /usr/lib/python3/dist-packages on the path.",
    ),
    Code(
        code="EB111",
        severity="error",
        title="a distribution was installed by conda",
        cause="What conda installs is not what the index has: its libraries lie in conda's own folders, "
        "which no mount brings.",
        remedy="Require it by name and version, so that its wheel is taken; "
        "`pip list --format=freeze` in the conda environment writes such lines.",
        example="`numpy @ file:///home/conda/feedstock_root/build_artifacts/numpy_1653325313343/work`, from "
        "`pip freeze` in a conda environment.",
    ),
    Code(
        code="EB112",
        severity="warning",
        title="the interpreter is conda's",
        cause="Pure packages come out the same. What is compiled with it is linked with conda's "
        "libraries and its prefix, which the image need not have.",
        remedy="Name an interpreter that is not conda's, or let envbundle find one: `--python 3.8`.",
        example="`--python /opt/conda/envs/py38/bin/python`: every source distribution is linked with "
        "`-Wl,-rpath,/opt/conda/envs/py38/lib`.",
    ),
    Code(
        code="EB120",
        severity="error",
        title="a library is found only by a path that leads out of the bundle",
        cause="Its RPATH or RUNPATH names a folder of the machine that built it, the current folder, or one "
        "above the bundle. What it finds there is not in the image.",
        remedy="Use a wheel that carries its libraries, or build it without `-rpath` (LDFLAGS and conda's "
        "compilers bring it in).",
        example="A module that was built in an active conda environment has the RUNPATH `/opt/conda/lib`, "
        "and gets `libffi.so.8` from there.",
    ),
)
