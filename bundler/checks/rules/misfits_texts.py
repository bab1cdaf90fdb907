"""EB3xx: what does not fit the target."""

from __future__ import annotations

from bundler.model import Code

CODES: tuple[Code, ...] = (
    Code(
        code="EB301",
        severity="error",
        title="a native file needs a newer glibc than the target has",
        cause="It was linked on a newer system and uses functions that the target's C library lacks: the "
        "import fails with `version 'GLIBC_…' not found`. Tags can promise more than files keep.",
        remedy="Pin a version whose wheel is made for an older manylinux; or, where the image's glibc is "
        "newer than the target's, say so with --glibc.",
        example="The manylinux_2_34 wheel of cryptography 44 on Ubuntu 20.04: `GLIBC_2.33 not found`. A "
        "module that starts a thread and was built on Debian 12 needs GLIBC_2.34.",
    ),
    Code(
        code="EB302",
        severity="error",
        title="a native file needs a newer C++ runtime than the target has",
        cause="It needs symbol versions of libstdc++ or libgcc that are not in the distributions with the "
        "target's glibc: the import fails with `version 'GLIBCXX_…' not found`. Some files need a symbol and "
        "name no version of it: then it fails with `undefined symbol: _ZSt…`.",
        remedy="Pin a version that is built with an older compiler; or accept it with --ignore where the "
        "image has a newer libstdc++, as some conda environments do.",
        example="A module that waits on a std::condition_variable, built with GCC 12, needs GLIBCXX_3.4.30; "
        "Ubuntu 20.04 has 3.4.28. azureml-dataprep-rslex 2.25 needs `_ZSt28__throw_bad_array_new_lengthv`, "
        "which came with 3.4.29.",
    ),
    Code(
        code="EB303",
        severity="error",
        title="a native file needs a library that is not known to be in the image",
        cause="The loader finds it neither in the bundle, nor is it one that every image with glibc has, nor "
        "does the image's profile name it. The import works where the library happens to be installed, and "
        "fails in a slim image.",
        remedy="Choose a distribution that brings it, or an image that has it and say so with --assume-lib.",
        example="lightgbm 3.3.5 needs `libgomp.so.1`, though its tag is manylinux1; opencv-python needs "
        "`libGL.so.1`, opencv-python-headless does not.",
    ),
    Code(
        code="EB304",
        severity="error",
        title="a native file cannot be loaded",
        cause="It is cut off, damaged or for another processor. A library that is cut off kills the process "
        "that imports it, without a traceback.",
        remedy="Get the wheel anew, or choose one for this processor.",
        example="A wheel that was repacked for another platform holds a module for aarch64 under the name of "
        "x86_64: `cannot open shared object file`, while the file is there.",
    ),
    Code(
        code="EB305",
        severity="error",
        title="an extension module is named for another Python",
        cause="Python imports extension modules by suffix: one for another version or platform is not seen, "
        "and the import fails with `No module named …`.",
        remedy="Choose a wheel for this Python.",
        example="`fast.cpython-39-x86_64-linux-gnu.so` in a wheel that is tagged `py3-none-linux_x86_64`.",
    ),
    Code(
        code="EB306",
        severity="error",
        title="a wheel is not for the target",
        cause="The tags in its filename are none that the target's pip accepts.",
        remedy="Choose a wheel with tags that fit, or give the glibc of the image with --glibc.",
        example="`cryptography-44.0.0-cp37-abi3-manylinux_2_28_x86_64.whl` for an image with glibc 2.27.",
    ),
    Code(
        code="EB307",
        severity="error",
        title="a distribution is for other versions of Python",
        cause="Its Requires-Python excludes the target's. It may use syntax or modules that are not there.",
        remedy="Pin the last version that supports this Python.",
        example="numpy 1.25 requires Python 3.9; for 3.8 the last is 1.24.4.",
    ),
    Code(
        code="EB310",
        severity="warning",
        title="a library wants memory that is writable and executable",
        cause="An executable stack makes attacks easier. Hardened containers refuse it, and so does glibc "
        "from 2.41 on: `cannot enable executable stack`. Information where the target's glibc grants it.",
        remedy="Choose a version that is built without it; most often it comes of an assembler file that "
        "does not say it needs none (`-z noexecstack`).",
        example="ctranslate2 4.5 asked for an executable stack, and failed to load on Debian 13.",
    ),
    Code(
        code="EB361",
        severity="error",
        title="another machine",
        cause="The bundle was made for another processor.",
        remedy="Make a bundle for this machine.",
        example="A bundle for x86_64 is mounted in a container on an aarch64 node.",
    ),
    Code(
        code="EB362",
        severity="error",
        title="the C library is too old",
        cause="The bundle was made for a newer glibc than this place has.",
        remedy="Make the bundle for the glibc of this place (`envbundle create --glibc`).",
        example="A bundle for glibc 2.31 is mounted in an image based on Ubuntu 18.04, which has 2.27.",
    ),
    Code(
        code="EB363",
        severity="error",
        title="a library that the image was said to have is not there",
        cause="The bundle was made with `--assume-lib`, on the word that the image has the library; the "
        "loader of this place does not find it, and what needs it will not import.",
        remedy="Install the library in the image, or choose a distribution that brings it.",
        example="LightGBM 3.3.5 needs `libgomp.so.1`, the bundle was made with `--assume-lib libgomp.so.1`, "
        "and the slim image has no such file.",
    ),
    Code(
        code="EB364",
        severity="error",
        title="a distribution that was left to the image is not there",
        cause="The bundle was made with `--thin`, without what the image's profile said is installed in the "
        "very version of the lock; this place has another version of it, or none.",
        remedy="Make the bundle without `--thin`, or with a profile that was probed in this image.",
        example="The image had numpy 1.24.4 when it was probed, the bundle with pandas was made without it, "
        "and the image's next tag has numpy 1.23.5.",
    ),
)
