"""Checks who signed a bundle's manifest: SSH signatures, and in-toto statements in DSSE envelopes.

Signatures stand in a folder beside the bundle. One that holds, of a key that is allowed, is enough:

    manifest.json.sig        SSH signature over manifest.json (OpenSSH, PROTOCOL.sshsig)
    statement.json(.sig)     in-toto statement about manifest.json, and the SSH signature over it
    *.sigstore.json          the same or another statement in a Sigstore bundle (v0.3, with a plain key)

A statement also says the bundle's name, its counter, and when it was signed.
"""

import base64
import calendar
import datetime
import fnmatch
import hashlib
import os
import re
import time

# <joined: bounded.py>
from bundler.ontarget.bounded import TooLargeError, parse_json, read_regular

# </joined>
# <joined: public_keys.py>
from bundler.ontarget.public_keys import BadKeyError, PublicKey, Wire, parse_key, wire_string

# </joined>

MYPY = False
if MYPY:
    from typing import Any  # noqa: F401 - used in type comments

NAMESPACE = "envbundle"
FOLDER_ENDING = ".signatures"
MANIFEST_SIGNATURE = "manifest.json.sig"
STATEMENT = "statement.json"
STATEMENT_SIGNATURE = STATEMENT + ".sig"
DSSE_ENDING = ".sigstore.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
NAME_FIELD = "name"
COUNTER_FIELD = "counter"
TIME_FIELD = "signedOn"
"""In the `internalParameters` of a SLSA provenance."""
LIMIT = 4 << 20
"""Bytes of a file of signatures, keys or signers."""
MOST = 20
"""Sigstore bundles that are looked at."""
_ARMOUR = re.compile(
    r"-----BEGIN SSH SIGNATURE-----\s([A-Za-z0-9+/=\s]{1,100000})-----END SSH SIGNATURE-----\s*"
)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z?)", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)Z)?", re.ASCII)
_COUNTER = re.compile("[0-9]{1,40}")
_WORD = re.compile(r'((?:"[^"]*"|[^\s"])+)\s*')


class RefusedError(Exception):
    """A signature that proves nothing here.

    :param code: of the finding.
    :param cause: after the name of the file.
    """

    def __init__(self, code, cause):
        # type: (str, str) -> None
        Exception.__init__(self, cause)
        self.code = code
        self.cause = cause


class Signer:
    """A key that is allowed: a line of an `allowed_signers` file (ssh-keygen(1)), or a key alone."""

    def __init__(self, key, options):
        # type: (PublicKey, dict[str, str]) -> None
        self.key = key
        self.options = options

    def refuses(self, now):
        # type: (float) -> str
        """Return why this line does not allow a signature of ours now; empty where it does."""
        patterns = self.options.get("namespaces")
        if patterns is not None and not _matches(NAMESPACE, patterns):
            return "its key is not allowed for the namespace {}".format(NAMESPACE)
        if "valid-after" in self.options and now < _seconds(self.options["valid-after"]):
            return "its key is not valid before {}".format(self.options["valid-after"])
        if "valid-before" in self.options and now >= _seconds(self.options["valid-before"]):
            return "its key has expired: it was valid before {}".format(self.options["valid-before"])
        return ""


def _matches(word, patterns):
    # type: (str, str) -> bool
    """Match as ssh does (PATTERNS in ssh_config(5)): a match of a negated pattern wins."""
    hit = False
    for pattern in patterns.split(","):
        if fnmatch.fnmatchcase(word, pattern.lstrip("!")):
            if pattern.startswith("!"):
                return False
            hit = True
    return hit


def _seconds(text):
    # type: (str) -> float
    """Return YYYYMMDD[HHMM[SS]][Z] as seconds since the epoch."""
    parts = _parts(_TIME.fullmatch(text))
    if not parts:
        raise BadKeyError("{!r} is no time as in 20261231 or 202612312359Z".format(text))
    year, month, day, hour, minute, second = parts
    if text.endswith("Z"):
        return float(calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0)))
    return time.mktime((year, month, day, hour, minute, second, 0, 0, -1))


def _parts(match):
    # type: (re.Match[str] | None) -> list[int]
    """Return year to second of a time that there is; empty: there is none, such as February 31."""
    if match is None:
        return []
    year, month, day, hour, minute, second = [int(part or 0) for part in match.groups()[:6]]
    try:
        datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.timezone.utc)
    except ValueError:
        return []
    # mktime(3) knows no time long before 1970 everywhere, and takes month 13 for January.
    return [year, month, day, hour, minute, second] if year >= 1970 else []


def parse_signers(text):
    # type: (str) -> list[Signer]
    """Read an `allowed_signers` file.

    Lines of certificate authorities are left out: certificates are not understood here.

    :raises BadKeyError: a line is none; the message has its number.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = _WORD.findall(line.strip())
        if not words or words[0].startswith("#"):
            continue
        try:
            options = {}  # type: dict[str, str]
            if len(words) > 3 and not _is_kind(words[1]):
                options = _options(words.pop(1))
            if len(words) < 3:
                raise BadKeyError("it reads `PRINCIPALS [OPTIONS] KEYTYPE KEY`")
            if "cert-authority" not in options:
                found.append(Signer(parse_key(" ".join(words[1:3])), options))
        except BadKeyError as error:
            raise BadKeyError("line {}: {}".format(number, error))  # noqa: B904 - Python 2 parses this
    return found


def _is_kind(word):
    # type: (str) -> bool
    return re.match(r"(sk-)?(ssh|ecdsa)-[a-z0-9-]+(@openssh\.com)?$", word) is not None


def _options(text):
    # type: (str) -> dict[str, str]
    options = {}
    for one in re.findall(r'((?:"[^"]*"|[^,"])+),?', text):
        name, _, value = one.partition("=")
        if name.lower() not in ("cert-authority", "namespaces", "valid-after", "valid-before"):
            raise BadKeyError("the option {!r} is not known".format(name))
        options[name.lower()] = value.strip('"')
        if name.lower().startswith("valid-"):
            _seconds(options[name.lower()])
    return options


def parse_revoked(text):
    # type: (str) -> set[PublicKey]
    """Read a list of revoked public keys, one a line, as `ssh-keygen -Y verify -r` takes it.

    :raises BadKeyError: a line is none; the message has its number.
    """
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                found.add(parse_key(line))
            except BadKeyError as error:
                raise BadKeyError("line {}: {}".format(number, error))  # noqa: B904 - Python 2 parses this
    return found


class Rules:
    """What a signature must fulfil."""

    def __init__(self, signers, revoked, name, not_older_than):
        # type: (list[Signer], set[PublicKey], str, str) -> None
        """Set the rules.

        :param signers: keys that are allowed.
        :param revoked: keys that are not, whatever the signers say.
        :param name: of the bundle that was asked for; empty: any.
        :param not_older_than: a counter (`17`), a date or a time in UTC (`2026-11-21T03:00:00Z`).
        :raises BadKeyError: `not_older_than` is none of these.
        """
        if not_older_than and not (
            _COUNTER.fullmatch(not_older_than) or _parts(_DATE.fullmatch(not_older_than))
        ):
            cause = "{!r} is no counter (17), date (2026-11-21) or time in UTC (2026-11-21T03:00:00Z)"
            raise BadKeyError(cause.format(not_older_than))
        self.signers = signers
        self.revoked = revoked
        self.name = name
        self.not_older_than = not_older_than

    def admit(self, key):
        # type: (PublicKey) -> None
        """Require that a key is allowed now.

        :raises RefusedError: it is unknown, revoked, expired, or allowed for something else.
        """
        if key in self.revoked:
            raise RefusedError("EB612", "its key {} is revoked".format(key.fingerprint()))
        lines = [one for one in self.signers if one.key == key]
        if not lines:
            raise RefusedError("EB612", "its key {} is not among those allowed".format(key.fingerprint()))
        reasons = [one.refuses(time.time()) for one in lines]
        if all(reasons):
            raise RefusedError("EB612", reasons[0])


def read_rules(keys, allowed_signers, revoked, name, not_older_than):
    # type: (Any, Any, Any, str, str) -> Rules | None
    """Read what a signature must fulfil; `None` where nobody asks for one.

    :param keys: texts of public keys.
    :param allowed_signers: paths of files as ssh-keygen(1) describes them.
    :param revoked: paths of files with public keys.
    :raises BadKeyError: a key or a file of them is none; the message says which.
    """
    if not (keys or allowed_signers):
        if revoked or name or not_older_than:
            raise BadKeyError("--allowed-signers or --key must say whose signature counts")
        return None
    source = "--key"
    try:
        signers = [Signer(parse_key(key), {}) for key in keys]
        for source in allowed_signers:
            signers += parse_signers(read_file(str(source), 0).decode("utf-8", "replace"))
        not_allowed = set()  # type: set[PublicKey]
        for source in revoked:
            not_allowed |= parse_revoked(read_file(str(source), 0).decode("utf-8", "replace"))
        source = "--not-older-than"
        return Rules(signers, not_allowed, name, not_older_than)
    except BadKeyError as error:
        raise BadKeyError("{}: {}".format(source, error))  # noqa: B904 - Python 2 parses this


def check_signatures(manifest, folder, rules):
    # type: (bytes, str, Rules) -> list[tuple[str, str, str]]
    """Return what is wrong with the signatures of a manifest, as (code, subject, cause); empty: nothing.

    :param manifest: the bytes of manifest.json.
    :param folder: where its signatures stand.
    """
    statements = []  # type: list[dict[str, Any] | None]
    problems = []  # type: list[tuple[str, str, str]]
    for name in _names(folder):
        try:
            statements.append(_signed(manifest, folder, name, rules))
        except RefusedError as error:  # noqa: PERF203 - each file by itself
            problems.append((error.code, name, error.cause))
    if not statements:
        return problems or [("EB611", "manifest.json", "no signature of it stands in {}".format(folder))]
    if not (rules.name or rules.not_older_than):
        return []
    told = [_told(one) for one in statements if one is not None]
    if not told:
        cause = "it is signed, and no statement that is signed says its name and when that was"
        return [("EB613", "manifest.json", cause)]
    if rules.name and rules.name not in [name for name, _, _ in told]:
        cause = "the bundle that was asked for is {!r}, this one is signed as {!r}".format(
            rules.name, told[0][0]
        )
        return [("EB613", rules.name, cause)]
    mine = [one for one in told if rules.name in ("", one[0])]
    return _older(mine, rules.not_older_than)


def _older(told, wanted):
    # type: (list[tuple[str, int, str]], str) -> list[tuple[str, str, str]]
    if not wanted:
        return []
    counter, when = max(one[1] for one in told), max(one[2] for one in told)
    # Both kinds of time have one form, so that their order is that of their text.
    if counter >= int(wanted) if wanted.isdigit() else when >= wanted:
        return []
    cause = "it must not be older than {}; it is number {}, signed at {}".format(wanted, counter, when)
    return [("EB614", told[0][0], cause)]


def counter_beside(folder):
    # type: (str) -> int
    """Return the counter that the statement in a folder says, whoever has signed it; -1: none."""
    try:
        return _told(dict(parse_json(read_file(os.path.join(folder, STATEMENT)))))[1]
    except (BadKeyError, ValueError, TypeError):
        return -1


def counter_signed(manifest, folder, rules):
    # type: (bytes, str, Rules) -> int
    """Return the highest counter of the statements that are signed and say the name; -1: none."""
    counter = -1
    for name in _names(folder):
        try:
            statement = _signed(manifest, folder, name, rules)
        except RefusedError:
            continue
        said = _told(statement or {})
        if rules.name in ("", said[0]):
            counter = max(counter, said[1])
    return counter


def unsigned_statement(manifest, folder, rules):
    # type: (bytes, str, Rules) -> str
    """Return why nothing vouches for a folder's `statement.json`; empty: something does, or it has none."""
    path = os.path.join(folder, STATEMENT)
    cause = refusal(manifest, folder, STATEMENT_SIGNATURE, rules) if os.path.lexists(path) else ""
    for name in _names(folder) if cause else []:
        try:
            payload = read_file(path)
            if name.endswith(DSSE_ENDING) and _dsse(read_file(os.path.join(folder, name)), rules) == payload:
                return ""
        except (BadKeyError, RefusedError):  # noqa: PERF203 - each file by itself
            continue
    return cause


def _names(folder):
    # type: (str) -> list[str]
    try:
        present = os.listdir(folder)
    except OSError:
        return []
    names = [name for name in (MANIFEST_SIGNATURE, STATEMENT_SIGNATURE) if name in present]
    return names + sorted(name for name in present if name.endswith(DSSE_ENDING))[:MOST]


def read_file(path, links=os.O_NOFOLLOW):
    # type: (str, int) -> bytes
    """Read a file of signatures or keys.

    :param links: 0 where the caller has named it, and it may be a symlink.
    :raises BadKeyError: it cannot be read, is no ordinary file, or too large.
    """
    try:
        return read_regular(path, LIMIT, links)
    except OSError as error:
        raise BadKeyError("it cannot be read: {}".format(error.strerror))  # noqa: B904 - Python 2 parses this
    except TooLargeError as error:
        raise BadKeyError("it {}".format(error))  # noqa: B904 - Python 2 parses this


def refusal(manifest, folder, name, rules):
    # type: (bytes, str, str, Rules) -> str
    """Return why one file of signatures proves nothing; empty where it does."""
    try:
        _signed(manifest, folder, name, rules)
    except RefusedError as error:
        return error.cause
    return ""


def says_name(manifest, folder, name, rules):
    # type: (bytes, str, str, Rules) -> bool
    """Tell whether one file of signatures holds, and says the name that was asked for."""
    try:
        statement = _signed(manifest, folder, name, rules)
    except RefusedError:
        return False
    return statement is not None and _told(statement)[0] == rules.name


def _signed(manifest, folder, name, rules):
    # type: (bytes, str, str, Rules) -> dict[str, Any] | None
    """Return the statement that a signature vouches for, `None` where it vouches for the manifest alone.

    :raises RefusedError: it is damaged, does not fit, or is of a key that is not allowed.
    """
    try:
        return _vouched(manifest, folder, name, rules)
    except BadKeyError as error:
        raise RefusedError("EB611", "is damaged: {}".format(error))  # noqa: B904 - Python 2 parses this


def _vouched(manifest, folder, name, rules):
    # type: (bytes, str, str, Rules) -> dict[str, Any] | None
    data = read_file(os.path.join(folder, name))
    if name == MANIFEST_SIGNATURE:
        _ssh(data, manifest, rules)
        return None
    if name == STATEMENT_SIGNATURE:
        payload = read_file(os.path.join(folder, STATEMENT))
        _ssh(data, payload, rules)
    else:
        payload = _dsse(data, rules)
    return _about(manifest, payload)


def _ssh(data, message, rules):
    # type: (bytes, bytes, Rules) -> None
    """Require an SSH signature over the message, of a key that is allowed."""
    armour = _ARMOUR.fullmatch(data.decode("ascii", "replace"))
    if armour is None:
        raise BadKeyError("it is no SSH signature")
    wire = Wire(_base64("".join(armour.group(1).split())))
    if wire.take(6) != b"SSHSIG" or wire.number() != 1:
        raise BadKeyError("it is no SSH signature of version 1")
    key, namespace, reserved = PublicKey(wire.string()), wire.string(), wire.string()
    algorithm, blob = wire.string(), wire.string()
    wire.end()
    if namespace != NAMESPACE.encode("ascii"):
        raise RefusedError(
            "EB612", "is made for the namespace {!r}".format(namespace.decode("utf-8", "replace"))
        )
    if algorithm not in (b"sha256", b"sha512"):
        raise BadKeyError("its hash is not known here")
    digest = hashlib.new(algorithm.decode("ascii"), message).digest()
    signed = (
        b"SSHSIG"
        + wire_string(namespace)
        + wire_string(reserved)
        + wire_string(algorithm)
        + wire_string(digest)
    )
    rules.admit(key)
    if not key.verify_ssh(blob, signed):
        raise RefusedError("EB611", "does not fit: what it signs was changed, or it is of something else")


def _dsse(data, rules):
    # type: (bytes, Rules) -> bytes
    """Return the payload of a Sigstore bundle that a key which is allowed has signed."""
    try:
        envelope = parse_json(data)["dsseEnvelope"]
        payload, kind = _base64(envelope["payload"]), str(envelope["payloadType"])
        signatures = [_base64(one["sig"]) for one in envelope["signatures"][:MOST]]
    except (ValueError, KeyError, TypeError):
        raise BadKeyError("it holds no DSSE envelope")  # noqa: B904 - Python 2 parses this
    if kind != PAYLOAD_TYPE:
        raise BadKeyError("its payload is of the type {!r}".format(kind))
    message = pae(kind, payload)
    for signer in rules.signers:
        for signature in signatures:
            try:
                fits = signer.key.verify_plain(signature, message)
            except BadKeyError:
                fits = False
            if fits:
                rules.admit(signer.key)
                return payload
    raise RefusedError("EB612", "is not signed by a key that is allowed, or was changed")


def pae(kind, payload):
    # type: (str, bytes) -> bytes
    """Return the bytes that a DSSE signature is over: its pre-authentication encoding."""
    head = "DSSEv1 {} {} {} ".format(len(kind), kind, len(payload))
    return head.encode("ascii") + payload


def _base64(text):
    # type: (str) -> bytes
    """Decode either alphabet, as the DSSE specification asks."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, AttributeError):
        raise BadKeyError("its base64 is damaged")  # noqa: B904 - Python 2 parses this


def _about(manifest, payload):
    # type: (bytes, bytes) -> dict[str, Any]
    """Return a signed statement, if it is about this manifest."""
    try:
        statement = parse_json(payload)
        digests = [one["digest"]["sha256"] for one in statement["subject"]]
        kind = str(statement["_type"])
    except (ValueError, KeyError, TypeError):
        raise BadKeyError("it holds no in-toto statement")  # noqa: B904 - Python 2 parses this
    if not kind.startswith("https://in-toto.io/Statement/"):
        raise BadKeyError("it holds no in-toto statement")
    if hashlib.sha256(manifest).hexdigest() not in digests:
        raise RefusedError("EB611", "is about another manifest than this one")
    return dict(statement)


def _told(statement):
    # type: (dict[str, Any]) -> tuple[str, int, str]
    """Return name, counter and time of a statement; where it does not say them: nothing, -1, nothing."""
    predicate = statement.get("predicate")
    definition = predicate.get("buildDefinition") if isinstance(predicate, dict) else None
    inside = definition.get("internalParameters") if isinstance(definition, dict) else None
    said = inside if isinstance(inside, dict) else {}
    name, counter, when = said.get(NAME_FIELD), said.get(COUNTER_FIELD), said.get(TIME_FIELD)
    return (
        name if isinstance(name, str) else "",
        counter if type(counter) is int else -1,
        when if isinstance(when, str) and _DATE.fullmatch(when) else "",
    )
