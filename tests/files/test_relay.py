"""A relay holds whole instances until they are released, and begins no more than it has room for."""

import threading
from pathlib import Path

import pytest

from dwcli.dicomweb.part10 import NotDicom
from dwcli.files.draft import FolderError
from dwcli.files.relay import Relay
from servers import images


def hold(relay: Relay, data: bytes, piece: int = 1 << 16) -> str:
    with relay.open() as draft:
        for at in range(0, len(data), piece):
            draft.write(data[at : at + piece])
        return draft.keep().path


@pytest.mark.parametrize("side", [16, 1024])  # in memory, and in a temporary file
def test_an_instance_is_held_byte_for_byte_without_a_name(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = images.instance(side=side)
    with Relay(1 << 20) as relay:
        held = relay.held(hold(relay, data))
        with held.open() as file:
            assert file.read() == data
        assert (held.size, held.instance) == (len(data), "2.25.3")
        assert list(tmp_path.iterdir()) == []


def test_what_is_dropped_or_released_makes_room() -> None:
    data = images.instance(side=16)
    with Relay(1) as relay:
        with relay.open() as draft:
            draft.write(data)
        key = hold(relay, data)
        begun = threading.Event()

        def begin() -> None:
            relay.open().discard()
            begun.set()

        threading.Thread(target=begin, daemon=True).start()
        assert not begun.wait(0.1)
        relay.release(key)
        assert begun.wait(5)


def test_whoever_waits_for_room_is_told_that_it_ended() -> None:
    relay = Relay(1)
    hold(relay, images.instance(side=16))
    threading.Timer(0.05, relay.close).start()
    with pytest.raises(FolderError, match="ended"):
        relay.open()


def test_what_is_not_dicom_is_not_held() -> None:
    with Relay(1 << 20) as relay, pytest.raises(NotDicom):
        hold(relay, b"<html>" * 100)
