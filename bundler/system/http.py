"""HTTP sessions with the proxies, certificates, credentials and retries of the caller's pip."""

from __future__ import annotations

import threading
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from bundler.errors import InputError, MachineError
from bundler.model import IndexSettings, Requirements
from bundler.system import redact

_TIMEOUT = 30.0


class Network:
    """The HTTP sessions of one caller, one a thread."""

    def __init__(
        self, settings: IndexSettings, requirements: Requirements | None = None, *, retries: int | None = None
    ) -> None:
        """Collect the credentials in the URLs of settings and requirements.

        :param retries: of a failed request; by default as the settings say.
        """
        self._settings = settings
        self._credentials = _collect_credentials(settings, requirements)
        self._local = threading.local()
        configured = 5 if settings.retries is None else settings.retries
        self.retries = configured if retries is None else retries
        self.timeout = settings.timeout or _TIMEOUT
        """Seconds without a byte after which a request fails."""

    def credentials(self, url: str) -> tuple[str, str] | None:
        """Return user and password for the host of a URL; `None`: `requests` looks in netrc."""
        return self._credentials.get(urlsplit(url).netloc)

    def session(self) -> requests.Session:
        """Return the session of this thread: `requests` does not promise that threads may share one."""
        existing: requests.Session | None = getattr(self._local, "session", None)
        if existing is not None:
            return existing
        settings = self._settings
        session = requests.Session()
        adapter = HTTPAdapter(
            max_retries=Retry(total=self.retries, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504))
        )
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        if settings.cert:
            session.verify = settings.cert
        if settings.client_cert:
            session.cert = settings.client_cert
        if settings.proxy:
            session.proxies = {"http": settings.proxy, "https": settings.proxy}
        self._local.session = session
        return session

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the content of a file that is not on an index.

        :param limit: bytes.
        :raises InputError: it has more bytes.
        :raises MachineError: it is out of reach.
        """
        told = redact.url(url)
        try:
            with self.session().get(url, stream=True, timeout=self.timeout) as response:
                response.raise_for_status()
                content = b""
                for block in response.iter_content(1 << 16):
                    content += block
                    if len(content) > limit:
                        raise InputError(f"{told} has more than {limit} bytes", hint="check the URL")
        except requests.RequestException as error:
            raise MachineError(
                f"cannot read {told}: {redact.text(str(error))}",
                hint="check URL, network, proxy and certificate, or save the file and name its path",
            ) from error
        return content


def _collect_credentials(
    settings: IndexSettings, requirements: Requirements | None
) -> dict[str, tuple[str, str]]:
    """Return host → (user, password) of index URLs and direct URLs: files are usually on the same host."""
    urls = [settings.index_url or "", *settings.extra_index_urls, *settings.find_links]
    if requirements:
        urls += [one.text.partition(" @ ")[2] or one.text for one in requirements.requirements]
    found: dict[str, tuple[str, str]] = {}
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.username is not None:
            host = parts.netloc.rpartition("@")[2]
            found[host] = (unquote(parts.username), unquote(parts.password or ""))
    return found
