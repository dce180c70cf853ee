"""An audit whose images and results are in an object store, over real HTTP on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxr_explain import Explainer
from cxr_explain.audit.results import write_statistics
from cxr_explain.audit.run import run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError
from cxr_explain.reference.manifest import Manifest
from tests.audit.conftest import RUNNING
from tests.audit.test_audit_run import assert_same_table

moto_server = pytest.importorskip("moto.server", reason="needs moto, an S3-compatible server")


@pytest.fixture(scope="module")
def bucket(phantoms: Path) -> Iterator[str]:
    """A bucket that holds the phantoms' images; the query that reaches it."""
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = moto_server.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    endpoint = f"http://127.0.0.1:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="audits")
    for path in (phantoms / "images").glob("*.png"):
        client.upload_file(str(path), "audits", f"images/{path.name}")
    yield f"endpoint_override={endpoint}&region=us-east-1&allow_bucket_creation=false"
    patch.undo()
    server.stop()


def url(folder: str, bucket: str) -> str:
    return f"s3://audits/{folder}?{bucket}"


def test_images_and_results_in_an_object_store(
    bucket: str, finished: AuditRun, explainer: Explainer, manifest: Manifest, tmp_path: Path
) -> None:
    where, images = url("runs/one", bucket), url("images", bucket)
    half = run_audit(explainer, manifest, images, where, running=RUNNING, stop=lambda: True)
    assert not half.joined
    run = run_audit(explainer, manifest, images, where, running=RUNNING)
    assert_same_table(finished, run)
    assert run.place.read("place.json") == b'{\n  "images": "s3://audits/images"\n}\n'
    with pytest.raises(AuditError, match=r"s3://audits/images: .* name it with --images"):
        AuditRun.open(where).case(0).radiograph()
    opened = AuditRun.open(where, images=images)
    assert opened.is_complete
    assert opened.case(0).radiograph().sha256 == opened.results["sha256"][0].as_py()
    found = write_statistics(opened)
    assert opened.place.read("statistics.json") == found.to_json()
    assert len(opened.place.names("logs")) == 2


def test_an_image_that_is_not_there_is_a_failure(bucket: str, explainer: Explainer, tmp_path: Path) -> None:
    manifest = Manifest(["a"], ["nothing.png"])
    run = run_audit(explainer, manifest, url("images", bucket), tmp_path / "run")
    assert run.failures["code"].to_pylist() == ["no-such-file"]
    assert "no readable object" in run.failures["message"][0].as_py()


def test_no_audit_there(bucket: str) -> None:
    with pytest.raises(AuditError, match="found no audit"):
        AuditRun.open(url("nowhere", bucket))


def test_a_url_that_nothing_can_reach(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="neither pyarrow nor fsspec"):
        AuditRun.open("nonsense://bucket/run")
