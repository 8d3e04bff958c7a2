"""How deep `dw search` goes to the wire: whoever reads it should get there without turning round."""

import json
import subprocess
import sys

import pytest

from servers.dw import Dw

MOST = 17

# Runs `dw`; its transport writes the frames of dwcli that it is called from, to send the first byte and to receive it.
SCRIPT = """
import json, os, sys
import httpx
from dwcli.__main__ import run

stacks = []

def note():
    frame, found = sys._getframe(1), []
    while frame:
        name = frame.f_code.co_filename.replace("\\\\", "/").partition("/dwcli/")[2]
        if name:
            found.append(f"{name}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    stacks.append(found)

class Body(httpx.SyncByteStream):
    def __iter__(self):
        note()
        yield json.dumps([{"0020000D": {"vr": "UI", "Value": ["1"]}}]).encode()

class Wire(httpx.BaseTransport):
    def handle_request(self, request):
        if stacks:
            return httpx.Response(204, stream=httpx.ByteStream(b""))
        note()
        return httpx.Response(200, headers={"Content-Type": "application/dicom+json"}, stream=Body())

httpx.HTTPTransport.handle_request = lambda self, request: Wire().handle_request(request)
os._exit = lambda code: None
try:
    run()
finally:
    print(json.dumps(stacks), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("dialect", "arguments"),
    [
        ("auto", ["studies"]),
        ("auto", ["series", "--study", "1", "-f", "jsonl"]),
        ("auto", ["--patient", "Doe^*", "-f", "uids"]),
        ("auto", ["--modality", "CT,MR", "-f", "csv"]),
        ("orthanc", ["instances", "--study", "1", "-f", "xml"]),
        ("aws", ["series", "-f", "json"]),
    ],
)
def test_a_search_is_short_to_its_first_byte_and_comes_through_no_function_twice(
    dialect: str, arguments: list[str], run_dw: Dw
) -> None:
    run_dw("profile", "add", "p", "http://server/dw", "--dialect", dialect)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "search", *arguments],
        env=run_dw.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    for stack in json.loads(done.stderr.splitlines()[-1]):
        assert len(stack) <= MOST, stack[::-1]
        assert len(set(stack)) == len(stack), stack[::-1]
