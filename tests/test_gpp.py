"""GPP strings agree with the official library bit for bit, survive hostile input, and say what was decided."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consentmw import gpp
from consentmw.choice import Choice
from consentmw.decision import Decision, closed, decide
from consentmw.errors import ConsentError, GppError
from consentmw.gpp.bits import HIGHEST_ID, fibonacci, from_text, header, read_header, to_text
from consentmw.purposes import Catalogue
from consentmw.regions import Regions

TESTS = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((TESTS / "data" / "gpp_vectors.json").read_text("utf-8"))
NAMED = {vector["name"]: vector for vector in VECTORS["vectors"]}

#: sections that are numbers of two bits throughout, and so can be made up at random
SECTIONS = [
    *("usnat", "usca", "usva", "usco", "usut", "usct", "usfl", "usmt", "usor", "ustx", "usde"),
    *("usia", "usne", "usnh", "usnj", "ustn", "usmn", "usmd", "usin", "usky", "usri"),
]


@cache
def template(section: str, version: int | None = None) -> dict[str, Any]:
    """Every field of a section with the value for nothing said."""
    name = "MspaVersion" if section in {"usmd", "usin", "usky", "usri"} else "Version"
    text = gpp.encode({section: {} if version is None else {name: version}})
    return dict(gpp.decode(text)[section])


def made_up(rng: random.Random, section: str) -> dict[str, Any]:
    """A section with any values that mean something."""
    fields = dict(template(section, rng.choice((1, 2)) if section == "usnat" else None))
    for name, value in fields.items():
        if isinstance(value, bool):
            fields[name] = rng.random() < 0.5
        elif isinstance(value, list):
            fields[name] = [rng.randrange(3) for _ in value]
        elif not name.endswith(("Version", "SegmentType")):
            fields[name] = rng.randrange(1 if name == "MspaCoveredTransaction" else 0, 3)
    for flag, said in (
        ("GpcSegmentIncluded", "Gpc"),
        ("SensitiveDataConsentSegmentIncluded", "SensitiveDataProcessing"),
    ):
        if fields.get(flag) is False:
            fields[said] = template(section)[said]
    return fields


def made_up_string(rng: random.Random) -> dict[str, dict[str, Any]]:
    sections = {section: made_up(rng, section) for section in rng.sample(SECTIONS, rng.randrange(len(SECTIONS) + 1))}
    if rng.random() < 0.3:
        letters = {name: rng.choice("YN-") for name in ("Notice", "OptOutSale", "LspaCovered")}
        sections["uspv1"] = {"Version": 1, **letters}
    return sections


#: what the round trips below are made of: every section alone and a few hundred mixtures
MADE_UP = [
    *({section: made_up(random.Random(f"{section}{number}"), section)} for section in SECTIONS for number in range(12)),
    *(made_up_string(random.Random(number)) for number in range(400)),
]


# -- the vectors --


@pytest.mark.parametrize("name", NAMED)
def test_a_vector_is_written_as_the_official_library_wrote_it(name: str) -> None:
    assert gpp.encode(NAMED[name]["set"]) == NAMED[name]["gpp"]


@pytest.mark.parametrize("name", NAMED)
def test_a_vector_is_read_as_the_official_library_reads_it(name: str) -> None:
    read = gpp.decode(NAMED[name]["gpp"])
    bare = {
        section: {field: value for field, value in fields.items() if not field.endswith("Included")}
        for section, fields in read.items()
    }
    assert bare == NAMED[name]["decoded"]
    assert gpp.encode(read) == NAMED[name]["gpp"]
    assert gpp.section_ids(NAMED[name]["gpp"]) == tuple(NAMED[name]["section_ids"])


@pytest.mark.parametrize(("number", "code"), VECTORS["fibonacci"])
def test_fibonacci_codes(number: int, code: str) -> None:
    assert fibonacci(number) == code


@pytest.mark.parametrize("vector", VECTORS["headers"], ids=lambda vector: str(vector["section_ids"]))
def test_headers(vector: dict[str, Any]) -> None:
    ids = vector["section_ids"]
    assert header(ids) == vector["encoded_by_library"]
    assert read_header(vector["encoded_by_library"], len(ids)) == ids
    assert from_text(vector["encoded_by_library"]) == vector["bits"]


@given(st.sets(st.integers(1, HIGHEST_ID), max_size=40))
def test_any_section_numbers_come_back_from_a_header(ids: set[int]) -> None:
    assert read_header(header(sorted(ids)), len(ids)) == sorted(ids)


# -- the official library itself --


@pytest.fixture(scope="module")
def library() -> dict[str, Any]:
    """What the official library makes of everything in MADE_UP, in one process."""
    home = Path(sys.prefix, "gpp_reference")
    module = home / "node_modules" / "@iabgpp" / "cmpapi" / "lib" / "mjs" / "index.js"
    node = shutil.which("node")
    assert node, "Node.js is needed to compare with the official library"
    assert module.exists(), "make test installs the official library; by hand: scripts/install-reference .venv gpp"
    installed = json.loads((home / "node_modules" / "@iabgpp" / "cmpapi" / "package.json").read_text("utf-8"))
    wanted = json.loads((TESTS / "gpp_reference" / "package.json").read_text("utf-8"))
    assert installed["version"] == wanted["dependencies"]["@iabgpp/cmpapi"]
    request = {
        "models": MADE_UP,
        "strings": [
            {"text": gpp.encode(sections), "fields": {name: list(fields) for name, fields in sections.items()}}
            for sections in MADE_UP
        ],
    }
    done = subprocess.run(
        [node, str(TESTS / "gpp_reference" / "reference.mjs"), str(module)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_we_write_what_the_official_library_writes(library: dict[str, Any]) -> None:
    for sections, text in zip(MADE_UP, library["models"], strict=True):
        assert gpp.encode(sections) == text, sections


def test_the_official_library_reads_what_we_meant(library: dict[str, Any]) -> None:
    for sections, read in zip(MADE_UP, library["strings"], strict=True):
        assert read["fields"] == sections
        assert tuple(read["ids"]) == gpp.section_ids(gpp.encode(sections))


def test_we_read_what_the_official_library_meant(library: dict[str, Any]) -> None:
    for sections, text in zip(MADE_UP, library["models"], strict=True):
        assert gpp.decode(text) == sections


# -- reading what others wrote --


@pytest.mark.parametrize("name", NAMED)
def test_both_ways_to_fill_up_characters_are_read(name: str) -> None:
    """Zeros up to a character (the specification), a byte (the library) or three bytes (older ones) say nothing."""
    vector = NAMED[name]
    parts = []
    for part in vector["gpp"].split("~"):
        plain = part.startswith("1")  # the US Privacy string has no bits
        parts.append(part if plain else ".".join(segment.rstrip("A") + "A" * 12 for segment in part.split(".")))
    assert gpp.decode("~".join(parts)) == gpp.decode(vector["gpp"])


def test_the_shortest_way_to_fill_up_is_read() -> None:
    """``DBABM`` is the specification's own example; the library writes ``DBABMA``."""
    assert gpp.section_ids("DBABM~CPXx") == (2,)
    assert gpp.decode("DBABCw~BVFAAAg.Y")["usia"] == gpp.decode("DBABCw~BVFAAAgA.YA")["usia"]


def test_the_national_section_is_read_in_both_versions() -> None:
    first = gpp.decode("DBABLA~BVVVVVVVVV")["usnat"]
    assert (first["Version"], len(first["SensitiveDataProcessing"])) == (1, 12)  # type: ignore[arg-type]
    second = gpp.decode("DBABLA~CVVVVVVVVVVU")["usnat"]
    assert (second["Version"], len(second["SensitiveDataProcessing"])) == (2, 16)  # type: ignore[arg-type]


def test_the_longer_lists_under_the_national_version_1_are_read_by_length() -> None:
    """The library wrote them so for a while; read as version 1 proper, the opt-out modes would be nonsense."""
    sent = gpp.encode({"usnat": {"SaleOptOut": 1, "KnownChildSensitiveDataConsents": [1, 2, 0]}})
    read = gpp.decode(sent.replace("~C", "~B"))["usnat"]
    assert (read["Version"], read["SaleOptOut"], read["KnownChildSensitiveDataConsents"]) == (1, 1, [1, 2, 0])
    assert read["MspaCoveredTransaction"] == 2


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param("DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA.YAAA", "2", id="TCF Europe"),
        pytest.param(f"{header([5, 6])}~BPXxRfAP~1YNN", "5", id="TCF Canada"),
        pytest.param(f"{header([99])}~anything.at-all_..", "99", id="a section of the future"),
        pytest.param(f"{header([65535])}~A", "65535", id="the highest number"),
        pytest.param("DBABCw~CVFAAAgA.YA", "18", id="a later version of a section we know"),
        pytest.param("DBABCw~BVFAAAgA.YA.YA", "18", id="another segment"),
        pytest.param("DBABCw~BVFAAAgAAAAB.YA", "18", id="fields that this version doesn't have"),
        pytest.param("DBABCw~BVFAAAgA.YAB", "18", id="more in the second segment"),
        pytest.param("DBABRg~BVoAACA.YA", "9", id="a second segment where we know of none"),
        pytest.param(f"{header([24])}~YBAA.BhWg", "24", id="Maryland as the published text has it"),
        pytest.param("DBABTA~2YNN", "6", id="another version of the US Privacy string"),
    ],
)
def test_a_section_we_cannot_read_is_passed_on_byte_for_byte(text: str, kept: str) -> None:
    read = gpp.decode(text)
    assert list(read[kept]) == ["Text"]
    assert gpp.encode(read) == text


def test_unread_sections_keep_their_place_among_others() -> None:
    text = gpp.encode({"usmn": {"SaleOptOut": 1}, "99": {"Text": "x"}, "2": {"Text": "CPXx"}, "uspv1": {"Notice": "Y"}})
    assert gpp.section_ids(text) == (2, 6, 23, 99)
    assert gpp.encode(gpp.decode(text)) == text


def test_values_without_a_meaning_are_reported_and_not_written() -> None:
    """Other writers send 3, or 0 where there is no 0. The rest of such a section is still an opt-out to respect."""
    read = gpp.decode("DBABCw~B__AAAAA.AA")["usia"]
    assert (read["ProcessingNotice"], read["MspaCoveredTransaction"], read["GpcSegmentType"]) == (3, 0, 0)
    with pytest.raises(GppError, match=r"usia\.ProcessingNotice: a number from 0 to 2, not 3"):
        gpp.encode({"usia": read})


# -- hostile input --


MALFORMED = {
    "nothing": "",
    "space": " ",
    "only a separator": "~",
    "a bare TCF string": "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA",
    "another type": "FBABCw~BVFAAAgA.YA",
    "another version": "DCABCw~BVFAAAgA.YA",
    "header cut short": "DBA",
    "header with half a number": "DBABA~BVFAAAgA",
    "header with a segment": "DBABCw.YA~BVFAAAgA.YA",
    "header with bits to spare": "DBABCwB~BVFAAAgA.YA",
    "more sections than named": "DBABCw~BVFAAAgA.YA~BVFAAAgA.YA",
    "fewer sections than named": "DBABCw",
    "a range of thousands": f"{to_text('000011000001000000000001' + '1' + '11' + fibonacci(60000))}~A",
    "a number with no end": "DBAB" + "A" * 4000 + "~A",
    "an empty section": "DBABCw~",
    "padding characters": "DBABCw==~BVFAAAgA.YA",
    "plain base64": "DBABCw~BV+/AAgA.YA",
    "a line break": "DBABCw~BVFAAAgA.YA\n",
    "a null character": "DBABCw~BVFAAAgA.Y\0",
    "letters of another script": "DBABСw~BVFAAAgA.YA",
    "digits of another script": "DBAB٣w~BVFAAAgA.YA",
    "a lone surrogate": "DBABCw~BVFAAAgA.\ud800",
    "too long": "DBABCw~" + "A" * 16_384,
}
#: a sound header, before sections that are not
MALFORMED_WITHIN = {
    "an empty segment": "DBABCw~BVFAAAgA.",
    "an empty core": "DBABCw~.YA",
    "a core cut short": "DBABCw~BVFA.YA",
    "a core one character short": "DBABLA~CVQqAAAAAAC",
}


@pytest.mark.parametrize("text", [*MALFORMED.values(), *MALFORMED_WITHIN.values()], ids=[*MALFORMED, *MALFORMED_WITHIN])
def test_malformed_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(GppError) as caught:
        gpp.decode(text)
    assert isinstance(caught.value, ConsentError)
    assert caught.value.where
    assert caught.value.expected
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_section_numbers_of_malformed_text_are_refused(text: str) -> None:
    with pytest.raises(GppError):
        gpp.section_ids(text)


@pytest.mark.parametrize("text", [None, 5, b"DBAA", ["DBAA"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(GppError):
        gpp.decode(text)


def means_nothing(fields: dict[str, Any]) -> bool:
    """Whether a section that was read holds a value that none may have, so that it can't be written."""
    numbers = [number for value in fields.values() for number in (value if isinstance(value, list) else [value])]
    longer = fields.get("Version") == 1 and len(fields.get("SensitiveDataProcessing", ())) == 16
    wrong = fields.get("MspaCoveredTransaction") == 0 or fields.get("GpcSegmentType", 1) != 1
    return 3 in numbers or wrong or longer


def unchanged_or_refused(text: str) -> None:
    """Either an error of ours, or fields that come back from what they are written as."""
    try:
        read = gpp.decode(text)
    except GppError:
        return
    if any(means_nothing(fields) for fields in read.values()):
        with pytest.raises(GppError):
            gpp.encode(read)
    else:
        assert gpp.decode(gpp.encode(read)) == read


@given(st.text(max_size=200))
@example("DBAA")
def test_random_text_raises_nothing_else(text: str) -> None:
    unchanged_or_refused(text)


@given(st.text("ABCDVYZabgw019-_.~", max_size=120))
def test_random_characters_of_the_right_kind_raise_nothing_else(text: str) -> None:
    unchanged_or_refused("DB" + text)


@given(st.sampled_from(MADE_UP), st.data())
def test_a_string_with_characters_changed_or_cut_off_raises_nothing_else(
    sections: dict[str, dict[str, Any]], data: st.DataObject
) -> None:
    text = list(gpp.encode(sections))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from("ABgw_-.~%é"))
    unchanged_or_refused("".join(text)[: data.draw(st.integers(0, len(text)))])


@given(st.sampled_from([vector["gpp"] for vector in VECTORS["vectors"] if vector["set"]]), st.data())
def test_a_flipped_bit_raises_nothing_else(text: str, data: st.DataObject) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    places = [at for at, character in enumerate(text) if character in alphabet]
    at = data.draw(st.sampled_from(places))
    flipped = alphabet[alphabet.index(text[at]) ^ (1 << data.draw(st.integers(0, 5)))]
    unchanged_or_refused(text[:at] + flipped + text[at + 1 :])


@pytest.mark.parametrize("unit", ["~", "A~", ".", "DB", "DBAA~", "_", "A", "DBABCw~BVFAAAgA.YA~", "é"])
def test_long_text_is_refused_before_it_is_looked_at(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Length is bounded first: nothing that grows with it runs on more than a request line's worth."""

    def looked(*_: object) -> None:
        raise AssertionError("looked at")

    monkeypatch.setattr("consentmw.gpp.strings.read_header", looked)
    with pytest.raises(GppError, match="16384 characters"):
        gpp.decode("DBABCw~" + unit * 1_000_000)


def test_a_short_header_cannot_make_a_long_list() -> None:
    """A dozen characters can name tens of thousands of sections; they are counted before they are written out."""
    tracemalloc.start()
    try:
        with pytest.raises(GppError):
            gpp.decode(MALFORMED["a range of thousands"])
        assert tracemalloc.get_traced_memory()[1] < 100_000  # bytes
    finally:
        tracemalloc.stop()


# -- writing --


@given(st.sampled_from(SECTIONS), st.randoms(use_true_random=False))
def test_what_is_written_is_read_back(section: str, rng: random.Random) -> None:
    fields = made_up(rng, section)
    assert gpp.decode(gpp.encode({section: fields})) == {section: fields}


def test_the_order_of_sections_does_not_matter() -> None:
    sections = MADE_UP[-1] | {"usia": template("usia"), "usca": template("usca")}
    assert gpp.encode(dict(reversed(sections.items()))) == gpp.encode(sections)


def test_saying_nothing_does_not_claim_a_contract() -> None:
    """The library's default for MspaCoveredTransaction is 1, yes; ours is 2, no."""
    assert gpp.decode(gpp.encode({"usia": {}}))["usia"]["MspaCoveredTransaction"] == 2


def test_a_second_segment_can_be_left_out() -> None:
    assert gpp.encode({"usia": {"GpcSegmentIncluded": False}}) == "DBABCw~BAAAAAgA"
    assert gpp.encode({"usin": {"SensitiveDataConsentSegmentIncluded": False}}) == "DBABUYA~BgAA"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"usxx": {}}, r"^usxx: a section we know \(uspv1, usnat, .*\) or the number of another$"),
        ({"0": {"Text": "A"}}, "^0: a section we know"),
        ({"018": {"Text": "A"}}, "^018: a section we know"),
        ({"٣": {"Text": "A"}}, "a section we know"),
        ({"65536": {"Text": "A"}}, "^65536: a section we know"),
        ({7: {"Text": "A"}}, "^7: a section we know"),
        ({"usia": {}, "18": {"Text": "A"}}, "^18: section 18 only once$"),
        ({"99": {}}, "^99: only Text, as it stood"),
        ({"99": {"Text": ""}}, "^99: only Text"),
        ({"99": {"Text": "a~b"}}, "^99: only Text"),
        ({"99": {"Text": "é"}}, "^99: only Text"),
        ({"99": {"Text": "A", "Version": 1}}, "^99: only Text"),
        ({"usia": None}, "^usia: its fields by name$"),
        ({"usia": {"SaleOptout": 1}}, r"^usia: fields that it has \(.*SaleOptOut,.*\), not 'SaleOptout'$"),
        ({"usia": {"SharingNotice": 1}}, "^usia: fields that it has"),
        ({"usva": {"Gpc": True}}, "^usva: fields that it has"),
        ({"usia": {"SaleOptOut": 3}}, r"^usia\.SaleOptOut: a number from 0 to 2, not 3$"),
        ({"usia": {"SaleOptOut": -1}}, r"^usia\.SaleOptOut: a number from 0 to 2, not -1$"),
        ({"usia": {"SaleOptOut": True}}, r"^usia\.SaleOptOut: a number from 0 to 2, not True$"),
        ({"usia": {"SaleOptOut": "1"}}, r"^usia\.SaleOptOut: a number from 0 to 2, not '1'$"),
        ({"usia": {"SaleOptOut": 1.0}}, r"^usia\.SaleOptOut: a number from 0 to 2, not 1.0$"),
        ({"usia": {"SaleOptOut": None}}, r"^usia\.SaleOptOut: a number from 0 to 2, not None$"),
        ({"usia": {"MspaCoveredTransaction": 0}}, r"^usia\.MspaCoveredTransaction: a number from 1 to 2, not 0$"),
        ({"usia": {"SensitiveDataProcessing": [0] * 7}}, r"^usia\.SensitiveDataProcessing: a list of 8 numbers, not"),
        ({"usia": {"SensitiveDataProcessing": 0}}, r"^usia\.SensitiveDataProcessing: a list of 8 numbers, not 0$"),
        ({"usia": {"SensitiveDataProcessing": [0] * 7 + [9]}}, r"^usia\.SensitiveDataProcessing: a number .*, not 9$"),
        ({"usia": {"Gpc": 1}}, r"^usia\.Gpc: true or false, not 1$"),
        ({"usia": {"GpcSegmentType": 2}}, r"^usia\.GpcSegmentType: a number from 1 to 1, not 2$"),
        ({"usia": {"GpcSegmentIncluded": 0}}, r"^usia\.GpcSegmentIncluded: true or false, not 0$"),
        ({"usia": {"GpcSegmentIncluded": False, "Gpc": True}}, r"^usia\.GpcSegmentIncluded: true, or what"),
        ({"usia": {"Version": 2}}, r"^usia\.Version: one of \[1\], not 2$"),
        ({"usnat": {"Version": 3}}, r"^usnat\.Version: one of \[1, 2\], not 3$"),
        ({"usnat": {"Version": True}}, r"^usnat\.Version: one of \[1, 2\], not True$"),
        ({"usnat": {"Version": [1]}}, r"^usnat\.Version: one of \[1, 2\], not \[1\]$"),
        ({"uspv1": {"Notice": "y"}}, r"""^uspv1\.Notice: "Y", "N" or "-", not 'y'$"""),
        ({"uspv1": {"Notice": ["Y"]}}, r"^uspv1\.Notice"),
        ({"uspv1": {"Version": 2}}, r"^uspv1\.Version: 1, not 2$"),
        ({"uspv1": {"Sale": "Y"}}, r"^uspv1: fields that it has"),
        ({"99": {"Text": "A" * 16_384}}, "^sections: a string of at most 16384 characters"),
        ({str(number): {"Text": "A"} for number in range(1, 8200, 2)}, "^header: fewer than 4096 ranges"),
    ],
)
def test_what_a_section_cannot_say_is_refused_in_words(sections: Any, message: str) -> None:
    with pytest.raises(GppError, match=message):
        gpp.encode(sections)


# -- what a decision says --


TOLD = {"google_ads", "meta_pixel", "google_analytics"}
SALE = {"sale": {"kind": "sale", "title": "Selling data", "text": "Sell what we know about you."}}
SELLING = Catalogue.load(purposes=SALE, only=TOLD)
TARGETING = Catalogue.load(only=TOLD)
QUIET = Catalogue.load(only={"google_analytics"})
REGIONS = Regions.load()
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
EVERYTHING = ("preferences", "analytics", "advertising", "sale", "email_measurement")


def decided(
    region: str,
    *granted: str,
    chosen: bool = True,
    gpc: bool = False,
    minor: bool = False,
    catalogue: Catalogue = SELLING,
    regime: str = "",
) -> Decision:
    choice = Choice("receipt-0123456789", NOW, catalogue.fingerprint, frozenset(granted)) if chosen else None
    return decide(
        catalogue,
        REGIONS.regimes[regime] if regime else REGIONS.regime(region, NOW),
        choice,
        now=NOW,
        language="en",
        gpc=gpc,
        notice="notice",
        valid_for=timedelta(days=180),
        region=region,
        region_source="stated",
        minor=minor,
    )


@pytest.mark.parametrize(
    ("region", "before", "after"),
    [
        ("US-IA", "DBABCw~BVKAAAgA.QA", "DBABCw~BVFAAAgA.YA"),
        ("US-MN", "DBABIYA~BVoAAAgA.QA", "DBABIYA~BVUAAAgA.YA"),
        ("US-CA", "DBABBg~BUoAAACA.QA", "DBABBg~BUUAAACA.YA"),
        ("US-VA", "DBABRg~BVoAACA", "DBABRg~BVUAACA"),
        ("US", "DBABLA~CVQqAAAAAACA.QA", "DBABLA~CVQVAAAAAACA.YA"),
    ],
)
def test_a_site_that_sells_and_advertises_says_what_the_standard_says(region: str, before: str, after: str) -> None:
    """Before a choice nobody is opted out in these states; a browser signal opts out of all three."""
    assert gpp.of(decided(region, chosen=False), SELLING) == before
    assert gpp.of(decided(region, chosen=False, gpc=True), SELLING) == after
    assert gpp.of(decided(region, *EVERYTHING), SELLING) == before
    assert gpp.of(decided(region, *EVERYTHING, gpc=True), SELLING) == after
    assert gpp.of(decided(region), SELLING) == after.replace(".YA", ".QA")


@pytest.mark.parametrize(
    ("region", "ids"),
    [
        *((f"US-{name[2:].upper()}", (number,)) for number, name in enumerate(SECTIONS[1:17], 8)),
        *((region, (7,)) for region in ("US", "US-MD", "US-IN", "US-KY", "US-RI", "US-NV")),
        *((region, ()) for region in ("US-WI", "US-IL", "US-MI", "US-WA", "US-OK", "PR")),
        *((region, ()) for region in ("", "-", "DE", "GB", "UM", "USA", "us-ia", "CA", "IA")),
    ],
)
def test_the_section_is_that_of_the_state_whose_law_applies(region: str, ids: tuple[int, ...]) -> None:
    """Four sections are laid out differently by text and library: the national one stands in for them."""
    text = gpp.of(decided(region), SELLING)
    assert (gpp.section_ids(text) if text else ()) == ids


def test_a_site_stricter_than_the_law_still_says_it() -> None:
    """Whoever sets opt-in for a state must not thereby lose its visitors' opt-outs on the way to vendors."""
    for region, name in (("US-IA", "usia"), ("US-MD", "usnat"), ("US-OK", "usnat")):
        text = gpp.of(decided(region, chosen=False, regime="opt_in"), SELLING)
        assert gpp.decode(text)[name]["SaleOptOut"] == 1


def test_a_decision_that_failed_says_nothing() -> None:
    assert gpp.of(closed(SELLING, language="en"), SELLING) == ""


@pytest.mark.parametrize(
    ("catalogue", "granted", "sale", "sharing", "advertising"),
    [
        (SELLING, ("sale", "advertising"), (1, 2), (1, 2), (1, 2)),
        (SELLING, ("sale",), (1, 2), (1, 1), (1, 1)),
        (SELLING, ("advertising",), (1, 1), (1, 1), (1, 2)),
        (SELLING, (), (1, 1), (1, 1), (1, 1)),
        (TARGETING, ("advertising",), (0, 0), (1, 2), (1, 2)),
        (TARGETING, (), (0, 0), (1, 1), (1, 1)),
        (QUIET, (), (0, 0), (0, 0), (0, 0)),
    ],
)
def test_notice_and_opt_out_for_what_the_site_does(
    catalogue: Catalogue,
    granted: tuple[str, ...],
    sale: tuple[int, int],
    sharing: tuple[int, int],
    advertising: tuple[int, int],
) -> None:
    """0 and 0 for what the site doesn't do at all; an opt-out of sale is one of sharing, as in California's right."""
    said = gpp.decode(gpp.of(decided("US", *granted, catalogue=catalogue), catalogue))["usnat"]
    for name, expected in (("Sale", sale), ("Sharing", sharing), ("TargetedAdvertising", advertising)):
        assert (said[f"{name}OptOutNotice"], said[f"{name}OptOut"]) == expected, name


def test_a_second_purpose_of_a_kind_that_is_denied_counts() -> None:
    own = {"audiences": {"kind": "advertising", "title": "Audiences", "text": "Find people like you elsewhere."}}
    catalogue = Catalogue.load(purposes=own, only=TOLD)
    text = gpp.of(decided("US-IA", "advertising", catalogue=catalogue), catalogue)
    assert gpp.decode(text)["usia"]["TargetedAdvertisingOptOut"] == 1


@pytest.mark.parametrize(("region", "children"), [("US-IA", 1), ("US-CA", [1, 1]), ("US-NJ", [1] * 5)])
def test_a_minor_has_consented_to_nothing(region: str, children: object) -> None:
    text = gpp.of(decided(region, *EVERYTHING, minor=True), SELLING)
    (said,) = gpp.decode(text).values()
    assert (said["SaleOptOut"], said["KnownChildSensitiveDataConsents"]) == (1, children)


@pytest.mark.parametrize(
    ("mspa", "numbers"), [("", (2, 0, 0)), ("opt_out", (1, 1, 2)), ("service_provider", (1, 2, 1))]
)
def test_only_a_signatory_claims_the_contract(mspa: Any, numbers: tuple[int, int, int]) -> None:
    said = gpp.decode(gpp.of(decided("US-IA"), SELLING, mspa=mspa))["usia"]
    names = ("MspaCoveredTransaction", "MspaOptOutOptionMode", "MspaServiceProviderMode")
    assert tuple(said[name] for name in names) == numbers


@pytest.mark.parametrize("region", ["US-IA", "DE"])
def test_a_mode_that_does_not_exist_is_refused_everywhere(region: str) -> None:
    word: Any = "covered"
    with pytest.raises(GppError, match="mspa: one of '', 'opt_out', 'service_provider', not 'covered'"):
        gpp.of(decided(region), SELLING, mspa=word)


# -- macros --


STRING = "DBABCw~BVFAAAgA.YA"


@pytest.mark.parametrize(
    ("url", "filled"),
    [
        ("https://a.example/?gpp=${GPP_STRING_123}&gpp_sid=${GPP_SID}", f"https://a.example/?gpp={STRING}&gpp_sid=18"),
        ("https://a.example/?gpp=${GPP_STRING}", f"https://a.example/?gpp={STRING}"),
        ("${GPP_STRING}${GPP_STRING_1}", STRING + STRING),
        ("https://a.example/", "https://a.example/"),
        ("${GPP_STRING_}", "${GPP_STRING_}"),
        ("${GPP_STRING_0}", "${GPP_STRING_0}"),
        ("${GPP_STRING_12a}", "${GPP_STRING_12a}"),
        ("${GPP_STRING_12345678901}", "${GPP_STRING_12345678901}"),
        ("${GPP_STRING_٣}", "${GPP_STRING_٣}"),
        ("${gpp_sid}", "${gpp_sid}"),
        ("$GPP_SID {GPP_SID}", "$GPP_SID {GPP_SID}"),
        ("${GPP_${GPP_SID}}", "${GPP_18}"),
        ("", ""),
    ],
)
def test_macros_are_filled_and_all_else_is_left(url: str, filled: str) -> None:
    assert gpp.macros(url, STRING, [18]) == filled


def test_a_macro_for_a_vendor_the_site_does_not_know_is_left() -> None:
    url = "${GPP_STRING_123} ${GPP_STRING_124} ${GPP_STRING}"
    assert gpp.macros(url, STRING, [18], vendors={123}) == f"{STRING} ${{GPP_STRING_124}} {STRING}"


@pytest.mark.parametrize(("sids", "filled"), [((), "-1"), ((-1,), "-1"), ((7, 18), "7,18")])
def test_the_sections_in_force(sids: tuple[int, ...], filled: str) -> None:
    assert gpp.macros("${GPP_SID}", STRING, sids) == filled


def test_nothing_applies_says_nothing() -> None:
    assert gpp.macros("https://a.example/?gpp=${GPP_STRING}&gpp_sid=${GPP_SID}", "", ()) == (
        "https://a.example/?gpp=&gpp_sid=-1"
    )


@pytest.mark.parametrize("text", ["a&b", "DBAA#", "DBAA\r\n", '"', "<", "é", "${GPP_SID}", " "])
def test_no_text_breaks_out_of_its_parameter(text: str) -> None:
    with pytest.raises(GppError):
        gpp.macros("https://a.example/?gpp=${GPP_STRING}", text, ())


@pytest.mark.parametrize("sids", [(7, 8, 9), ("7",), ("7&x=1",)])
def test_wrong_sections_in_force_are_refused(sids: Any) -> None:
    with pytest.raises(GppError, match="sids"):
        gpp.macros("${GPP_SID}", STRING, sids)


def test_the_page_names_what_the_room_offers() -> None:
    page = (TESTS.parent / "docs" / "gpp.md").read_text("utf-8")
    assert [name for name in gpp.__all__ if not re.search(rf"`gpp\.{name}\(", page)] == []
    assert [section for section in [*SECTIONS, "uspv1"] if f"`{section}`" not in page] == []
