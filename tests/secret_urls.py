"""URLs with a secret in them, of every backend, at every place where people put one; for tests of what is printed."""

from __future__ import annotations

from typing import Final, NamedTuple

from hypothesis import strategies as st

SCHEMES: Final = (
    *("dynamodb", "elsewhere", "grpc", "http", "https", "memory", "otlp", "otlp+http", "otlps", "postgresql"),
    *("postgresql+psycopg", "s3", "sqlite"),
)
HOST: Final = "127.0.0.1:1"  # where nobody listens
PLACES: Final = (
    "{scheme}://ann:{secret}@{host}/name",
    "{scheme}://ann:{secret}@{host}/name?region=eu-west-1",
    "{scheme}://:{secret}@{host}/name",
    "{scheme}:/ann:{secret}@{host}/name",
    "{scheme}:ann:{secret}@{host}",
    "ann:{secret}@{host}/name",
    "{scheme}://{host}/name?password={secret}",
    "{scheme}://{host}/name?region=eu-west-1&Secret_Key={secret}",
    "{scheme}://{host}/name?token={secret}&timeout=2",
    "{scheme}://{host}/name?sig={secret}",
    "{scheme}://{host}/name#token={secret}",
    "{scheme}://name?endpoint_url=http://ann:{secret}@{host}",
    "{scheme}://name?endpoint_url=http://{host}?token={secret}",
)
# What follows an @ in these is a host, whoever wrote it.
WITHOUT_HOST: Final = (
    "{scheme}://ann:{secret}",
    "{scheme}://ann:{secret}/name?timeout=2",
    "{scheme}://{host}/name?{secret}",
    "ann:{secret}",
)
# A user of PostgreSQL is a name.
OF_TOKENS: Final = ("{scheme}://{secret}@{host}/name", "{scheme}://{secret}:x@{host}/name")
OF_PATHS: Final = "{scheme}:///ann:{secret}@{host}/name"  # but a file may have this name


class Secret(NamedTuple):
    """A secret of two parts that appear nowhere else, joined by what has a meaning in URLs."""

    first: str
    joint: str
    second: str

    def parts_in(self, text: str) -> list[str]:
        """Return the parts of it that a text tells."""
        return [part for part in (self.first, self.second) if part in text]


def _url(template: str, scheme: str, secret: Secret) -> tuple[str, Secret]:
    return template.format(scheme=scheme, host=HOST, secret="".join(secret)), secret


_letters: Final = st.text("qxzjkvw", min_size=5, max_size=7)


def secrets(joints: str) -> st.SearchStrategy[Secret]:
    """Return secrets joined by one or two of these characters, or by none."""
    return st.builds(Secret, _letters.map("1{}".format), st.text(joints, max_size=2), _letters.map("2{}".format))


def secret_urls(*, spaces: bool = True) -> st.SearchStrategy[tuple[str, Secret]]:
    """Return URLs and the secrets in them."""
    joints = "/+:?#&;=%$!*,.~^|" + (" '\"" if spaces else "")
    joined = secrets(f"@{joints}")
    tokens = st.sampled_from([scheme for scheme in SCHEMES if not scheme.startswith("postgresql")])
    paths = st.sampled_from([scheme for scheme in SCHEMES if scheme != "sqlite"])
    return st.one_of(
        st.builds(_url, st.sampled_from(PLACES), st.sampled_from(SCHEMES), joined),
        st.builds(_url, st.sampled_from(WITHOUT_HOST), st.sampled_from(SCHEMES), secrets(joints)),
        st.builds(_url, st.sampled_from(OF_TOKENS), tokens, secrets("+=%$!*,.~:@")),
        st.builds(_url, st.just(OF_PATHS), paths, joined),
    )
