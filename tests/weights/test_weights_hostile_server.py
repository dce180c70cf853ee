"""Downloads from servers that mean harm, over real connections: no plain hop, no flood, and an end."""

from __future__ import annotations

import gc
import gzip
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from certificates import certificate
from weights_server import FileServer, saying, scripted, serving, to

from cxr_explain.errors import WeightsDownloadError
from cxr_explain.weights import download, fetch, find_entry, hops, watch

ENTRY = find_entry("nih")
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 1000
PATH = "/weights.pt"


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("CXR_EXPLAIN_WEIGHTS_DIR", "CXR_EXPLAIN_WEIGHTS_URL", download.LIMIT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(download, "_ATTEMPTS", 2)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A certificate for this machine, and the file of the authority that signed it: itself."""
    made = certificate(tmp_path_factory.mktemp("tls"))
    return made.context(), made.authority


@pytest.fixture
def secure(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    with serving(CONTENT, tls[0]) as state:
        yield state


@pytest.fixture
def plain() -> Iterator[FileServer]:
    with serving(CONTENT) as state:
        yield state


@pytest.fixture
def get(tmp_path: Path) -> Callable[..., bytes]:
    def got(url: str) -> bytes:
        return fetch(ENTRY, weights_dir=tmp_path / "weights", url=url, backoff=0, progress=None).read_bytes()

    return got


def left(tmp_path: Path) -> dict[str, int]:
    folder = tmp_path / "weights"
    return {each.name: each.stat().st_size for each in folder.iterdir()} if folder.is_dir() else {}


def refusal(get: Callable[..., bytes], url: str) -> str:
    with pytest.raises(WeightsDownloadError) as caught:
        get(url)
    assert str(caught.value).isprintable()
    return str(caught.value)


# --- where a request may go ---


def test_https_leads_to_https(get: Callable[..., bytes], secure: FileServer) -> None:
    secure.plan = [to("/elsewhere.pt"), to(secure.base + "/there.pt")]
    assert get(secure.base + PATH) == CONTENT
    assert len(secure.requests) == 3


def test_no_hop_is_plain(
    get: Callable[..., bytes], secure: FileServer, plain: FileServer, tmp_path: Path
) -> None:
    """Not the last, and not one in the middle that leads back to https: nobody is asked."""
    plain.plan = [to(secure.base + PATH)]
    for first in ([to(plain.base + PATH)], [to("/a"), to("/b"), to(plain.base + PATH)]):
        secure.plan = list(first)
        assert "a redirect to an address that is not https" in refusal(get, secure.base + PATH)
    assert not plain.requests
    assert left(tmp_path) == {}


def test_plain_http_is_for_this_machine(
    get: Callable[..., bytes], plain: FileServer, secure: FileServer
) -> None:
    plain.plan = [to(plain.base + "/there.pt")]
    assert get(plain.base + PATH) == CONTENT
    assert len(plain.requests) == 2
    for url in ("http://mirror.invalid/a.pt", "http://10.0.0.1/a.pt", "http://127.0.0.1.invalid/a.pt"):
        assert "an address over plain http, which is for this machine alone" in refusal_of(url)


def refusal_of(url: str) -> str:
    with pytest.raises(WeightsDownloadError) as caught:
        hops.check_named(url)
    return str(caught.value)


def test_plain_http_that_leads_to_https_does_not_come_back(
    get: Callable[..., bytes], plain: FileServer, secure: FileServer, tmp_path: Path
) -> None:
    plain.plan = [to(secure.base + PATH)]
    assert get(plain.base + PATH) == CONTENT
    (tmp_path / "weights" / ENTRY.file_name).unlink()
    plain.plan, secure.plan = [to(secure.base + PATH)], [to("http://192.0.2.1/a.pt")]
    assert "a redirect to an address that is not https" in refusal(get, plain.base + PATH)


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "data:,x",
        "javascript:x",
        "gopher://a/",
        "https://[::1",
        "//[",
        "x:y",
    ],
)
def test_other_schemes_are_not_followed(target: str, get: Callable[..., bytes], secure: FileServer) -> None:
    secure.plan = [to(target)]
    assert "that cannot be used" in refusal(get, secure.base + PATH)


def test_redirects_have_an_end(get: Callable[..., bytes], secure: FileServer) -> None:
    secure.plan = [to("/again")] * 99
    assert f"more than {hops.MOST_HOPS} redirects" in refusal(get, secure.base + PATH)
    assert len(secure.requests) == hops.MOST_HOPS + 1


def test_what_redirects_is_not_read(get: Callable[..., bytes], plain: FileServer) -> None:
    """It may be a bomb: a kilobyte of these would be a megabyte."""
    bomb = gzip.compress(bytes(1 << 20))
    plain.plan = [to("/there", bomb[:100], Content_Encoding="gzip")]
    assert get(plain.base + PATH) == CONTENT


@pytest.mark.parametrize(
    "target",
    [
        *("https://127.0.0.1/a", "https://localhost/a", "https://10.1.2.3/a", "https://192.168.0.1:8443/a"),
        *(
            "https://169.254.169.254/latest",
            "https://[::1]/a",
            "https://[fe80::1%25eth0]/a",
            "https://127.1/a",
        ),
        *("https://[::ffff:10.0.0.1]/a", "https://2130706433/a", "https://0.0.0.0/a", "https://LOCALHOST./a"),
    ],
)
def test_a_public_address_leads_to_no_private_one(target: str) -> None:
    for named in ("https://8.8.8.8/a", "https://github.invalid/a"):
        with pytest.raises(WeightsDownloadError, match="from a public address to one inside this network"):
            hops.next_hop(named, named, target)
    assert hops.next_hop("https://10.0.0.9/a", "https://10.0.0.9/a", target) == target
    assert hops.next_hop("https://8.8.8.8/a", "https://8.8.8.8/a", "https://1.1.1.1/b") == "https://1.1.1.1/b"


def test_a_password_stays_with_the_host(get: Callable[..., bytes], plain: FileServer) -> None:
    with serving(CONTENT) as other:
        plain.plan = [to("/relative"), to(plain.base + "/absolute"), to(other.base + PATH)]
        assert get(plain.base.replace("//", "//user:secret@") + PATH) == CONTENT
        assert [("Authorization" in each) for each in plain.requests] == [True, True, True]
        assert "Authorization" not in other.requests[0]


# --- how much may come ---


def endless(*head: str, block: bytes) -> Callable:
    """A behaviour: headers, and then the same for ever."""

    def answer(handler, state: FileServer) -> None:
        saying(*head)(handler, state)
        try:
            while not state.release.is_set():
                handler.wfile.write(block)
        except OSError:
            pass  # the client is gone

    return answer


CHUNK = b"10000\r\n" + bytes(1 << 16) + b"\r\n"


def test_chunks_without_an_end_are_capped(
    get: Callable[..., bytes], plain: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(download.LIMIT_VARIABLE, "3")
    written: list[int] = []
    plain.plan = [endless("Transfer-Encoding: chunked", block=CHUNK)]
    with pytest.raises(
        WeightsDownloadError, match=r"without an end, more than the 3 MiB that CXR_EXPLAIN_MAX"
    ):
        fetch(
            ENTRY,
            weights_dir=tmp_path / "weights",
            url=plain.base + PATH,
            backoff=0,
            progress=lambda *_: written.append(sum(left(tmp_path).values())),
        )
    assert max(written) <= 3 << 20
    assert len(plain.requests) == 1
    assert left(tmp_path) == {}


def test_a_declared_length_is_capped_and_the_cap_can_be_raised(
    get: Callable[..., bytes], plain: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain.plan = [saying(f"Content-Length: {download.MOST_BYTES + 1}")]
    assert "a file of 2,147,483,649 bytes, more than the 2,048 MiB" in refusal(get, plain.base + PATH)
    monkeypatch.setenv(download.LIMIT_VARIABLE, "1000000000")
    plain.plan = [saying(f"Content-Length: {10**15}")]
    assert "free bytes in" in refusal(get, plain.base + PATH)
    assert left(tmp_path) == {}
    assert get(plain.base + PATH) == CONTENT


@pytest.mark.parametrize("value", ["0", "-1", "2 GiB", "1e3", "9" * 30, "²", "\x1b[2J"])
def test_a_cap_that_is_no_number_is_refused(
    value: str, get: Callable[..., bytes], plain: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(download.LIMIT_VARIABLE, value)
    assert "which is no number of MiB (such as 4096)" in refusal(get, plain.base + PATH)
    assert not plain.requests


def test_compressed_answers_are_refused(get: Callable[..., bytes], plain: FileServer, tmp_path: Path) -> None:
    packed = gzip.compress(bytes(1 << 20))
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, identity", "x\x1b[2J"):
        head = f"Content-Encoding: {coding}", f"Content-Length: {len(packed)}"
        plain.plan = [saying(*head, body=packed)]
        assert "a compressed answer (" in refusal(get, plain.base + PATH)
    assert {each["Accept-Encoding"] for each in plain.requests} == {"identity"}
    assert left(tmp_path) == {}


@pytest.mark.parametrize("length", ["²", "-1", "+5", "5, 6", "9" * 5000, "0x10", "1_0", " "])
def test_lengths_that_are_none(
    length: str, get: Callable[..., bytes], plain: FileServer, tmp_path: Path
) -> None:
    plain.plan = [saying(f"Content-Length: {length}", 'ETag: "1"', body=CONTENT)] * 2
    refusal(get, plain.base + PATH)
    assert left(tmp_path) == {}


@pytest.mark.parametrize(
    "answer",
    [
        saying("Content-Range: bytes {offset}-{last}/{total}", "Transfer-Encoding: chunked", body=CHUNK * 8),
        saying("Content-Range: bytes " + "9" * 5000 + "-1/2", "Content-Length: 5", body=b"12345"),
        saying("Content-Range: bytes {offset}-{last}/{total}", "Content-Encoding: gzip", "Content-Length: 5"),
        saying("Content-Range: bytes {offset}-{last}/*", "Content-Length: 5", body=b"12345"),
        saying("Content-Length: 5", body=b"12345"),
    ],
    ids=["more than declared", "numbers without an end", "compressed", "no total", "no range"],
)
def test_parts_that_lie_never_grow_the_file(
    answer: Callable,
    get: Callable[..., bytes],
    plain: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "_ATTEMPTS", 3)

    def lying(handler, state: FileServer) -> None:
        offset = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))

        class Filled:
            close_connection = True

            class wfile:  # noqa: N801 - as the handler calls it
                @staticmethod
                def write(content: bytes) -> None:
                    for name, value in {
                        "offset": offset,
                        "last": len(CONTENT) - 1,
                        "total": len(CONTENT),
                    }.items():
                        content = content.replace(f"{{{name}}}".encode(), str(value).encode())
                    handler.wfile.write(content.replace(b"200 OK", b"206 Partial", 1))

        answer(Filled, state)
        handler.close_connection = True

    plain.plan = ["drop", lying]
    with suppress(WeightsDownloadError):  # of the compressed part
        assert get(plain.base + PATH) == CONTENT
    assert all(size <= len(CONTENT) for size in left(tmp_path).values())


@pytest.mark.parametrize("said", ['ETag: "other"', "X: no version"])
def test_a_part_of_another_version_is_not_spliced(
    said: str, get: Callable[..., bytes], plain: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = CONTENT[: len(CONTENT) // 2]
    length, rest = len(CONTENT), len(CONTENT) - len(half)
    span = f"Content-Range: bytes {len(half)}-{length - 1}/{length}"
    monkeypatch.setattr(download, "_ATTEMPTS", 3)
    plain.plan = [
        saying('ETag: "1"', f"Content-Length: {length}", body=half),
        saying(span, said, f"Content-Length: {rest}", status="206 Partial Content", body=bytes(rest)),
    ]
    assert get(plain.base + PATH) == CONTENT
    assert plain.ranges == [None, f"bytes={len(half)}-", None]


@pytest.mark.parametrize("version", ['"\x1b[2J"', '"é"', '"' + "a" * 5000 + '"'])
def test_a_version_that_cannot_be_sent_back_is_none(
    version: str, get: Callable[..., bytes], plain: FileServer
) -> None:
    half = CONTENT[: len(CONTENT) // 2]
    plain.plan = [saying(f"ETag: {version}", f"Content-Length: {len(CONTENT)}", body=half)]
    assert get(plain.base + PATH) == CONTENT
    assert plain.ranges == [None, None]


def test_the_words_of_a_server_do_not_act_on_a_terminal(get: Callable[..., bytes], plain: FileServer) -> None:
    plain.plan = [saying(status="404 \x1b]0;x\x07ok: 99 images" + "x" * 9000)]
    message = refusal(get, plain.base + PATH)
    assert len(message) < 1200


# --- how long it may take ---


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 0.1)


def drip(head: bytes, block: bytes = b"x", pause: float = 0.01) -> Callable:
    """A script: so many bytes, and then a few for ever."""

    def script(stream, over) -> None:
        stream.write(head)
        while not over.wait(pause):
            stream.write(block)

    return script


def flood(head: bytes, block: bytes) -> Callable:
    def script(stream, over) -> None:
        stream.write(head)
        while not over.is_set():
            stream.write(block)

    return script


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW = {
    "silence": drip(b"", b""),
    "status line": drip(b"HTTP/1.1 200 "),
    "headers": drip(OK + b"X: "),
    "body": drip(OK + b"Content-Length: 1000000\r\n\r\n"),
    "chunks": drip(CHUNKED, b"1\r\nx\r\n"),
    "size of a chunk": drip(CHUNKED + b"1;"),
    "trailer": drip(CHUNKED + b"1\r\nx\r\n0\r\n", b"X: 1\r\n"),
    "interim answers": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "trailers at full speed": flood(CHUNKED + b"1\r\nx\r\n0\r\n", b"X: 1\r\n" * 1000),
}
FAST = {
    "headers": flood(OK, b"X: 1\r\n" * 1000),
    "a header": flood(OK + b"X: ", b"x" * 10_000),
    "status line": flood(b"HTTP/1.1 200 ", b"x" * 10_000),
    "size of a chunk": flood(CHUNKED + b"1;", b"x" * 10_000),
    "no http": flood(b"", b"\x00" * 10_000),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", SLOW)
def test_a_server_that_never_ends_is_cut(kind: str, get: Callable[..., bytes], tmp_path: Path) -> None:
    with scripted(SLOW[kind]) as port:
        message = refusal(get, f"http://127.0.0.1:{port}{PATH}")
    assert "less than 1,024 bytes a second for 90 seconds, 2 times" in message
    assert left(tmp_path) == {}


@pytest.mark.parametrize("kind", FAST)
def test_a_server_that_floods_is_refused_at_once(
    kind: str, get: Callable[..., bytes], tmp_path: Path
) -> None:
    with scripted(FAST[kind]) as port:
        assert "a connection that failed or broke off, 2 times" in refusal(
            get, f"http://127.0.0.1:{port}{PATH}"
        )
    assert left(tmp_path) == {}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "script", [drip(b"", b""), drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")], ids=["no", "slow"]
)
def test_a_greeting_of_tls_without_an_end_is_cut(script: Callable, get: Callable[..., bytes]) -> None:
    with scripted(script) as port:
        assert "less than 1,024 bytes a second" in refusal(get, f"https://127.0.0.1:{port}{PATH}")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_never_ends_is_cut(
    scheme: str, get: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "check_named", lambda _: None)  # a plain address of another machine
    left_open: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", left_open.append)
    with scripted(drip(b"HTTP/1.1 200 OK\r\nX: ")) as port:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
        assert "less than 1,024 bytes a second" in refusal(get, f"{scheme}://weights.invalid{PATH}")
    gc.collect()
    assert not [each for each in left_open if "SSLSocket" in str(each)]


def test_a_slow_file_over_tls_is_cut_and_kept(
    get: Callable[..., bytes], secure: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 0.3)
    secure.plan = ["hang", "hang"]
    assert "less than 1,024 bytes a second" in refusal(get, secure.base + PATH)
    part = left(tmp_path)[ENTRY.file_name + ".part"]
    assert 0 < part <= len(CONTENT)
    secure.plan = []
    assert get(secure.base + PATH) == CONTENT
    assert secure.ranges[-1] == f"bytes={part}-"


def test_a_download_has_an_end_however_brisk_it_is(
    get: Callable[..., bytes], plain: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LONGEST", 0.3)
    with scripted(drip(OK + b'ETag: "1"\r\nContent-Length: 100000000\r\n\r\n', bytes(1000))) as port:
        assert "no end after" in refusal(get, f"http://127.0.0.1:{port}{PATH}")
    assert left(tmp_path).keys() == {ENTRY.file_name + ".part", ENTRY.file_name + ".part.json"}


def test_a_slow_server_that_is_honest_is_waited_for(
    get: Callable[..., bytes], plain: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow, and faster than the least: each span of patience sees enough."""
    monkeypatch.setattr(watch, "PATIENCE", 0.4)

    def slowly(handler, state: FileServer) -> None:
        saying(f"Content-Length: {len(CONTENT)}")(handler, state)
        for at in range(0, len(CONTENT), 16_000):
            handler.wfile.write(CONTENT[at : at + 16_000])
            state.release.wait(0.06)

    plain.plan = [slowly]
    assert get(plain.base + PATH) == CONTENT
    assert len(plain.requests) == 1


def test_no_thread_stays(get: Callable[..., bytes], plain: FileServer) -> None:
    get(plain.base + PATH)
    assert not [each for each in threading.enumerate() if "_look" in each.name]
