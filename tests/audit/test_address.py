"""What a place is called: URLs of this machine, of others, keys in them, and what a received run may say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxr_explain.audit.address import folder_of, folder_told_by, without_secrets
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.place import LocalPlace, place_at
from cxr_explain.audit.store import AuditRun
from cxr_explain.errors import AuditError, OptionError, RadiographError
from cxr_explain.loaders.settings import ReadSettings

OF_OTHERS = (
    "s3://bucket/images", "S3://BUCKET/images", "s3://key:secret@bucket/images",
    "s3://bucket/images?endpoint_override=http://127.0.0.1:9&scheme=http", "gs://bucket", "gcs://bucket/images",
    "abfs://container@account.dfs.core.windows.net/images", "abfss://a/b", "hdfs://host:8020/images",
    "viewfs://host/images", "webhdfs://host/images", "http://127.0.0.1:9/images", "https://host/images",
    "ftp://host/images", "sftp://user@host/images", "smb://host/share", "oci://bucket", "hf://datasets/a/b",
    "github://org:repo@/images", "git://host/repo", "memory://images", "mock:///images", "reference://a",
    "dicomweb+https://host/dicom-web", "dicomweb+http://127.0.0.1:8042/dicom-web", "DICOMWEB+HTTP://127.0.0.1:9",
    "dicomweb+https://user:secret@host/dicom-web", "dicomweb+file:///images", "dicomweb+http:127.0.0.1",
    "simplecache::s3://bucket/images", "filecache::http://127.0.0.1:9/a", "zip://a.png::s3://bucket/a.zip",
    "blockcache::simplecache::https://host/a", "dir::s3://bucket", "tar://a::ftp://host/a.tar",
    r"\\127.0.0.1\share\images", "//127.0.0.1/share/images", "///127.0.0.1/share", r"\/127.0.0.1\share",
    "/net/127.0.0.1/images", "/net/../net/127.0.0.1", "/data/../net/127.0.0.1", "/NET/127.0.0.1/a",
    "/afs/cell/a", "/net", "/Network/Servers/host", "/proc/self/root/net/127.0.0.1/a", "//net/127.0.0.1/a",
    "file://127.0.0.1/images", "file:////127.0.0.1/share", "file:///net/127.0.0.1/a", "file:///%6eet/127.0.0.1",
    "file:/net/127.0.0.1", "FILE://LOCALHOST/net/127.0.0.1", "local:///net/127.0.0.1", "file://localhost//host/a",
    "file:///images?endpoint_override=http://127.0.0.1", "file:///images%00", "file:///a#b",
    "images", "../images", "~/images", "", ".", "s3:/bucket/images", "C:relative", "\x00", "\ud800",
    "a" * 9000,
    "s3://bucket/\x1b[31mimages", "s3://bucket/\nok: 99 images explained",
)  # fmt: skip
"""What a document may say, and no machine but this one may be asked for."""


@pytest.mark.parametrize("where", OF_OTHERS)
def test_a_document_names_no_place_beyond_this_machine(where: str) -> None:
    with pytest.raises(AuditError) as caught:
        folder_told_by("place.json", where)
    said = str(caught.value)
    assert "--images" in said
    assert said.isprintable()
    assert "secret" not in said
    assert "endpoint" not in said
    assert len(said) < 500


@pytest.mark.parametrize("where", ["/data/images", "/data/net/images", "/", "/data/a::b/images", "/data/ä b"])
def test_a_document_names_a_folder_of_this_machine(where: str) -> None:
    assert folder_told_by("place.json", where) == str(Path(where))
    assert folder_told_by("place.json", f"file://{where.replace(' ', '%20')}") == str(Path(where))


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_a_document_names_no_link_to_a_host(tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to("/net/127.0.0.1")
    with pytest.raises(AuditError, match=r"only place\.json names"):
        folder_told_by("place.json", str(tmp_path / "images"))


@pytest.mark.parametrize(
    ("where", "folder"),
    [
        ("file:///runs/a%20b", "/runs/a b"), ("file://localhost/runs", "/runs"), ("FILE://LocalHost/a", "/a"),
        ("local:///runs", "/runs"), ("file:/runs", "/runs"), ("runs/a%20b", "runs/a%20b"), ("runs", "runs"),
        ("file", "file"), ("a::b", "a::b"), ("file:///runs/%C3%A4", "/runs/ä"),
    ],
)  # fmt: skip
def test_a_file_url_is_the_plain_path(where: str, folder: str) -> None:
    assert folder_of(where) == Path(folder)
    place = place_at(where)
    assert isinstance(place, LocalPlace)
    assert place.folder == Path(folder)


@pytest.mark.parametrize(
    "where",
    [
        "file://host/runs", "file://127.0.0.1/runs", "file://[::1]/a", "file://[::1", "file://user@host/a",
        "file:///runs?a=b", "file:///runs#a", "file:///a%00", "file://localhost:80/a", "file:///a?", "file://",
    ],
)  # fmt: skip
def test_other_file_urls_are_refused(where: str) -> None:
    for named in (folder_of, place_at, ImageFolder):
        with pytest.raises(AuditError, match="a file:// URL"):
            named(where)


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("s3://key:secret@bucket/runs?region=eu", "s3://bucket/runs"),
        ("s3://key:se/cret@bucket/runs", "s3://bucket/runs"),
        ("s3://key:se@cret@bucket/runs", "s3://bucket/runs"),
        ("s3://key:secret?@bucket/runs", "s3://bucket/runs"),
        ("s3://key:secret#@bucket/runs", "s3://bucket/runs"),
        ("s3://key:secret", "s3://..."),
        ("s3://key:sec/ret", "s3://.../ret"),
        ("s3://bucket/runs#secret", "s3://bucket/runs"),
        ("http://host:9000/a@b", "http://host:9000/a@b"),
        ("https://host/a?sig=secret", "https://host/a"),
        ("dicomweb+https://user:secret@host:8043/dicom-web?a", "dicomweb+https://host:8043/dicom-web"),
        ("s3://bucket/runs/?region=eu", "s3://bucket/runs"),
        ("smb://", "smb://"),
        ("simplecache::s3://key:secret@bucket/a?x", "simplecache::s3://bucket/a"),
        ("zip://a::s3://key:secret@bucket/a", "zip://a::s3://bucket/a"),
        ("/runs/key:secret@a?b", "/runs/key:secret@a?b"),
    ],
)
def test_what_is_shown_of_a_place(where: str, shown: str) -> None:
    assert without_secrets(where) == shown


@pytest.mark.parametrize(
    "where", ["nope://key:sec/ret@bucket/a?token=secret", "simplecache::nope://key:secret@a/b",
              "smb://", "zip://a::file:///nowhere.zip", "abfs://secret"],
)  # fmt: skip
def test_what_nothing_reaches_is_one_line_without_keys(where: str) -> None:
    with pytest.raises(AuditError, match="neither pyarrow nor fsspec can reach") as caught:
        place_at(where)
    assert "secret" not in str(caught.value).replace("abfs://secret", "")


@pytest.mark.parametrize(
    "chain", ["simplecache::file://", "dir::file://", "filecache::simplecache::local://"]
)
def test_no_chain_hides_a_folder_of_this_machine(chain: str, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="ends on this machine"):
        place_at(f"{chain}{tmp_path}")


@pytest.mark.skipif(os.name == "nt", reason="links")
@pytest.mark.parametrize("scheme", ["", "file://", "file://localhost", "local://", "file:"])
def test_links_lead_out_of_no_image_folder_however_it_is_named(scheme: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (images / "link.png").symlink_to("../secret.png")
    (images / "folder").symlink_to("..")
    (images / "host.png").symlink_to("/net/127.0.0.1/a.png")
    folder = ImageFolder(f"{scheme}{images}")
    assert folder.where == str(images.resolve())
    for path in ("link.png", "folder/secret.png", "../secret.png", "host.png"):
        with pytest.raises(RadiographError, match="a link that leads out"):
            folder.read(path, ReadSettings())
    with pytest.raises(RadiographError, match="a link that leads out"):
        ImageFolder(images, links="here").read("host.png", ReadSettings())


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_a_manifests_path_names_no_host_through_the_root() -> None:
    folder = ImageFolder(folder_told_by("place.json", "/"), links="here")
    with pytest.raises(RadiographError, match="a link that leads out"):
        folder.read("net/127.0.0.1/a.png", ReadSettings())


@pytest.mark.parametrize(
    "where", ["\0", "a" * 5000, "\ud800", "circle", "/dev/null", "file:", "file:///%ff", "s3://"]
)
def test_a_name_that_no_folder_can_have_is_one_line(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if os.name != "nt":
        Path("circle").symlink_to("circle")
    with pytest.raises(AuditError):
        AuditRun.open(where)
    if where != "s3://":  # whose objects are asked for one by one
        with pytest.raises(OptionError, match="no folder of images"):
            ImageFolder(where)
