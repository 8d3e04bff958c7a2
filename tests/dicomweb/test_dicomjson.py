import json
import math
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwcli.dicomweb import dicomjson
from dwcli.dicomweb.dicomjson import Row, RowReader
from dwcli.errors import DwError, ProtocolError, TruncatedError

DATA = Path(__file__).parent.parent / "data"

ROWS: list[Row] = [
    {
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Zeta^É"}]},
    },
    {
        "00081030": {"vr": "LO", "Value": ['brace } quote " \\ back\\\\', "日本語 😀"]},
        "00080090": {"vr": "PN"},
    },
    {"00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1"]}}, {}]}},
    {"00280030": {"vr": "DS", "Value": [0.5, -1e-7, None, 12345678901234567890]}},
]


def read(*chunks: bytes) -> list[Row]:
    reader = RowReader()
    return [row for chunk in chunks for row in reader.feed(chunk)] + reader.finish()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(
    places=st.lists(st.integers(0, 5000), max_size=12),
    indent=st.sampled_from([None, 0, 40]),
    ascii_only=st.booleans(),
)
@settings(max_examples=60)
def test_any_chunking_gives_the_same_rows(places: list[int], indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only).encode()
    assert read(*cut(data, places)) == ROWS


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 40])
def test_byte_by_byte_gives_every_row_with_its_last_byte(indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only).encode()
    reader = RowReader()
    came = {at: rows for at in range(len(data)) if (rows := reader.feed(data[at : at + 1]))}
    assert [row for rows in came.values() for row in rows] == ROWS
    assert all(data[at : at + 1] == b"}" for at in came)
    assert reader.finish() == []


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 40])
def test_truncation_at_every_offset_is_reported_and_whole_rows_stay(indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only).encode()
    for end in range(1, len(data)):
        reader = RowReader()
        rows = reader.feed(data[:end])
        assert rows == ROWS[: len(rows)]
        with pytest.raises(TruncatedError):
            reader.finish()


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + b'[{"00100020":{"vr":"LO"}}]',
        b' \r\n [ {"00100020":{"vr":"LO"}} , ] \n',
        b'[{"00100020":{"vr":"LO",},}]',
        b'{"00100020":{"vr":"LO"}}',
        b'[][{"00100020":{"vr":"LO"}}]\xef\xbb\xbf[]',
    ],
    ids=["byte order mark", "trailing comma", "trailing commas in a row", "no array", "several arrays"],
)
def test_odd_but_clear_bodies_are_read(body: bytes) -> None:
    assert read(body) == [{"00100020": {"vr": "LO"}}]


def test_trailing_commas_are_passed_over_wherever_the_body_is_cut_and_text_keeps_its_own() -> None:
    body = b'[{"0020000D":{"vr":"UI","Value":["1.2.1" , ],} ,\n}, {"00081030":{"vr":"LO","Value":["a,]\\",}",],},},]'
    for at in range(len(body)):
        found = read(body[:at], body[at:])
        assert [dicomjson.values(row, tag) for row, tag in zip(found, ("0020000D", "00081030"), strict=True)] == [
            ["1.2.1"],
            ['a,]",}'],
        ]
    for bad in (b'[{"0020000D":{"vr":"UI",,}}]', b'[{"0020000D":{"vr",}}]', b'[{"0020000D":{"vr":x,},}]'):
        with pytest.raises(ProtocolError):
            read(bad)


@pytest.mark.parametrize("body", [b"", b"  \n", b"[]", b"\xef\xbb\xbf[ ]"])
def test_an_empty_answer_has_no_rows(body: bytes) -> None:
    assert read(body) == []


def test_nan_and_infinity_are_read_as_bare_words_cut_anywhere() -> None:
    body = b'[{"00180088":{"vr":"DS","Value":[NaN,-Infinity,Infinity]}}]'
    for at in range(len(body)):
        found = dicomjson.values(read(body[:at], body[at:])[0], "00180088")
        assert math.isnan(found[0])
        assert found[1:] == [-math.inf, math.inf]


def test_tags_come_in_upper_case_also_in_items_but_name_groups_stay() -> None:
    body = b'[{"0020000d":{"vr":"UI","Value":["1"]},"0008114a":{"vr":"SQ","Value":[{"0020000e":{"vr":"UI"}}]},'
    body += b'"00100010":{"vr":"PN","Value":[{"Alphabetic":"a"}]}}]'
    assert read(body) == [
        {
            "0020000D": {"vr": "UI", "Value": ["1"]},
            "0008114A": {"vr": "SQ", "Value": [{"0020000E": {"vr": "UI"}}]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "a"}]},
        }
    ]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<!DOCTYPE html>\n<html><title>Log in</title>", "a web page: <!DOCTYPE html> <html>"),
        (b"Internal \x1b[31mError", "\\u001b[31m"),
        (b'{"HttpStatus":400,"Message":"Bad file"}', "Bad file"),
        (b'[{"00100020":{"vr":"LO"}},"text"]', '"text"]'),
        (b'[{"00100020":{"vr":"LO","Value":[oops, and many more characters after this one]}}]', "oops"),
        (b'[{"00100020" {"vr":"LO"}}]', '"00100020" {'),
        (b"]", "]"),
        (b'{"00100020":' + b"[" * 100_000, "nested thousands of levels"),
        (b'{"00100020":' + b"9" * 5000 + b"}", "a number in it has thousands of digits"),
    ],
)
def test_what_is_not_dicom_json_is_a_protocol_error_with_an_excerpt(body: bytes, shown: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read(body)
    assert shown in caught.value.message
    assert len(caught.value.message) < 200
    assert "\x1b" not in caught.value.message


def test_rows_before_garbage_are_given_before_the_error() -> None:
    reader = RowReader()
    assert reader.feed(b'[{"00100020":{"vr":"LO"}}, <html>') == [{"00100020": {"vr": "LO"}}]
    with pytest.raises(ProtocolError):
        reader.feed(b"more")
    with pytest.raises(ProtocolError):
        reader.finish()


def test_a_broken_row_is_refused_at_once_not_gathered_to_the_end() -> None:
    reader = RowReader()
    with pytest.raises(ProtocolError):
        reader.feed(b'[{"00100020":{"vr":"LO","Value":["unescaped "quote" inside"]},' + b" " * 100)


def outcome(body: bytes, cuts: list[int]) -> tuple[str, list[Row]]:
    """What a reader makes of a body that is cut there: the rows, and the error if any."""
    reader = RowReader()
    rows: list[Row] = []
    try:
        for start, end in pairwise([0, *cuts, len(body)]):
            rows += reader.feed(body[start:end])
            reader.check()
        rows += reader.finish()
    except DwError as error:
        return type(error).__name__, rows
    return "", rows


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('[{"00100020":{"vr":"LO","Value":["x"]}},{"00100020":{"vr" "LO"}}]', "ProtocolError"),
        ('[{"00100020" 1, "b', "ProtocolError"),
        ('[{"00100020":01', "ProtocolError"),
        ('[{"00100020":"\\uD8', "TruncatedError"),
        ('[{"00100020":"\\uD8"', "ProtocolError"),
        ('[{"00100020":"\\q', "ProtocolError"),
        ('[{"00100020":[1, 2.', "TruncatedError"),
        ('[{"00100020":[1, 2..', "ProtocolError"),
        ('[{"00100020":[1, -Inf', "TruncatedError"),
        ('[{"00100020":[1, tru', "TruncatedError"),
        ('[{"00100020":[1 tru', "ProtocolError"),
        ('[{"00100020":[1,', "TruncatedError"),
        ('[{"00100020":[1,]},{}', "TruncatedError"),
        ('[{"00100020":[1}, "00100030":', "ProtocolError"),
        ('[{,"00100020":1', "ProtocolError"),
        ('[{"00100020":{}}] x', "ProtocolError"),
        ('[{"00100020":{}}]]', "ProtocolError"),
        ('[{"00100020":{}},', "TruncatedError"),
        ('[{"00100020":{}}, 5', "ProtocolError"),
        ('{"00100020":' + "[" * 90_000, "ProtocolError"),
    ],
)
def test_an_error_is_the_same_wherever_the_chunks_are_cut(body: str, error: str) -> None:
    data = body.encode()
    whole = outcome(data, [])
    assert whole[0] == error
    if len(data) < 1000:
        assert outcome(data, list(range(1, len(data)))) == whole
        assert all(outcome(data, [at]) == whole for at in range(len(data)))
    else:
        assert outcome(data, list(range(0, len(data), 999))) == whole


def test_mutated_bodies_have_one_outcome_wherever_the_chunks_are_cut() -> None:
    bodies = [
        b'[{"00100020":{"vr":"LO","Value":["a\\u00e4\\n\\"x",1.5e+3,-2,true,null,NaN,-Infinity]},"00081140":[{},]},{}]',
        b'{"00100020":{"Value":[1,2,],},}',
        b'[{"00100020":[,]},{,}]',
        '[{"00100010":"\u00e4\u3042\U0001f600"}]'.encode(),
        b'{"00100020":"\\ud83d\\ude00"}{"00100020":1e5}',
    ]
    chance = random.Random(3)
    errors = set()
    for _ in range(3000):
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(body) + 1)
            match chance.randrange(5):
                case 0 | 1:
                    body.insert(at, chance.choice(b'{}[],:"\\u01.eE+-tnNI x\xff'))
                case 2 | 3:
                    del body[at : at + 1]
                case _:
                    del body[at:]
        data = bytes(body)
        whole = outcome(data, [])
        errors.add(whole[0])
        # repr: NaN is not equal to itself.
        assert repr(outcome(data, list(range(1, len(data))))) == repr(whole), data
        some = sorted(chance.sample(range(len(data) + 1), min(len(data), 4)))
        assert repr(outcome(data, some)) == repr(whole), (data, some)
    assert errors == {"", "ProtocolError", "TruncatedError"}


@pytest.mark.parametrize(
    ("start", "filling"),
    [
        (b'[{"00100020":{"vr":"LO","Value":["', b"x"),
        (b'[{"00100020":{"vr":"LO","Value":["', "\U0001f600".encode()),
        (b'[{"00100020":{"vr":"LO","Value":["', b'\\"'),
        (b'[{"00100020":{"vr":"SQ","Value":[', b"[],"),
        (b'[{"00100020":{"vr":"FD","Value":[', b"1.5,"),
        (b'[{"00100020":{"vr":"FD","Value":[1', b"0"),
        (b'[{"00100020":{"vr":"SQ","Value":[{},],"x":"', b"y"),
    ],
    ids=["string", "emoji", "quotes", "items", "numbers", "digits", "after a trailing comma"],
)
def test_a_row_without_end_is_refused_before_it_fills_the_memory(start: bytes, filling: bytes) -> None:
    import tracemalloc

    reader = RowReader()
    chunk = filling * ((1 << 20) // len(filling))
    tracemalloc.start()
    try:
        reader.feed(start)
        with pytest.raises(ProtocolError, match="more than 64 MB"):
            for _ in range(100):
                reader.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20


def test_a_large_body_in_one_piece_is_bounded_as_well() -> None:
    with pytest.raises(ProtocolError, match="more than 64 MB"):
        RowReader().feed(b'[{"00100020":"' + b"x" * (66 << 20))


def test_a_row_of_many_megabytes_is_read() -> None:
    items = b",".join([b'{"00280030":{"vr":"DS","Value":[0.5,0.5]}}'] * 300_000)
    (row,) = read(b'[{"52009230":{"vr":"SQ","Value":[' + items + b"]}}]")
    assert len(row["52009230"]["Value"]) == 300_000


def test_an_open_string_of_escaped_quotes_is_looked_at_once() -> None:
    reader = RowReader()
    began = time.monotonic()
    reader.feed(b'[{"00100020":[1,],"x":"' + b'\\"' * 400_000)
    assert time.monotonic() - began < 5


def test_bytes_that_are_not_utf8_are_replaced_not_fatal() -> None:
    (row,) = read('[{"00100020":{"vr":"LO","Value":["Müller"]}}]'.encode("latin-1"))
    assert dicomjson.text(row, "00100020") == "M\ufffdller"


def test_many_rows_stay_within_a_few_megabytes() -> None:
    import tracemalloc

    row = json.dumps(ROWS[0] | {"00081030": {"vr": "LO", "Value": ["x" * 800]}}).encode() + b","
    reader = RowReader()
    count = 0
    tracemalloc.start()
    try:
        reader.feed(b"[")
        for _ in range(100):
            count += len(reader.feed(row * 20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reader.feed(b"]") == []
    assert count == 2000
    assert peak < 1_000_000


def test_one_large_row_in_small_chunks_is_scanned_once() -> None:
    body = b'[{"7FE00010":{"vr":"OW","InlineBinary":"' + b"QUJD" * 1_000_000 + b'"}}]'
    (row,) = read(*(body[at : at + 1000] for at in range(0, len(body), 1000)))
    assert len(row["7FE00010"]["InlineBinary"]) == 4_000_000


def test_the_answer_of_an_old_orthanc_reads_like_a_modern_one() -> None:
    first, second = read((DATA / "qido_orthanc_0.4.json").read_bytes())
    assert dicomjson.text(first, "00100010") == "Jupiter"
    assert dicomjson.values(first, "00080090") == []
    assert dicomjson.values(first, "00100030") == []
    assert dicomjson.flat(first)["NumberOfStudyRelatedInstances"] == 350
    assert dicomjson.text(second, "00081030") == "CT ABDOMEN/PELVIS WITH CONTRAST"


def pn(value: Any) -> Row:
    return {"00100010": {"vr": "PN", "Value": value}}


@pytest.mark.parametrize(
    ("row", "tag", "found"),
    [
        ({}, "00100020", []),
        ({"00100020": None}, "00100020", []),
        ({"00100020": {"vr": "LO"}}, "00100020", []),
        ({"00100020": {"vr": "LO", "Value": []}}, "00100020", []),
        ({"00100020": {"vr": "LO", "Value": [""]}}, "00100020", []),
        ({"00100020": {"vr": "LO", "Value": [None]}}, "00100020", []),
        ({"00100020": {"vr": "LO", "Value": None}}, "00100020", []),
        ({"00100020": {"vr": "LO", "Value": "X"}}, "00100020", ["X"]),
        ({"00100020": {"Value": ["X"]}}, "00100020", ["X"]),
        ({"00100020": "X"}, "00100020", ["X"]),
        ({"0020000d": {"vr": "UI", "Value": ["1"]}}, "0020000D", ["1"]),
        ({"00280010": {"vr": "US", "Value": 0}}, "00280010", [0]),
        ({"00280030": {"vr": "DS", "Value": ["1", None]}}, "00280030", ["1", None]),
        ({"00081140": {"vr": "SQ", "Value": [{}]}}, "00081140", [{}]),
        ({"00081140": {"Value": [{}]}}, "00081140", [{}]),
        (pn([{"Alphabetic": ""}]), "00100010", []),
        (pn([{}]), "00100010", []),
        ({"7FE00010": {"vr": "OW", "BulkDataURI": "bulk/1"}}, "7FE00010", []),
    ],
)
def test_values_are_read_leniently(row: Row, tag: str, found: list[Any]) -> None:
    assert dicomjson.values(row, tag) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}],
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        ([{"Alphabetic": "A", "Phonetic": "P"}], "A==P"),
        ([{"Alphabetic": "A", "Ideographic": "^", "Phonetic": ""}], "A"),
        ([{"Alphabetic": "A=I=P"}], "A=I=P"),
        ([{"Alphabetic": None, "Ideographic": "I"}], "=I"),
        (["Jupiter"], "Jupiter"),
        (["A=I=P"], "A=I=P"),
        (["A== "], "A"),
        ("Jupiter", "Jupiter"),
        ([{"Alphabetic": "A"}, None, {"Alphabetic": "B"}], "A\\\\B"),
        ([{"Alphabetic": ""}], ""),
    ],
)
def test_names_are_one_text_however_they_came(value: Any, text: str) -> None:
    assert dicomjson.text(pn(value), "00100010") == text
    without_vr = {"00100010": {"Value": value}}
    assert dicomjson.text(without_vr, "00100010") == text


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ({"vr": "DS", "Value": [0.5, "1 ", 3, None, math.inf]}, "0.5\\1\\3\\\\Infinity"),
        ({"vr": "UI", "Value": ["1.2.3\0"]}, "1.2.3"),
        ({"vr": "LO", "Value": ["A="]}, "A="),
        ({"vr": "SQ", "Value": [{}, {}]}, "(2 items)"),
        ({"vr": "SQ", "Value": [{}]}, "(1 item)"),
        ({"vr": "SQ"}, ""),
        ({"vr": "OB", "InlineBinary": "QUI="}, ""),
        ({"vr": "OB", "BulkDataURI": "http://x/bulk"}, ""),
    ],
)
def test_text_writes_values_as_dicom_does(element: Row, text: str) -> None:
    assert dicomjson.text({"00280030": element}, "00280030") == text


def test_flat_is_keyed_by_keyword_with_plain_values() -> None:
    row: Row = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Zeta^Zachary", "Ideographic": "泽"}]},
        "00080005": {"vr": "CS"},
        "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
        "00201206": {"vr": "IS", "Value": ["5"]},
        "00280030": {"Value": ["0.50", "1e3"]},
        "00180088": {"vr": "DS", "Value": ["three"]},
        "00189087": {"vr": "FD", "Value": [math.nan, "Infinity"]},
        "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]},
        "00082112": {"vr": "SQ"},
        "00091001": {"vr": "LO", "Value": ["private"]},
        "60000010": {"vr": "US", "Value": [4]},
        "60020010": {"vr": "US", "Value": [8]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "bulk/1"},
        "00420011": {"vr": "OB", "InlineBinary": "QUI="},
    }
    flat = dicomjson.flat(row)
    assert flat == {
        "PatientName": "Zeta^Zachary=泽",
        "SpecificCharacterSet": None,
        "ModalitiesInStudy": ["CT", "MR"],
        "NumberOfStudyRelatedSeries": 5,
        "PixelSpacing": [0.5, 1000.0],
        "SpacingBetweenSlices": "three",
        "DiffusionBValue": ["NaN", "Infinity"],
        "ReferencedImageSequence": [{"ReferencedSOPInstanceUID": "1.2"}],
        "SourceImageSequence": [],
        "00091001": "private",
        "OverlayRows": 4,
        "60020010": 8,
        "PixelData": "bulk/1",
        "EncapsulatedDocument": "QUI=",
    }
    json.dumps(flat, allow_nan=False)


@pytest.mark.parametrize(
    ("word", "vr", "value"),
    [
        ("12", "IS", 12),
        (" 12 ", "DS", 12),
        ("-.5", "FD", -0.5),
        ("1_000", "IS", "1_000"),
        ("١٢", "IS", "١٢"),
        ("1e999", "DS", "1e999"),
        ("9" * 5000, "IS", "9" * 5000),
        ("NaN", "FL", "NaN"),
        ("", "DS", ""),
        ("12", "LO", "12"),
    ],
)
def test_only_real_numbers_become_numbers(word: str, vr: str, value: Any) -> None:
    assert dicomjson.number(word, vr) == value


def test_sequences_without_end_are_refused_not_a_crash() -> None:
    row: Row = {"0020000D": {"vr": "UI"}}
    for _ in range(2000):
        row = {"00081140": {"vr": "SQ", "Value": [row]}}
    with pytest.raises(ProtocolError):
        dicomjson.flat(row)


def test_an_excerpt_hides_no_control_character_and_stays_short() -> None:
    shown = dicomjson.excerpt(b"a\n\n b\x1b[2J\xff" + "\u202e".encode() + b"c" * 500)
    assert shown.startswith("a b\\u001b[2J\ufffd\\u202e")
    assert shown.endswith("…")
    assert len(shown) < 100
