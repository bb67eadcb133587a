"""A page of a listing, read by ourselves.

botocore walks each of a thousand objects by its shape, and parses its time as any text that may be one: three quarters
of the CPU of a listing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

_PAGE: Final = "agent_journal_page"  # of an answer


class Item(NamedTuple):
    """An object as a listing shows it."""

    name: str
    size_bytes: int
    modified_s: float


class Page(NamedTuple):
    """Objects in order of their names, and whether there are more."""

    items: list[Item]
    is_cut: bool


def read_ourselves(client: Any) -> None:
    """Have the pages of a client's listings in its answers, read by us."""
    client.meta.events.register_first("before-parse.s3.ListObjectsV2", _keep_page)


def page_of(answer: Mapping[str, Any]) -> Page:
    """Return the page that a listing was answered with."""
    if _PAGE in answer:
        return answer[_PAGE]
    objects = answer.get("Contents", ())
    items = [Item(one["Key"], one["Size"], one["LastModified"].timestamp()) for one in objects]
    return Page(items, bool(answer["IsTruncated"]))


def _keep_page(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    page = _read(response_dict["body"]) if response_dict["status_code"] < 300 else None
    if page is not None:  # errors are botocore's to read
        customized_response_dict[_PAGE] = page
        response_dict["body"] = b"<ListBucketResult/>"


def _read(body: bytes) -> Page | None:
    try:
        root = ET.fromstring(body)  # noqa: S314 - of the server that has all else, too, as botocore reads it
    except ET.ParseError:
        return None
    within, _, kind = root.tag.rpartition("}")
    if kind != "ListBucketResult":
        return None
    name, size, modified = (f"{within}}}{one}" if within else one for one in ("Key", "Size", "LastModified"))
    said = {one.tag.rpartition("}")[2]: one.text for one in root if not len(one)}
    plain = unquote_plus if said.get("EncodingType") == "url" else str
    items = [
        Item(
            plain(one.findtext(name, "")),
            int(one.findtext(size, "0")),
            datetime.fromisoformat(one.findtext(modified, "")).timestamp(),
        )
        for one in root
        if one.tag.endswith("Contents")
    ]
    return Page(items, said.get("IsTruncated") == "true")
