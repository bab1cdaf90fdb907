"""Sends a request to the service and prints the answer: `python client.py [URL] [REQUEST.json]`.

By default it asks the service on port 6789 of this machine, as `docker run -p 6789:5001` makes it, and sends
`request.json` beside this script. It needs Python 3.7 or later, and ends with 1 if there is no good answer.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

URL = "http://localhost:6789/score"
PATIENCE = 60
"""Seconds to wait for a service that is still starting."""


def main(url, path):
    """Send the file's content as it is, and return the exit code."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=path.read_bytes(), headers=headers)
    end = time.monotonic() + PATIENCE
    code = send(request)
    while code is None and time.monotonic() < end:
        time.sleep(0.5)
        code = send(request)
    if code is None:
        print(f"{url}: nobody answers", file=sys.stderr)
    return 1 if code is None else code


def send(request):
    """Print the answer and return the exit code; `None` where nobody answers (yet)."""
    # No proxy is asked, since the service is near.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as response:
            print(response.read().decode("utf-8"))
    except urllib.error.HTTPError as error:
        print(f"{error.code}: {error.read().decode('utf-8', 'replace')}", file=sys.stderr)
        return 1
    except OSError:
        return None
    return 0


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(
        main(
            given[0] if given else URL,
            Path(given[1]) if given[1:] else Path(__file__).resolve().parent / "request.json",
        )
    )
