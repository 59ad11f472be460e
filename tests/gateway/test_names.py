"""The names that users ask for: the commonest, whatever else comes."""

from __future__ import annotations

from crossfade.gateway.names import AskedNames


def test_commonest_first_and_no_strangers() -> None:
    """What one request in twenty asks for is told; machines that try thousands of names are not,
    nor do they fill the memory; what is no name is not counted."""
    names = AskedNames()
    for number in range(5000):
        names.add(f"{number}.example.org".encode())
    assert names.commonest() == []
    assert len(names) == 200
    names = AskedNames()
    for number in range(100):
        names.add(b"wiki.example.org")
        names.add(b"[2001:db8::1]:8000")
        names.add(f"{number}.example.org".encode())
        names.add(b"wiki.example.org")
        for strange in (b"", b"x" * 300, b"a b", b"a\r\nb", b"w\xc3\xaf", b"a/b"):
            names.add(strange)
    assert names.commonest() == ["wiki.example.org", "[2001:db8::1]:8000"]
