"""URLs as they may be printed: no secret is in them. Pure.

A secret stands where it belongs, as in `postgresql://user:SECRET@host`, where there is no place for it, as in
`s3://KEY:SECRET@bucket`, and in URLs that are mistyped or hold what should have been escaped. So what is known to be
harmless is shown, and all else is `***`: what is hidden needlessly does no harm. Every error of the package masks the
URLs in its message (`errors`), and so does every line on stderr (`terminal`); a whole URL goes through `masked`, which
knows where it ends. Where credentials belong is each store's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

HIDDEN: Final = "***"

# Options whose values are shown: those of our own stores, and those of libpq that are neither passwords nor keys.
_OF_STORES: Final = "bucket endpoint_url kms profile region s3_endpoint_url s3_kms schema synchronous timeout ttl_days"
_OF_LIBPQ: Final = """
application_name channel_binding client_encoding connect_timeout dbname fallback_application_name gssencmode gsslib host
hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts
max_protocol_version min_protocol_version port replication require_auth requirepeer service sslcert sslcompression
sslcrl sslcrldir ssl_max_protocol_version ssl_min_protocol_version sslmode sslnegotiation sslrootcert sslsni
target_session_attrs tcp_user_timeout user
"""
_OF_SINKS: Final = "aggregate from"
_HARMLESS: Final = frozenset(f"{_OF_STORES} {_OF_LIBPQ} {_OF_SINKS}".split())
_WITHOUT_PORT: Final = ("dynamodb", "firehose", "kinesis", "memory", "s3", "sqlite")
_WITH_USER: Final = ("postgresql",)  # where a user is a name that may be shown; elsewhere it may be a token

_SCHEME: Final = re.compile(r"[a-z][a-z0-9.-]*(\+[a-z0-9.-]+)?", re.IGNORECASE)
_END_OF_AUTHORITY: Final = re.compile(r"[/?#]")
_NAME: Final = re.compile(r"[a-z_][\w.-]*", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[\w.,:/@+\[\]-]*", re.ASCII)
_USER: Final = re.compile(r"[\w.@%+-]*", re.ASCII)
_ADDRESS: Final = re.compile(r"\[[0-9a-f:.]*\]", re.IGNORECASE)  # of IPv6
_NO_PORT: Final = re.compile(r":(?!\d{1,5}(?:,|$))")
_OPTION: Final = re.compile(r"([?&;#])([^=&;?#@/]*)=([^&;?#]*)")
_BEGIN_OF_OPTIONS: Final = re.compile(r"\?|[&;#][^=&;?#@/]*=")
_SECRET_NAME: Final = re.compile(r"passw|pwd|secret|token|access_?key|api_?key|credential", re.IGNORECASE)
# As people name arguments, metadata and attributes.
_SECRET_WORD: Final = re.compile(
    r"passw|pwd|secret|token|(access|api|private|signing)[-_. ]?key|credential|authorization|bearer|cookie",
    re.IGNORECASE,
)
_COUNT_WORD: Final = re.compile(r"tokens|max_token", re.IGNORECASE)  # of a model's parameters
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_AFTER_URL: Final = ")].,;:'\"»"  # what stands after a URL in a sentence


def masked(url: str) -> str:
    """Return a URL, or what was given for one, as it may be printed. Masking it again changes nothing."""
    scheme, found, rest = url.partition("://")
    if not found:
        return _not_a_url(url)
    shown = scheme if _SCHEME.fullmatch(scheme) else HIDDEN
    kind = scheme.lower().partition("+")[0]
    if "@" in rest and _has_user(kind, rest):
        return f"{shown}://{_without_user(kind, rest)}"
    name, mark, _ = _authority(rest).partition(":")
    if mark and _is_no_host(kind, rest):
        return f"{shown}://{_options(name)}:{HIDDEN}{_options(_query(rest))}"  # a path may be the rest of a password
    return f"{shown}://{_options(rest)}"


def named_place(url: str, place: str) -> str:
    """Return where a URL leads, as a file may be named for it: its scheme alone where its host seems mistyped.

    What is taken for a host may be the rest of a password then, and so may what stands behind an @ in a fragment.
    """
    scheme, _, rest = url.partition("://")
    kind = scheme.lower().partition("+")[0]
    is_mistyped = kind not in _WITH_USER and "@" in rest.partition("#")[2]
    is_mistyped = is_mistyped or _is_no_host(kind, rest.rpartition("@")[2])
    return _options(scheme) if is_mistyped else masked(place)


def is_secret_name(name: str) -> bool:
    """Tell whether what stands under a name seems to be a secret."""
    return _SECRET_WORD.search(name) is not None


@lru_cache(maxsize=512)
def is_secret_parameter(name: str) -> bool:
    """Tell whether a model's parameter seems to be a secret, or to have one; `max_tokens` and its like do not."""
    return name.endswith("headers") or (is_secret_name(name) and _COUNT_WORD.search(name) is None)


def masked_within(text: str) -> str:
    """Return a text with every URL in it masked."""
    return _URL.sub(_masked_match, text) if "://" in text else text


def has_credentials(url: str) -> bool:
    """Tell whether a URL names a user, a password or a token, or seems to; for kinds of URL that have none."""
    scheme, _, rest = url.partition("://")
    kind = scheme.lower().partition("+")[0]
    if _has_user(kind, rest) if "@" in rest else _is_no_host(kind, rest):
        return True
    options = _OPTION.findall(rest)
    return any(_SECRET_NAME.search(name) or ("://" in value and "@" in value) for _, name, value in options)


def masked_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line's arguments as they may be kept: values of secret options hidden, URLs masked."""
    shown: list[str] = []
    hides = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hides and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif equals and is_secret_name(name) and "://" not in name:
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(masked_within(argument))
        hides = argument.startswith("-") and not equals and is_secret_name(argument)
    return shown


def is_option(name: str, value: str) -> bool:
    """Tell whether these seem to be an option's name and value, and the name no secret that stands alone."""
    return _NAME.fullmatch(name) is not None and (value.strip("=") != "" or name.lower() in _HARMLESS)


def no_url(what: str, given: str) -> str:
    """Return the message for something that should have been a store's URL, and is none."""
    shown = masked(given)
    file = given if given and shown == given else "journal.db"
    return f"{what} is '{shown}', which is not a URL; a file is named as sqlite:///{file}"


def _masked_match(match: re.Match[str]) -> str:
    url = match[0].rstrip(_AFTER_URL)
    return masked(url) + match[0][len(url) :]


def _authority(rest: str) -> str:
    return _END_OF_AUTHORITY.split(rest, maxsplit=1)[0]


def _has_user(kind: str, rest: str) -> bool:
    """Tell whether what follows a scheme and has an @ names a user, or seems to."""
    place, _, query = rest.partition("?")
    option = query.partition("=")[0]
    return (
        "@" in _authority(rest)
        or _is_no_host(kind, rest)
        or ("@" in place and not _is_name(kind, place))
        or "@" in option
        or ("@" in query and _NAME.fullmatch(option) is None)  # a password that holds a question mark
    )


def _is_name(kind: str, place: str) -> bool:
    """Tell whether a path is a file's name, or the prefix of a bucket's keys, which may hold an @."""
    return place.startswith("/") if kind == "sqlite" else kind == "s3" and not place.startswith("/")


def _is_no_host(kind: str, rest: str) -> bool:
    """Tell whether what should be a host has a colon, and no port after it."""
    authority = _ADDRESS.sub("", _authority(rest))
    return ":" in authority if kind in _WITHOUT_PORT else _NO_PORT.search(authority) is not None


def _without_user(kind: str, rest: str) -> str:
    """Return what follows a scheme with its user hidden. A password may hold anything: it ends at the last @."""
    login, _, place = rest.rpartition("@")
    user, has_password, _ = login.partition(":")
    name = HIDDEN
    if kind in _WITH_USER and _USER.fullmatch(user) and (has_password or "@" not in user):
        name = f"{user}:{HIDDEN}" if has_password else user
    if _OPTION.search(login):
        return f"{name}@{HIDDEN}"  # the last @ may be one of an option, and what follows the end of a secret
    if ":" in place and _is_no_host(kind, place):
        host = place.partition(":")[0]
        return f"{name}@{_options(host)}:{HIDDEN}{_options(_query(place))}"
    return f"{name}@{_options(place)}"


def _not_a_url(text: str) -> str:
    before, mark, after = text.rpartition("@")
    if mark:
        return f"{HIDDEN}@{HIDDEN if _OPTION.search(before) else _options(after)}"
    name, mark, rest = text.partition(":")
    if mark and (name.lower() not in ("memory", "sqlite") or ":" in rest):
        return f"{_options(name)}:{HIDDEN}" if rest else text
    return _options(text)


def _query(rest: str) -> str:
    _, mark, query = rest.partition("?")
    return mark + query


def _options(rest: str) -> str:
    """Return a place and options with the values of those hidden that are not known to be harmless."""
    begin = _BEGIN_OF_OPTIONS.search(rest)
    at = len(rest) if begin is None else begin.start()
    pieces = re.split(r"([?&;#])", rest[at:])
    pieces[::2] = map(_option, pieces[::2])
    return rest[:at] + "".join(pieces)


def _option(text: str) -> str:
    name, mark, value = text.partition("=")
    if text in ("", HIDDEN):
        return text
    if not mark or not is_option(name, value):
        return HIDDEN
    if name.lower() not in _HARMLESS:
        return f"{name}={HIDDEN}"
    if "://" in value:
        return f"{name}={masked(value)}"
    return f"{name}={value if _PLAIN.fullmatch(value) else HIDDEN}"
