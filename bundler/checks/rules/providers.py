"""Which distribution brings a module, as far as names tell."""

from __future__ import annotations

from packaging.utils import canonicalize_name

BY_MODULE = {
    "Crypto": "pycryptodome",
    "Cython": "cython",
    "IPython": "ipython",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "absl": "absl-py",
    "apt_pkg": "python-apt",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cairo": "pycairo",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "distutils": "setuptools",
    "dns": "dnspython",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "gitpython",
    "gi": "pygobject",
    "grpc": "grpcio",
    "grpc_status": "grpcio-status",
    "grpc_tools": "grpcio-tools",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "ldap": "python-ldap",
    "lmdb": "lmdb",
    "magic": "python-magic",
    "markdown": "markdown",
    "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart",
    "nacl": "pynacl",
    "osgeo": "gdal",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pylab": "matplotlib",
    "pythoncom": "pywin32",
    "_distutils_hack": "setuptools",
    "ruamel": "ruamel.yaml",
    "serial": "pyserial",
    "shapefile": "pyshp",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "socks": "pysocks",
    "sentry_sdk": "sentry-sdk",
    "tensorflow": "tensorflow-cpu",
    "tlz": "toolz",
    "usb": "pyusb",
    "win32api": "pywin32",
    "wx": "wxpython",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""Module → the distribution that brings it, where the names differ."""


def provider_of(module: str) -> str:
    """Return the normalised name of the distribution that brings a top-level module, as far as names tell."""
    return canonicalize_name(BY_MODULE.get(module, module))
