"""How a program that travels ends: what it prints, its exit code, and what a signal does."""

import json
import signal
import sys


def fail(as_json, message, hint, exit_code):
    # type: (bool, str, str, int) -> int
    """Print an error, in which nothing moves the cursor, and return the exit code."""
    if as_json:
        error = {"message": message, "hint": hint, "exit_code": exit_code}
        print(json.dumps({"ok": False, "error": error}, sort_keys=True))
    else:
        text = ascii("error: {}\0hint: {}\0".format(message, hint))[1:-1].replace("\\x00", "\n")
        sys.stderr.write(text)
    return exit_code


def say_plainly(text):
    # type: (str) -> None
    """Print a line in which nothing moves the cursor, whatever the locale."""
    print(ascii(text)[1:-1])


def stop_on_signals():
    # type: () -> None
    """Let a signal end the program as an exception does: what it has begun is removed."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _stop)


def _stop(number, _):
    # type: (int, object) -> None
    sys.exit(128 + number)
