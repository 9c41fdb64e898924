"""Pages that run their own script and no other, and tables of plain text."""

import base64
import hashlib
import re

import pytest

from paratime.io.html import STYLE, aligned, document, escaped


@pytest.mark.parametrize(
    "value, expected",
    [
        ("a < b & 'c' > \"d\"", "a &lt; b &amp; &#x27;c&#x27; &gt; &quot;d&quot;"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\x00\x1b\x7f\ud800\uffff", 5 * "\ufffd"),
        ("größer \U0001f600", "größer \U0001f600"),
        (3, "3"),
    ],
)
def test_what_a_page_may_not_hold_is_escaped(value, expected):
    assert escaped(value) == expected


def test_a_page_allows_its_own_style_and_script_alone():
    page = document("<title>", "<p>body {}</p>", style="p { margin: 0; }", script="let x = '{}';")
    assert "<title>&lt;title&gt;</title>" in page and "<p>body {}</p>" in page
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*)"', page)
    for tag, source in (("style", STYLE + "p { margin: 0; }"), ("script", "let x = '{}';")):
        assert f"<{tag}>{source}</{tag}>" in page
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "<script" not in document("no script", "")


def test_columns_are_aligned():
    found = aligned([["name", "x", "long title"], ["a", "10", ""], ["long name", "2", "3"]])
    assert found.splitlines() == [
        "name        x  long title",
        "a          10",
        "long name   2           3",
    ]
