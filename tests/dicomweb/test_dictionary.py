import subprocess
import sys

import pytest

from dwcli.dicomweb import dictionary
from dwcli.errors import UsageError


def test_every_attribute_of_pydicom_has_the_same_keyword_and_vr() -> None:
    from pydicom import datadict
    from pydicom._dicom_dict import DicomDictionary

    missing = []
    for tag in DicomDictionary:
        name = f"{tag:08X}"
        expected = datadict.keyword_for_tag(tag)
        if not expected:
            continue
        if not dictionary.keyword(name):
            missing.append(name)
            continue
        assert dictionary.keyword(name) == expected
        assert dictionary.parse_tag(expected) == name
        if expected not in ("Item", "ItemDelimitationItem", "SequenceDelimitationItem"):
            assert dictionary.vr(name) in datadict.dictionary_VR(tag).split(" or ")
    # A newer pydicom knows the newest attributes; then scripts/gen_dictionary brings them.
    assert len(missing) < 150, missing


@pytest.mark.parametrize("tag", [0x60000010, 0x60020010, 0x601E3000, 0x50023000, 0x00203101, 0x10001231, 0x7F020010])
def test_repeating_groups_share_keyword_and_vr(tag: int) -> None:
    from pydicom import datadict

    name = f"{tag:08X}"
    assert dictionary.keyword(name) == datadict.keyword_for_tag(tag) != ""
    assert dictionary.vr(name) in datadict.dictionary_VR(tag).split(" or ")


def test_a_private_tag_is_unknown_even_between_repeating_groups() -> None:
    assert dictionary.keyword("60010010") == ""
    assert dictionary.vr("00091001") == "UN"
    assert dictionary.name("00091001") == ""


@pytest.mark.parametrize(
    ("word", "tag"),
    [
        ("PatientID", "00100020"),
        ("patientid", "00100020"),
        ("00100020", "00100020"),
        ("0010,0020", "00100020"),
        ("(0010,0020)", "00100020"),
        ("(0010, 0020)", "00100020"),
        ("0020000d", "0020000D"),
        ("00091001", "00091001"),
        ("OverlayRows", "60000010"),
    ],
)
def test_a_tag_is_read_in_every_way_people_write_it(word: str, tag: str) -> None:
    assert dictionary.parse_tag(word) == tag


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("PaitentName", "PatientName"),
        ("AcessionNumber", "AccessionNumber"),
        ("PatName", "PatientName"),
        ("StudyUID", "StudyInstanceUID"),
        ("Patient's Name", "PatientName"),
        ("Modaliti", "Modality"),
        ("birthdate", "PatientBirthDate"),
    ],
)
def test_an_unknown_keyword_is_refused_with_the_near_ones(word: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        dictionary.parse_tag(word)
    assert meant in caught.value.hint
    assert word in caught.value.message


@pytest.mark.parametrize("word", ["", "  ", "Qqqqzzzz", "0010,002", "001000200", "x" * 5000, "٠٠١٠٠٠٢٠"])
def test_a_word_like_nothing_is_refused_without_false_suggestions(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        dictionary.parse_tag(word)
    assert "did you mean" not in caught.value.hint


def test_levels_are_those_that_qido_matches() -> None:
    levels = {word: dictionary.level(dictionary.parse_tag(word)) for word in ("PatientID", "Modality", "SOPClassUID")}
    assert levels == {"PatientID": "study", "Modality": "series", "SOPClassUID": "instance"}
    assert dictionary.level("00091001") == ""


def test_importing_the_dictionary_does_not_read_it() -> None:
    code = "from dwcli.dicomweb import dictionary as d; print(d._table.cache_info().currsize)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "0"
