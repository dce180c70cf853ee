from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from weights_server import serving

from cxr_explain.errors import WeightsDownloadError, WeightsNotFoundError
from cxr_explain.support.locks import exclusive
from cxr_explain.weights import fetch, find_entry, resolve

ENTRY = find_entry("nih")
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000  # what download.py looks at: the first bytes


@pytest.fixture
def server():
    with serving(CONTENT) as state:
        yield state


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CXR_EXPLAIN_WEIGHTS_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def get(server, monkeypatch, tmp_path):
    """Fetch from the server into tmp_path, as a user with a mirror would."""
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_URL", server.base + "/mirror/")
    return lambda **options: fetch(
        ENTRY, weights_dir=tmp_path / "weights", backoff=0, **{"progress": None, **options}
    )


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "weights").iterdir())


def resumed_at(server):
    return int(server.ranges[-1].removeprefix("bytes=").removesuffix("-"))


def test_download_and_no_second_one(get, server, tmp_path):
    path = get()
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == [ENTRY.file_name]  # no lock, no part
    assert get() == path
    assert len(server.requests) == 1


def test_progress_is_reported(get):
    calls = []
    get(progress=lambda received, total: calls.append((received, total)))
    assert calls[0] == (0, len(CONTENT))
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert calls == sorted(calls)


def test_bar_is_drawn_on_standard_error_only(get, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    get(progress="auto")
    captured = capsys.readouterr()
    assert not captured.out
    assert ENTRY.name in captured.err


def test_explicit_url_wins_over_the_mirror(get, server):
    get(url=server.base + "/direct.pt")
    assert len(server.requests) == 1


def test_file_put_there_by_torchxrayvision_is_used(monkeypatch, tmp_path):
    folder = tmp_path / "home" / ".torchxrayvision" / "models_data"
    folder.mkdir(parents=True)
    (folder / ENTRY.file_name).write_bytes(CONTENT)
    assert fetch("nih", offline=True) == folder / ENTRY.file_name == resolve("nih", fetch=False)


def test_404_says_what_to_do(get, server, tmp_path):
    server.plan = ["404"]
    with pytest.raises(WeightsDownloadError) as caught:
        get()
    message = str(caught.value)
    for part in ("404", ENTRY.file_name, server.base, str(tmp_path / "weights"), "CXR_EXPLAIN_WEIGHTS_DIR"):
        assert part in message
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_500_is_tried_again(get, server):
    server.plan = ["500", "500"]
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_dropped_download_is_resumed(get, server):
    server.plan = ["drop"]
    assert get().read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert 0 < resumed_at(server) <= len(CONTENT) // 2
    assert server.requests[1]["If-Range"] == '"version-1"'


def test_dropped_for_good_keeps_the_part(get, server, tmp_path):
    server.plan = ["drop", *["500"] * 4]
    with pytest.raises(WeightsDownloadError, match="5 times"):
        get()
    assert names(tmp_path) == [ENTRY.file_name + ".part", ENTRY.file_name + ".part.json"]
    kept = (tmp_path / "weights" / (ENTRY.file_name + ".part")).stat().st_size
    assert get().read_bytes() == CONTENT  # continued by the next call
    assert resumed_at(server) == kept > 0


def test_server_that_ignores_range_restarts(get, server):
    server.plan = ["drop", "whole"]
    assert get().read_bytes() == CONTENT


def test_server_that_answers_another_range_restarts(get, server):
    server.plan = ["drop", "wrong-start"]
    assert get().read_bytes() == CONTENT
    assert server.ranges[-1] is None


def test_416_restarts(get, server):
    server.plan = ["drop", "416"]
    assert get().read_bytes() == CONTENT
    assert server.ranges[-1] is None


def test_without_a_version_nothing_is_spliced(get, server):
    server.etag = None
    server.plan = ["drop"]
    assert get().read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_weak_etag_is_not_used_to_resume(get, server):
    server.etag = 'W/"version-1"'
    server.plan = ["drop"]
    assert get().read_bytes() == CONTENT
    assert server.ranges == [None, None]


@pytest.mark.parametrize("second", ["good", "ignores-if-range"])
def test_changed_remote_file_is_not_spliced(get, server, second):
    server.plan = ["drop", *["500"] * 4]
    with pytest.raises(WeightsDownloadError):
        get()
    server.content = CONTENT[:4] + CONTENT[:3:-1]
    server.etag = '"version-2"'
    server.plan = [second]
    assert get().read_bytes() == server.content


def test_part_of_another_address_is_not_continued(get, server):
    server.plan = ["drop", *["500"] * 4]
    with pytest.raises(WeightsDownloadError):
        get()
    get(url=server.base + "/another.pt")
    assert server.ranges[-1] is None


def test_wrong_content_length(get, server, tmp_path):
    server.etag = None
    server.plan = ["too-long-a-length"] * 5
    with pytest.raises(WeightsDownloadError, match="broke off"):
        get()
    assert ENTRY.file_name not in names(tmp_path)


def test_answer_without_a_length_is_refused(get, server):
    server.plan = ["no-length"]
    with pytest.raises(WeightsDownloadError, match="length"):
        get()


def test_html_page_is_refused(get, server, tmp_path):
    server.plan = ["html"]
    with pytest.raises(WeightsDownloadError, match="an HTML page in place of a checkpoint"):
        get()
    assert names(tmp_path) == []


def test_redirect_to_a_file_is_refused(get, server, tmp_path):
    server.plan = ["to-file"]
    with pytest.raises(WeightsDownloadError, match="cannot be used"):
        get()
    assert names(tmp_path) == []


def test_no_network(get, monkeypatch):
    with pytest.raises(WeightsDownloadError, match=r"connection that failed.*put it at.*safetensors"):
        get(url="http://127.0.0.1:1/weights.pt")  # port 1: nobody listens


def test_password_of_a_mirror_is_not_shown(get):
    with pytest.raises(WeightsDownloadError, match=r"127\.0\.0\.1:1/weights\.pt") as caught:
        get(url="http://user:secret@127.0.0.1:1/weights.pt")
    assert "secret" not in str(caught.value)


def test_offline(get, server):
    with pytest.raises(WeightsNotFoundError, match=f"{ENTRY.name}.*{server.base}/mirror/{ENTRY.file_name}"):
        get(offline=True)
    assert not server.requests


def test_resolve_without_fetching(monkeypatch, tmp_path):
    with pytest.raises(WeightsNotFoundError, match=ENTRY.file_name):
        resolve("nih", tmp_path, fetch=False)


def test_folder_that_cannot_be_made(get, tmp_path):
    (tmp_path / "weights").write_bytes(b"a file in the way")
    with pytest.raises(WeightsDownloadError, match=r"cannot be written.*weights_dir"):
        get()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(get, tmp_path):
    (tmp_path / "weights").mkdir(mode=0o500)
    with pytest.raises(WeightsDownloadError, match="Permission denied"):
        get()


SCRIPT = (
    "import sys; from cxr_explain.weights import fetch; "
    "print(fetch('nih', weights_dir=sys.argv[1], backoff=0))"
)


def start(tmp_path):
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / "weights")]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_download_once(get, server, tmp_path):
    server.plan = ["slow"]
    first = start(tmp_path)
    assert server.received.acquire(timeout=30)  # the first holds the lock: its request has arrived
    waiting = [start(tmp_path), start(tmp_path)]
    at_the_latest = threading.Timer(60, server.release.set)
    at_the_latest.start()
    for process in waiting:
        assert process.stderr.readline() == f"another process downloads {ENTRY.name}; waiting for it\n"
    server.release.set()
    at_the_latest.cancel()
    for process in (first, *waiting):
        output, said = process.communicate(timeout=30)
        assert said == ""
        assert output.strip() == str(tmp_path / "weights" / ENTRY.file_name)
    assert len(server.requests) == 1
    assert get().read_bytes() == CONTENT
    assert names(tmp_path) == [ENTRY.file_name]


def test_what_a_kill_leaves_once_the_file_is_in_place_goes(get, tmp_path):
    path = get()
    beside = [path.with_name(path.name + ending) for ending in (".part", ".part.json", ".lock")]
    for each in beside:
        each.write_bytes(b"left")
    with exclusive(beside[-1]):
        assert get() == path
        assert all(each.exists() for each in beside), "another process is at it"
    for each in beside:
        each.write_bytes(b"left")
    assert get().read_bytes() == CONTENT
    assert names(tmp_path) == [ENTRY.file_name]
    beside[0].write_bytes(b"a browser's")
    get()
    assert names(tmp_path) == [ENTRY.file_name, beside[0].name]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_download_leaves_nothing_in_place(get, server, tmp_path):
    server.plan = ["hang"]
    process = start(tmp_path)
    assert server.received.acquire(timeout=30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = names(tmp_path)
    assert ENTRY.file_name not in left
    assert ENTRY.file_name + ".lock" in left  # stale, and no obstacle
    assert get().read_bytes() == CONTENT
    assert names(tmp_path) == [ENTRY.file_name]
