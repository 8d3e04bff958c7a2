"""References: every way to write one, and a UID that is never a path."""

import pytest

from dwcli.dicomweb import refs
from dwcli.dicomweb.refs import FrameRef, InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import UsageError

STUDY, SERIES, INSTANCE = StudyRef("1.2"), SeriesRef("1.2", "1.3"), InstanceRef("1.2", "1.3", "1.4")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("1.2", STUDY),
        ("1.2/1.3", SERIES),
        ("1.2/1.3/1.4", INSTANCE),
        (" 1.2\n", STUDY),
        ("4300", StudyRef("4300")),
        ("studies/1.2", STUDY),
        ("/studies/1.2/series/1.3/", SERIES),
        ("studies/1.2/series/1.3/instances/1.4", INSTANCE),
        ("studies/1.2/series", STUDY),
        ("studies/1.2/metadata", STUDY),
        ("studies/1.2/series/1.3/instances/1.4/frames/1/rendered", INSTANCE),
        ("studies/1.2/series/1.3/instances/1.4/bulk/7FE00010", INSTANCE),
        ("https://pacs.example.org/dicom-web/studies/1.2", STUDY),
        ("HTTPS://pacs.example.org:8443/a/studies/b/studies/1.2/series/1.3", SERIES),
        ("http://[::1]:8042/studies/1.2?includefield=all#top", STUDY),
        ("a%2Fb/..", SeriesRef("a/b", "..")),
        ("../../x", InstanceRef("..", "..", "x")),
        ("..%2F..%2Fx", StudyRef("../../x")),
        ("100%25", StudyRef("100%")),
    ],
)
def test_parse_reads_every_way_to_write_a_reference(typed: str, found: Ref) -> None:
    assert refs.parse(typed) == found


@pytest.mark.parametrize(
    ("typed", "level", "found"),
    [
        ("1.3", Level.SERIES, SeriesRef("", "1.3")),
        ("1.4", Level.INSTANCE, InstanceRef("", "", "1.4")),
        ("1.2/1.3", Level.SERIES, SERIES),
        ("studies/1.2/series/1.3", Level.SERIES, SERIES),
    ],
)
def test_level_word_tells_what_a_lone_uid_is(typed: str, level: Level, found: Ref) -> None:
    assert refs.parse(typed, level) == found


@pytest.mark.parametrize(
    ("typed", "level"),
    [("1.2/1.3", Level.STUDY), ("1.2/1.3", Level.INSTANCE), ("studies/1.2", Level.SERIES)],
)
def test_level_word_that_disagrees_with_the_reference_is_refused(typed: str, level: Level) -> None:
    with pytest.raises(UsageError, match=f"not an? {level}"):
        refs.parse(typed, level)


@pytest.mark.parametrize("typed", ["", "  ", "/", "1.2//1.4", "1/2/3/4", "https://pacs.example.org/dicom-web"])
def test_what_is_no_reference_is_refused_with_a_hint(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        refs.parse(typed)
    assert caught.value.hint


@pytest.mark.parametrize("url", ["http://[::1/studies/1.2", "https://[x]/studies/1.2"])
def test_a_url_that_cannot_be_split_is_refused_and_no_crash(url: str) -> None:
    with pytest.raises(UsageError):
        refs.parse(url)


@pytest.mark.parametrize(
    "typed",
    ["studies/1.2/sereis/1.3", "studies/1.2/instances/1.4", "https://h/studies/1.2/series/1.3/instance/1.4"],
)
def test_a_path_that_goes_on_in_an_unknown_way_never_names_the_level_above(typed: str) -> None:
    with pytest.raises(UsageError, match="not a DICOMweb path"):
        refs.parse(typed)


@pytest.mark.parametrize(
    ("uid", "segment"),
    [
        ("4300", "4300"),
        ("../../x", "..%2F..%2Fx"),
        ("a/b", "a%2Fb"),
        ("a?b#c d", "a%3Fb%23c%20d"),
        ("é", "%C3%A9"),
        ("\ud800", "%3F"),
    ],
)
def test_a_uid_is_one_path_segment_whatever_it_holds(uid: str, segment: str) -> None:
    assert refs.segment(uid) == segment


@pytest.mark.parametrize("uid", [".", ".."])
def test_a_uid_that_servers_walk_even_when_it_is_encoded_is_refused(uid: str) -> None:
    with pytest.raises(UsageError, match="folder"):
        refs.path(StudyRef(uid))


@pytest.mark.parametrize("uid", ["4300", "../../x", "a/b", "100%", "%2F", "a b", "a\tb", "é"])
def test_what_is_shown_can_be_typed_again(uid: str) -> None:
    assert refs.parse(refs.show(StudyRef(uid))) == StudyRef(uid)
    ref = InstanceRef(uid, "1.3", uid)
    assert refs.parse(refs.show(ref)) == ref
    assert refs.parse(refs.path(ref)) == ref


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (STUDY, "studies/1.2"),
        (SERIES, "studies/1.2/series/1.3"),
        (INSTANCE, "studies/1.2/series/1.3/instances/1.4"),
        (FrameRef(INSTANCE, (1, 3)), "studies/1.2/series/1.3/instances/1.4/frames/1,3"),
    ],
)
def test_path_is_that_of_the_standard(ref: Ref | FrameRef, path: str) -> None:
    assert refs.path(ref) == path


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Pacs.Example.org/x", "https://pacs.example.org"),
        ("https://pacs.example.org:443/x", "https://pacs.example.org"),
        ("http://pacs.example.org:80", "http://pacs.example.org"),
        ("http://pacs.example.org:8080", "http://pacs.example.org:8080"),
        ("http://[::1]:8042/x", "http://[::1]:8042"),
        ("https://alice:secret@pacs.example.org/x", "https://pacs.example.org"),
        ("https://pacs.example.org@evil.example/x", "https://evil.example"),
        ("http://h:port/x", ""),
        ("ftp://h/x", ""),
        ("1.2/1.3", ""),
        ("http:///x", ""),
    ],
)
def test_origin_is_normal_and_holds_no_login(given: str, origin: str) -> None:
    assert refs.origin(given) == origin


def test_from_row_reads_dicom_json_and_flat_rows() -> None:
    row = {
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "0020000e": {"vr": "UI", "Value": ["1.3 "]},
        "00080018": {"vr": "UI", "Value": ["1.4"]},
    }
    assert refs.from_row(row) == INSTANCE
    assert refs.from_row(row, Level.STUDY) == STUDY
    flat = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": None}
    assert refs.from_row(flat) == SERIES
    assert refs.from_row(flat, Level.SERIES) == SERIES


@pytest.mark.parametrize(
    ("row", "level"),
    [
        ({}, None),
        ({"0020000D": {"vr": "UI"}}, None),
        ({"StudyInstanceUID": "1.2"}, Level.SERIES),
    ],
)
def test_from_row_without_the_uid_is_refused(row: dict[str, object], level: Level | None) -> None:
    with pytest.raises(UsageError, match="without"):
        refs.from_row(row, level)


@pytest.mark.parametrize(
    ("typed", "frames"), [("1", (1,)), ("1,3-5", (1, 3, 4, 5)), ("5, 1-2,2", (1, 2, 5)), ("7-7", (7,))]
)
def test_frames_are_ascending_and_each_once(typed: str, frames: tuple[int, ...]) -> None:
    assert refs.parse_frames(typed) == frames


@pytest.mark.parametrize("typed", ["", "0", "-1", "1-", "3-1", "a", "1,,2", "1-9999999999", "1.5", "0-3"])
def test_frames_that_make_no_sense_are_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        refs.parse_frames(typed)


@pytest.mark.parametrize(
    ("word", "level"),
    [("Study", Level.STUDY), ("studies", Level.STUDY), ("series", Level.SERIES), ("instances", Level.INSTANCE)],
)
def test_level_words(word: str, level: Level) -> None:
    assert refs.parse_level(word) is level
    assert refs.parse_level(word + "x") is None


@pytest.mark.parametrize(
    ("ref", "meant"),
    [
        (StudyRef("1"), True),
        (StudyRef("9"), False),
        (SeriesRef("1", "2"), True),
        (SeriesRef("", "2"), True),  # only the series' own UID is known
        (SeriesRef("9", "2"), False),
        (SeriesRef("1", "9"), False),
        (InstanceRef("1", "2", "3"), True),
        (InstanceRef("9", "9", "3"), True),  # it says of itself that it belongs elsewhere
        (InstanceRef("1", "2", "9"), False),
    ],
)
def test_a_reference_covers_what_is_asked_for_by_it(ref: Ref, meant: bool) -> None:
    assert refs.covers(ref, InstanceRef("1", "2", "3")) is meant


def test_what_a_reference_leaves_open_is_empty() -> None:
    given = (StudyRef("1"), SeriesRef("1", "2"), InstanceRef("1", "2", "3"))
    assert [(ref.study, ref.series, ref.instance) for ref in given] == [("1", "", ""), ("1", "2", ""), ("1", "2", "3")]
