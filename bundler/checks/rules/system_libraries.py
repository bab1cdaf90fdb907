"""What is known of system libraries, as data: the core of every image, and what brings the others."""

from __future__ import annotations

import re

from bundler.lazy_dataclass import dataclass

CORE = re.compile(
    r"ld-linux[\w.-]*\.so\.\d|ld64\.so\.\d"
    r"|lib(c|m|mvec)\.so\.[16]"
    r"|lib(pthread|dl|nss_\w+)\.so\.[02]|lib(rt|util|nsl|crypt|anl|BrokenLocale|thread_db)\.so\.1"
    r"|libresolv\.so\.2|libgcc_s\.so\.1|libstdc\+\+\.so\.6|libz\.so\.1|libuuid\.so\.1|liblzma\.so\.5"
    r"|libudev\.so\.1"
)
"""glibc's own, the compilers' two, zlib, libuuid, liblzma, libudev: in every image with CPython on glibc.

Looked up in Debian 11 and 12 of the variant minbase, of which the slim images are made. libtinfo is not among
them, since Ubuntu 18.04 has libtinfo.so.5, nor libbz2, which Red Hat's systems call libbz2.so.1.

The desktop libraries that manylinux allows besides (libGL, libX11, libglib …) are not: slim images lack them.
"""


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """The newest symbol versions of libstdc++.so.6 and libgcc_s.so.1 that came with a glibc."""

    glibcxx: tuple[int, ...]
    cxxabi: tuple[int, ...]
    gcc: tuple[int, ...]
    source: str


COMPILERS = {
    (2, 5): Compiler(glibcxx=(3, 4, 8), cxxabi=(1, 3, 1), gcc=(4, 2, 0), source="CentOS 5"),
    (2, 12): Compiler(glibcxx=(3, 4, 13), cxxabi=(1, 3, 3), gcc=(4, 3, 0), source="CentOS 6"),
    (2, 17): Compiler(glibcxx=(3, 4, 19), cxxabi=(1, 3, 7), gcc=(4, 8, 0), source="CentOS 7"),
    (2, 23): Compiler(glibcxx=(3, 4, 21), cxxabi=(1, 3, 9), gcc=(4, 8, 0), source="Ubuntu 16.04"),
    (2, 24): Compiler(glibcxx=(3, 4, 22), cxxabi=(1, 3, 10), gcc=(4, 8, 0), source="Debian 9"),
    (2, 26): Compiler(glibcxx=(3, 4, 24), cxxabi=(1, 3, 11), gcc=(7, 0, 0), source="Amazon Linux 2"),
    (2, 27): Compiler(glibcxx=(3, 4, 25), cxxabi=(1, 3, 11), gcc=(7, 0, 0), source="Ubuntu 18.04"),
    (2, 28): Compiler(glibcxx=(3, 4, 25), cxxabi=(1, 3, 11), gcc=(7, 0, 0), source="Debian 10, EL 8"),
    (2, 31): Compiler(glibcxx=(3, 4, 28), cxxabi=(1, 3, 12), gcc=(7, 0, 0), source="Ubuntu 20.04, Debian 11"),
    (2, 34): Compiler(glibcxx=(3, 4, 29), cxxabi=(1, 3, 13), gcc=(7, 0, 0), source="EL 9"),
    (2, 35): Compiler(glibcxx=(3, 4, 30), cxxabi=(1, 3, 13), gcc=(12, 0, 0), source="Ubuntu 22.04"),
    (2, 36): Compiler(glibcxx=(3, 4, 30), cxxabi=(1, 3, 13), gcc=(12, 0, 0), source="Debian 12"),
    (2, 39): Compiler(glibcxx=(3, 4, 33), cxxabi=(1, 3, 15), gcc=(14, 0, 0), source="Ubuntu 24.04, EL 10"),
}
"""glibc → what stood beside it in the distributions that have it.

Which GCC has which: https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html
"""


def compiler(glibc: tuple[int, int]) -> Compiler:
    """Return what an image with this glibc has; between two known ones, what the older has."""
    known = [version for version in COMPILERS if version <= glibc]
    return COMPILERS[max(known, default=min(COMPILERS))]


STRICT_STACK = (2, 41)
"""From this glibc on, `dlopen` refuses a library that asks for an executable stack (its NEWS for 2.41)."""

DRIVER = re.compile(
    r"lib(cuda|nvidia-\w+|nvcuvid|nvoptix|OpenCL|amdhip64|ze_loader|hsa-runtime64)\.so(\.\d+)?"
)
"""What the driver of an accelerator brings: the platform mounts it where there is a device."""

PYTHON = re.compile(r"libpython[23][\w.]*\.so[\w.]*")

OPTIONAL_FOLDERS = frozenset({"plugins", "plugin", "pydevd_attach_to_process", "test", "tests", "testing"})
"""Folders whose libraries are loaded when asked for by name: what they lack does not stop an import."""

OPTIONAL = {
    ("numba", "libgomp.so"): "one of its three threading layers, chosen among those that load",
    ("numba", "libtbb.so"): "one of its three threading layers, chosen among those that load",
    ("tbb", "libhwloc.so"): "oneTBB asks for its bindings to processors, and works without",
}
"""(distribution, how the library begins) → why the distribution works without it."""

_HEADLESS = "use opencv-python-headless, or "
_BINARY = {
    "psycopg": "require psycopg[binary], or ",
    "psycopg-c": "require psycopg[binary] instead of psycopg[c], or ",
    "psycopg2": "require psycopg2-binary instead of psycopg2, or ",
}
"""Distribution → what to require instead, whose wheels carry libpq."""
_GRAPHIC = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libGLX.so.0": "libglx0",
    "libOpenGL.so.0": "libopengl0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libXi.so.6": "libxi6",
    "libXt.so.6": "libxt6",
    "libXfixes.so.3": "libxfixes3",
    "libxcb.so.1": "libxcb1",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
}
_PACKAGES = {
    "libgomp.so.1": "libgomp1",
    "libatomic.so.1": "libatomic1",
    "libgfortran.so.5": "libgfortran5",
    "libgfortran.so.3": "libgfortran3",
    "libquadmath.so.0": "libquadmath0",
    "libopenblas.so.0": "libopenblas0",
    "libblas.so.3": "libblas3",
    "liblapack.so.3": "liblapack3",
    "libexpat.so.1": "libexpat1",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libnuma.so.1": "libnuma1",
    "libsndfile.so.1": "libsndfile1",
    "libmagic.so.1": "libmagic1",
    "libffi.so.6": "libffi6",
    "libffi.so.7": "libffi7",
    "libffi.so.8": "libffi8",
    "libbz2.so.1.0": "libbz2-1.0",
    "libsqlite3.so.0": "libsqlite3-0",
    "libtinfo.so.6": "libtinfo6",
    "libcurl.so.4": "libcurl4",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libodbc.so.2": "unixodbc",
    "libldap-2.4.so.2": "libldap-2.4-2",
    "libsasl2.so.2": "libsasl2-2",
    "libxmlsec1.so.1": "libxmlsec1",
    "libxmlsec1-openssl.so.1": "libxmlsec1-openssl",
    "libcairo.so.2": "libcairo2",
    "libpango-1.0.so.0": "libpango-1.0-0",
    "libpangocairo-1.0.so.0": "libpangocairo-1.0-0",
    "libpangoft2-1.0.so.0": "libpangoft2-1.0-0",
    "libharfbuzz.so.0": "libharfbuzz0b",
    "libgdk_pixbuf-2.0.so.0": "libgdk-pixbuf-2.0-0",
    "libgvc.so.6": "libgvc6",
    "libcgraph.so.6": "libcgraph6",
    "libpng16.so.16": "libpng16-16",
    "libopenjp2.so.7": "libopenjp2-7",
    "liblcms2.so.2": "liblcms2-2",
    "libMagickWand-6.Q16.so.6": "libmagickwand-6.q16-6",
    "libvips.so.42": "libvips42",
    "libzbar.so.0": "libzbar0",
    "libportaudio.so.2": "libportaudio2",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libzmq.so.5": "libzmq5",
    "libsodium.so.23": "libsodium23",
    "librdkafka.so.1": "librdkafka1",
    "libsnappy.so.1": "libsnappy1v5",
    "liblz4.so.1": "liblz4-1",
    "libzstd.so.1": "libzstd1",
    "libkrb5.so.3": "libkrb5-3",
    "libreadline.so.8": "libreadline8",
    "libncursesw.so.6": "libncursesw6",
    "libarchive.so.13": "libarchive13",
    "libgmp.so.10": "libgmp10",
    "libmpfr.so.6": "libmpfr6",
    "libmemcached.so.11": "libmemcached11",
    "libev.so.4": "libev4",
    "libuv.so.1": "libuv1",
    "libdmtx.so.0": "libdmtx0b",
    "libenchant-2.so.2": "libenchant-2-2",
    "libfuse.so.2": "libfuse2",
    "libtidy.so.5": "libtidy5deb1",
    "libudev.so.1": "libudev1",
}
_OTHERS = {
    "libpq.so.5": "require psycopg2-binary, or psycopg[binary], or install libpq5 in the image",
    "libyaml-0.so.2": "pin PyYAML>=5.4, whose wheels carry it, or install libyaml-0-2 in the image",
    "libxml2.so.2": "pin a version of lxml that has wheels, or install libxml2 in the image",
    "libxslt.so.1": "pin a version of lxml that has wheels, or install libxslt1.1 in the image",
    "libmysqlclient.so": "require PyMySQL, or install the MySQL client in the image",
    "libmariadb.so.3": "require PyMySQL, or install libmariadb3 in the image",
    "libssl.so.1.0.0": "pin a version whose wheel carries OpenSSL; few images still have 1.0",
    "libssl.so.1.1": "pin a version whose wheel carries OpenSSL, or install libssl1.1 in the image",
    "libssl.so.3": "pin a version whose wheel carries OpenSSL, or install libssl3 in the image",
    "libcrypto.so.1.1": "pin a version whose wheel carries OpenSSL, or install libssl1.1 in the image",
    "libcrypto.so.3": "pin a version whose wheel carries OpenSSL, or install libssl3 in the image",
    "libhdf5": "pin a version of h5py or tables that has wheels",
    "libgdal": "require rasterio or pyogrio, whose wheels carry it, or install GDAL in the image",
    "libgeos_c.so.1": "pin a version of shapely that has wheels, or install libgeos-c1v5 in the image",
    "libjvm.so": "the image needs a Java runtime; set LD_LIBRARY_PATH to its lib/server there",
    "libc.musl-": "it was built for musl (Alpine): choose a manylinux wheel",
    "libmkl_": "add mkl to the requirements",
    "libiomp5.so": "add intel-openmp to the requirements",
    "libtbb.so": "add tbb to the requirements",
    "libcudart": "add the distribution of NVIDIA's libraries that fits, or use an image with CUDA",
    "libcublas": "add the distribution of NVIDIA's libraries that fits, or use an image with CUDA",
    "libcudnn": "add the distribution of NVIDIA's libraries that fits, or use an image with CUDA",
    "libnccl": "add the distribution of NVIDIA's libraries that fits, or use an image with CUDA",
    "libtensorflow_framework": "add tensorflow to the requirements",
    "libtorch": "add torch to the requirements",
    "libc10": "add torch to the requirements",
}
"""SONAME, or how it begins → advice."""

_LOOKED_FOR = {
    r"MagickWand shared library not found": "libMagickWand-6.Q16.so.6",
    r"failed to find libmagic": "libmagic.so.1",
    r"Unable to find zbar shared library": "libzbar.so.0",
    r"Unable to find dmtx shared library": "libdmtx.so.0",
    r"Unable to find libfuse": "libfuse.so.2",
    r"PortAudio library not found": "libportaudio.so.2",
    r"sndfile library not found": "libsndfile.so.1",
    r"The 'enchant' C library was not found": "libenchant-2.so.2",
    r"Could not load libtidy": "libtidy.so.5",
    r"No library named udev": "libudev.so.1",
    r"no library called \"cairo": "libcairo.so.2",
    r"cannot load library '(lib)?gobject-2\.0": "libgobject-2.0.so.0",
    r"cannot load library '(lib)?pango-1\.0": "libpango-1.0.so.0",
    r"cannot load library '(lib)?pangoft2-1\.0": "libpangoft2-1.0.so.0",
}
"""What distributions say that look for a library by a name without a version → its SONAME in Debian.

In this order: Wand, python-magic, pyzbar, pylibdmtx, fusepy, sounddevice, soundfile, pyenchant, pytidylib,
pyudev, cairocffi, WeasyPrint (the last three).
"""


def looked_for(detail: str) -> str | None:
    """Return the SONAME of what an exception without one could not find; `None` for nothing known.

    :param detail: the end of a traceback, whose last line but for those of the message begins with the
        exception's name.
    """
    said = re.compile(r"^[\w.]*(?:Error|Exception|NotFound): ", re.MULTILINE).split(detail)[1:]
    return next((name for text, name in _LOOKED_FOR.items() if said and re.search(text, said[-1])), None)


def optional(distribution: str, library: str) -> str | None:
    """Return why a distribution works without a library that it names; `None` where it does not."""
    known = ((start, why) for (name, start), why in OPTIONAL.items() if name == distribution)
    return next((why for start, why in known if library.startswith(start)), None)


def advice(library: str, *, distribution: str = "") -> str | None:
    """Return what brings a library, in words; `None` where nothing is known of it.

    :param distribution: normalised name of the one that needs it.
    """
    headless = _HEADLESS if distribution.startswith("opencv-") else ""
    if PYTHON.fullmatch(library):
        return (
            "an extension module must not be linked with libpython, which the image's interpreter need not "
            "have: choose another version of the distribution, or build it without"
        )
    if library in _GRAPHIC:
        return f"{headless}install {_GRAPHIC[library]} in the image"
    if library == "libpq.so.5" and distribution in _BINARY:
        return f"{_BINARY[distribution]}install libpq5 in the image"
    if library in _PACKAGES:
        return f"install {_PACKAGES[library]} in the image, or choose another distribution"
    if library.startswith(("libX", "libxcb", "libwayland", "libgtk", "libgdk", "libQt")):
        return f"{headless}use an image with a desktop's libraries"
    return next((words for start, words in _OTHERS.items() if library.startswith(start)), None)
