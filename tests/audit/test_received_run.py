"""A run's folder that comes from somebody else: no host in it is asked, and no link in it is followed."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxr_explain import Explainer
from cxr_explain.audit.run import run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.cli.app import app
from cxr_explain.errors import AuditError
from cxr_explain.reference.manifest import Manifest
from tests.audit.conftest import RUNNING
from tests.audit.test_address import OF_OTHERS

RUN = CliRunner()
links = pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")


@pytest.fixture
def received(finished: AuditRun, tmp_path: Path) -> Path:
    """A copy of an undisturbed run, to be changed."""
    return Path(shutil.copytree(finished.place.name, tmp_path / "received"))


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A server's address, and what it was asked; there are keys to sign a request with."""
    requests: list[str] = []

    class Trap(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            requests.append(f"{self.requestline}\n{self.headers}")
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815 - as the base calls them

        def log_message(self, *_: object) -> None:
            pass

    for name, value in {
        "AWS_ACCESS_KEY_ID": "READERSKEY", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
        "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1",
        "CXR_EXPLAIN_DICOMWEB_TOKEN": "READERSKEY",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trap) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()


def run(*arguments: object) -> Result:
    result = RUN.invoke(app, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    return result


def bucket_at(host: str) -> str:
    return f"s3://bucket/images?endpoint_override={host}&scheme=http&region=us-east-1"


def say_where(folder: Path, where: object) -> Path:
    (folder / "place.json").write_text(json.dumps({"images": where}))
    return folder


@pytest.mark.parametrize("kind", ["bucket", "pacs"])
def test_no_request_is_signed_for_the_host_that_a_run_names(
    kind: str, received: Path, manifest: Manifest, trap: tuple[str, list[str]], tmp_path: Path
) -> None:
    host, requests = trap
    where, shown = {
        "bucket": (bucket_at(host), "s3://bucket/images"),
        "pacs": (f"dicomweb+http://{host}/dicom-web?a=endpoint", f"dicomweb+http://{host}/dicom-web"),
    }[kind]
    say_where(received, where)
    report = run("report", received, "--cases", 2, "--out", tmp_path / "report")
    assert report.exit_code == 0, report.output
    said = " ".join(report.output.split())
    assert f"the report will hold no radiographs: {shown}: found a place that only" in said
    assert "endpoint" not in said
    case = next((tmp_path / "report" / "cases").iterdir()).read_text()
    assert "name it with --images" in case
    assert shown not in case, "a report says nothing of places"
    assert run("stats", received).exit_code == 0
    figure = ("figure", received, manifest.ids[0], "--out", tmp_path / "a.png")
    refused = run(*figure)
    assert refused.exit_code == 1
    assert "--images" in refused.output
    assert AuditRun.open(received)._repr_html_()
    assert not requests
    if kind == "bucket":
        run(*figure, "--images", where)
    else:  # the manifest's own paths are none of a PACS
        source = ("--source", f"http://{host}/dicom-web", "--query", "Modality=DX")
        run("manifest", "dicomweb", *source, "--out", tmp_path / "pacs.csv")
    assert "READERSKEY" in "".join(requests), "a host that the user names is asked: the trap works"


@pytest.mark.slow
@pytest.mark.parametrize("file", ["run.json", "place.json", "statistics.json", "manifest.csv"])
def test_hosts_in_every_text_of_a_run(
    file: str, received: Path, manifest: Manifest, trap: tuple[str, list[str]], tmp_path: Path
) -> None:
    host, requests = trap
    before = (received / file).read_text() if (received / file).exists() else '{"a": ""}'
    for url in (bucket_at(host), f"http://{host}/a"):
        if file == "manifest.csv":
            for told in ("the renderer", "phantom-", ".png", "PA", "label:Mass"):
                (received / file).write_text(before.replace(told, url))
                use_commands(received, manifest.ids[0], tmp_path)
        else:
            for text in with_texts(json.loads(before), url):
                (received / file).write_text(json.dumps(text))
                use_commands(received, manifest.ids[0], tmp_path)
    assert not requests


def use_commands(folder: Path, image_id: str, tmp_path: Path) -> None:
    assert run("report", folder, "--cases", 1).exit_code in (0, 1, 2)
    assert run("figure", folder, image_id, "--out", tmp_path / "a.png").exit_code in (0, 1, 2)


def with_texts(document: Any, text: str) -> Iterator[Any]:
    """The document with another text in the place of each of its own, one after the other."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, str):
            instead: Any = [text]
        else:
            instead = with_texts(value, text) if isinstance(value, (dict, list)) else ()
        for each in instead:
            changed = document.copy()
            changed[key] = each
            yield changed


@pytest.mark.parametrize("where", [*OF_OTHERS, None, 1, [], {"images": "/"}, ["/"]])
def test_what_place_json_may_say(where: object, finished: AuditRun, tmp_path: Path) -> None:
    shutil.copy(finished.place.path("run.json"), tmp_path)
    opened = AuditRun.open(say_where(tmp_path, where))
    with pytest.raises(AuditError) as caught:
        _ = opened.images
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a": 1}'])
def test_a_place_json_that_says_nothing(content: bytes, finished: AuditRun, tmp_path: Path) -> None:
    shutil.copy(finished.place.path("run.json"), tmp_path)
    (tmp_path / "place.json").write_bytes(content)
    with pytest.raises(AuditError, match="nothing about where the images are"):
        _ = AuditRun.open(tmp_path).images


def test_the_same_folder_is_found_by_the_run_or_named_again(received: Path, phantoms: Path) -> None:
    images = phantoms / "images"
    opened = AuditRun.open(received)
    assert opened.images == str(images.resolve())
    for named in (images, f"file://{images}", f"file://localhost{images}"):
        again = AuditRun.open(say_where(received, "s3://bucket"), images=named)
        assert again.case(0).radiograph().sha256 == opened.case(0).row["sha256"]


def test_whoever_ran_an_audit_has_named_the_place(
    explainer: Explainer, manifest: Manifest, phantoms: Path, tmp_path: Path
) -> None:
    """Of images that are not in a folder of this machine; here in the memory of this process."""
    import fsspec

    files, two = fsspec.filesystem("memory"), manifest.select([0, 1])
    for path in two.paths:
        files.pipe(f"/kept/{path}", (phantoms / "images" / path).read_bytes())
    done = run_audit(explainer, two, "memory://kept", tmp_path / "run", running=RUNNING)
    assert done.case(0).radiograph().sha256
    assert json.loads((tmp_path / "run" / "place.json").read_text()) == {"images": "memory://kept"}
    with pytest.raises(AuditError, match=r"memory://kept: .* --images"):
        AuditRun.open(tmp_path / "run").case(0).radiograph()
    assert AuditRun.open(tmp_path / "run", images="memory://kept").case(0).radiograph().sha256


def test_the_keys_of_images_are_not_written(
    explainer: Explainer, manifest: Manifest, trap: tuple[str, list[str]], tmp_path: Path
) -> None:
    host, requests = trap
    images = bucket_at(host).replace("s3://", "s3://KEYID:opensesame@")
    done = run_audit(explainer, manifest.select([0]), images, tmp_path / "run", running=RUNNING)
    assert len(done.failures) == 1
    assert requests
    for path in (path for path in (tmp_path / "run").rglob("*") if path.is_file()):
        content = path.read_bytes() + repr(done.failures.to_pylist()).encode()
        assert not [word for word in (b"KEYID", b"opensesame", b"endpoint", host.encode()) if word in content]


# --- links within the folder ---

READ = ("run.json", "manifest.csv", "results.parquet", "failures.parquet", "place.json", "parts")


def leading(path: Path, target: str | Path) -> None:
    """Put a link in the place of what is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


def use(folder: Path) -> None:
    """Read all that is in it."""
    opened = AuditRun.open(folder)
    assert len(opened.results) == len(opened.manifest)
    assert len(opened.failures) == 0
    assert opened.images
    assert opened.is_complete


@links
@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("target", ["/net/127.0.0.1/a", "../outside", "/dev/zero", "{run}/pipe"])
def test_a_link_in_a_run_is_not_followed_out(name: str, target: str, received: Path, tmp_path: Path) -> None:
    os.mkfifo(received / "pipe")
    kept = received / name
    if kept.is_dir():
        shutil.copytree(kept, tmp_path / "outside")
        for each in ("SHA256SUMS.txt", "results.parquet"):
            (received / each).unlink()
    else:
        shutil.copy(kept, tmp_path / "outside")
    leading(kept, target.format(run=received))
    with pytest.raises(AuditError, match=r"a link that leads out|neither a file nor a folder"):
        use(received)


def audited(folder: Path, *inputs: Any) -> None:
    with suppress(AuditError):
        run_audit(*inputs, folder, running=RUNNING)


def told(folder: Path, *_: object) -> None:
    assert run("stats", folder).exit_code in (0, 1)


def reported(folder: Path, *_: object) -> None:
    assert run("report", folder, "--cases", 1).exit_code == 1


@links
@pytest.mark.parametrize(
    ("name", "use"),
    [
        *((name, audited) for name in ("audit.log", ".reading", ".lock", "failures.csv", "parts")),
        ("statistics.json", told), ("report", reported), ("report/index.html", reported),
    ],
)  # fmt: skip
def test_nothing_is_written_through_a_link(
    name: str,
    use: Callable[..., None],
    received: Path,
    explainer: Explainer,
    manifest: Manifest,
    phantoms: Path,
    tmp_path: Path,
) -> None:
    """A log could be appended to any file of the reader's, and a journal empties it first."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".cxr-explain-0123456789abcdef.tmp").write_text(
        "kept"
    )  # which looks like what a killed process left behind
    (outside / "file").write_text("kept")
    leading(received / name, outside if name in ("report", "parts") else outside / "file")
    (received / "results.parquet").unlink()
    use(received, explainer, manifest, phantoms / "images")
    assert sorted(path.name for path in outside.iterdir()) == [".cxr-explain-0123456789abcdef.tmp", "file"]
    assert {path.read_text() for path in outside.iterdir()} == {"kept"}


@links
def test_links_that_stay_in_the_folder_and_a_folder_that_is_a_link(received: Path, tmp_path: Path) -> None:
    (received / "kept").mkdir()
    shutil.move(received / "results.parquet", received / "kept" / "table")
    (received / "results.parquet").symlink_to("kept/table")
    (tmp_path / "elsewhere").symlink_to(received)
    use(tmp_path / "elsewhere")
