"""Secrets in outputs: none survives, nothing else is touched, and no byte moves, however it is cut."""

import itertools
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hamgr.logs.masking import PART_BYTES_MAX, SECRETS_MAX, Mask, MaskedStream

LETTERS = st.binary(max_size=40).map(lambda raw: bytes(b"ab*\n"[byte % 4] for byte in raw))
SECRETS = st.lists(
    st.binary(min_size=4, max_size=7).map(lambda raw: bytes(b"ab"[byte % 2] for byte in raw)),
    min_size=1,
    max_size=4,
)


def covered(data: bytes, secrets: list[bytes]) -> bytes:
    """Mask the slow and plain way: each byte of each occurrence."""
    places = {
        place + index
        for secret in secrets
        for place in range(len(data) - len(secret) + 1)
        if data[place : place + len(secret)] == secret
        for index in range(len(secret))
    }
    return bytes(ord("*") if place in places else byte for place, byte in enumerate(data))


@settings(deadline=None)
@given(data=LETTERS, secrets=SECRETS)
def test_each_byte_of_each_secret_becomes_a_star_and_no_other(data: bytes, secrets: list[bytes]) -> None:
    masked = Mask(secrets).apply(data)
    assert masked == covered(data, secrets)


@settings(deadline=None)
@given(data=LETTERS, secrets=SECRETS, cuts=st.lists(st.integers(0, 40), max_size=8))
@example(data=b"aaaabbbbab", secrets=[b"aaaa", b"aabbb"], cuts=[4])
@example(data=b"abababab", secrets=[b"abab"], cuts=[1, 2, 3, 4, 5, 6, 7])
def test_how_an_output_is_cut_changes_nothing(data: bytes, secrets: list[bytes], cuts: list[int]) -> None:
    stream = MaskedStream(Mask(secrets))
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    given_out = b""
    for since, until in itertools.pairwise(borders):
        given_out += stream.feed(data[since:until])
        assert covered(data, secrets).startswith(given_out)
        assert len(given_out) > until - max(map(len, secrets)), "more is held back than needed"
    assert given_out + stream.end() == covered(data, secrets)


@settings(deadline=None)
@given(data=LETTERS, secrets=SECRETS, since=st.integers(0, 40), until=st.integers(0, 40))
def test_an_excerpt_shows_nothing_of_a_secret_that_its_borders_cut(
    data: bytes, secrets: list[bytes], since: int, until: int
) -> None:
    piece = data[since:until]
    shown = Mask(secrets).excerpt(piece, cut_before=True, cut_after=True)
    assert len(shown) == len(piece)
    for ours, whole in zip(shown, covered(data, secrets)[since:until], strict=True):
        assert ours == ord("*") or ours == whole


def test_each_line_of_a_secret_is_one_and_short_ones_are_none() -> None:
    mask = Mask(["-----BEGIN\r\nabcdef\nxyz\n-----END", "pin"])
    assert mask.apply(b"abcdef|xyz|pin|-----BEGIN") == b"******|xyz|pin|**********"
    assert not Mask(["abc", ""])
    assert Mask(["abc", ""]).apply(b"abc") == b"abc"


def test_a_long_secret_is_hidden_to_its_end_and_holds_little_back() -> None:
    secret = bytes(97 + index % 26 for index in range(3 * PART_BYTES_MAX + 100))
    mask = Mask([secret])
    assert mask.margin_bytes < PART_BYTES_MAX
    assert mask.apply(b"<" + secret + b">") == b"<" + b"*" * len(secret) + b">"


def test_of_too_many_secrets_the_longest_are_hidden() -> None:
    mask = Mask([f"{number:05}" for number in range(SECRETS_MAX)] + ["a long secret"])
    assert mask.apply(b"a long secret") == b"*" * 13


def test_text_keeps_its_length_in_bytes() -> None:
    masked = Mask(["h\u00e9llo"]).text("say h\u00e9llo, w\u00f6rld")
    assert masked == "say ******, w\u00f6rld"
    assert not re.search("llo", masked)
