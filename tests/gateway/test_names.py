"""The names that users ask for: the commonest, whatever else comes."""

from __future__ import annotations

from crossfade.gateway.names import AskedNames


def test_commonest_first_and_no_more_than_fit() -> None:
    """Ten are told; a machine that tries thousands of names does not fill the memory."""
    names = AskedNames()
    for _ in range(3):
        names.add(b"wiki.example.org")
    for number in range(5000):
        names.add(f"{number}.example.org".encode())
    names.add(b"x" * 300)
    names.add(b"")
    names.add(b"wiki.example.org:8000")
    names.add(b"0.example.org")
    told = names.commonest()
    assert told[:2] == ["wiki.example.org", "0.example.org"]
    assert len(told) == 10
    assert len(names) == 200
