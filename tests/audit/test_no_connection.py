"""The commands ask nobody: no connection, no name looked up, from a manifest to a report of a received run.

An audit hook sees what Python opens. It does not see what native code opens: strace does, and it would fail
where the network is cut.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

HOOK = """
import os, sys

def hook(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        said = repr((event, *arguments[-1:])) + "\\n"
        handle = os.open(os.environ["CONNECTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, said.encode())
        os.close(handle)

sys.addaudithook(hook)
"""

HARMLESS = re.compile(r"\('socket\.(__new__', .*|bind', \('::1', 0\)|gethostname'.*)\)$")
"""A socket without a peer: urllib3 binds one to this machine as it is imported, to look for IPv6."""

EACH_IN_TURN = """
import json, pathlib, sys
from cxr_explain.cli.app import app

for words in json.loads(sys.argv[1]):
    if words[0] == "receive":
        pathlib.Path("run/place.json").write_text(json.dumps({"images": words[1]}))
        continue
    try:
        app(words)
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""

RECEIVE = (
    ("receive", "s3://bucket/images?endpoint_override=http://192.0.2.1&region=us-east-1"),
    ("receive", "dicomweb+https://192.0.2.1/dicom-web"),
)
"""From then on the run is one that names a bucket, or a PACS, on another machine."""

AUDIT = (
    ("phantom", "--n", "2", "--size", "64", "--out", "phantoms"),
    ("manifest", "nih", "--source", "phantoms", "--out", "manifest.csv"),
    ("audit", "manifest.csv", "--images", "phantoms/images", "--weights", "phantom", "--out", "run"),
)
READ = (
    ("explain", "phantoms/images/phantom-000001.png", "--weights", "phantom", "--out", "explained"),
    ("figure", "run", "phantom-000001", "--images", "file://{here}/phantoms/images"),
    RECEIVE[0],
    ("stats", "run"),
    ("report", "run", "--cases", "1"),
    RECEIVE[1],
    ("stats", "run"),
    ("report", "run", "--cases", "1"),
)
FURTHER = (
    ("report", "run", "--format", "pdf"),
    ("explain", "phantoms/dicom", "--weights", "phantom", "--out", "dicom", "--page"),
    ("manifest", "dicom", "--source", "phantoms/dicom", "--out", "dicom.csv"),
    ("evaluate", "--n", "1", "--resamples", "100", "--out", "quick"),
    ("layers", "--weights", "phantom"),
    ("weights", "list"),
    ("bundle", "--weights", "phantom", "--out", "bundle"),
)


def in_turn(folder: Path, commands: Sequence[Sequence[str]], *before: str) -> list[str]:
    """Run commands in one process of their own, which could ask a bucket.

    Returns:
        What Python's sockets were used for, beside what leaves no machine.
    """
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "hook"), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "CONNECTIONS": str(folder / "connections"),
        "AWS_ACCESS_KEY_ID": "READERSKEY",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "CXR_EXPLAIN_DICOMWEB_TOKEN": "READERSTOKEN",
    }
    words = json.dumps([[word.format(here=folder) for word in command] for command in commands])
    command = [*before, sys.executable, "-c", EACH_IN_TURN, words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = (folder / "connections").read_text().splitlines()
    assert lines, "the hook is there: urllib3 looks for IPv6"
    return [line for line in lines if not HARMLESS.match(line)]


def test_the_commands_open_no_connection(tmp_path: Path) -> None:
    assert in_turn(tmp_path, (*AUDIT, *READ)) == []
    assert (tmp_path / "run" / "report" / "index.html").exists()


@pytest.mark.slow
def test_every_command_opens_no_connection(tmp_path: Path) -> None:
    assert in_turn(tmp_path, (*AUDIT, *READ, *FURTHER)) == []


@pytest.mark.slow
def test_an_audit_with_the_network_cut(tmp_path: Path) -> None:
    cut = ("unshare", "--map-root-user", "--net")
    if not shutil.which("unshare") or subprocess.run([*cut, "true"], capture_output=True).returncode:
        pytest.skip("needs util-linux's unshare, and the right to use it")
    in_turn(tmp_path, (*AUDIT, *READ, *FURTHER), *cut)


@pytest.mark.slow
def test_native_code_opens_no_connection(tmp_path: Path) -> None:
    traced = ("strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,listen", "-o", "calls")
    if not shutil.which("strace") or subprocess.run([*traced[:-2], "true"], capture_output=True).returncode:
        pytest.skip("needs strace, and the right to use it")
    in_turn(tmp_path, (*AUDIT, *READ), *traced)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call for call in calls if "AF_INET" in call or "listen(" in call] == []
