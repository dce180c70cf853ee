"""Every fenced block of the documentation runs, or is held against what it names.

The blocks of a page run in order, in one folder and, for Python, in one namespace: what a reader does who
follows the page. Commands of this package run in this process; a command that cannot run here is at least
parsed by the app that would run it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from blocks import ROOT, Block, Command, blocks_of, commands_of, pages
from typer.testing import CliRunner

NOT_RUN = {
    "cxr-explain evaluate": "minutes; tests/cli/test_cli_evaluate.py and tests/study run it on less",
    "--distributed ray": "needs a cluster; tests/audit/test_ray.py runs it on one machine",
    "cxr-explain dicomweb": "needs a server; tests/cli/test_cli_dicomweb.py has one on this machine",
    "CheXlocalize": "needs the data set; tests/cli/test_cli_chexlocalize.py has its formats",
    "/shared/": "needs folders of a cluster",
    "s3://": "needs a bucket; tests/audit/test_object_store.py has one on this machine",
    "https://pacs.example": "needs a PACS; tests/audit/test_dicomweb_audit.py has one on this machine",
    "export --weights phantom --page": "needs onnxruntime-web; tests/pages/in_browser has it",
    "--regions chestx-det": "needs weights; tests/chest/test_segmentation_networks.py runs it on others",
}
"""Commands that are only parsed, by a part of their text, and why."""

NOT_RUN_PYTHON = {
    "RayCrew": "needs folders of a cluster",
    "write_page(": "needs onnxruntime-web; tests/pages/in_browser has it",
    "lightning.LightningModule": "Lightning is no dependency, also not of the tests",
    'torch.load("training.ckpt"': "somebody's checkpoint",
    "graph.checked": "seconds; tests/explaining/test_export.py has smaller models",
    "torchvision.models.resnet50(num_classes=2)": "minutes; tests/explaining/test_export_models.py has it",
    "torchvision.models.densenet121(num_classes=2)": "minutes; tests/explaining/test_export_models.py has it",
    'weights_zip="chexpert.zip"': "gigabytes; tests/models/test_xrv_baselines.py runs it with random weights",
}
"""Python that is only compiled, and its imports resolved, by a part of its text, and why."""

SHORTER = {"--n 200 ": "--n 1 ", "--n 4 ": "--n 1 ", "--n 100 ": "--n 9 "}
"""What is made smaller to run here."""

SHORTER_PYTHON = {"models.vit_b_16(": "models.vit_b_32("}
"""The same in Python: fewer pixels, fewer patches."""

HARMLESS = {"cd", "cp", "curl", "export", "git", "mkdir", "scp", "rsync", "tar"}
HARMLESS |= {"Orthanc", "find", "kill", "nginx", "npm", "sudo"}  # see tests/dicom/viewer
"""Commands of the system that pages may use and no test runs."""

PAGES_WITH_BLOCKS = [page for page in pages() if blocks_of(page)]
HOME = {block.text: page for page in PAGES_WITH_BLOCKS for block in blocks_of(page)}
"""Where a block runs that stands word for word in several pages: in the last of them."""


def parts() -> Iterator[tuple[str, int]]:
    """Pages, the README by its blocks: no one reads it in one go, and so the cores share it."""
    for page in PAGES_WITH_BLOCKS:
        yield from (
            (page, number) for number in (range(len(blocks_of(page))) if page == "README.md" else [-1])
        )


@pytest.mark.parametrize(("page", "number"), list(parts()))
def test_the_blocks_of_a_page_run(page: str, number: int, prepared: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page) if number < 0 else [blocks_of(page)[number]]:
        # A page's own weights are there before the page says how to make them: two files of one name.
        shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
        _check(block, names)


def _check(block: Block, names: dict[str, Any]) -> None:
    language = block.language.split()[0] if block.language else "sh"
    if language.startswith("{"):
        return  # a directive: the build reads it
    if HOME.get(block.text, block.page) != block.page:
        return
    checks: dict[str, Callable[[], object]] = {
        "python": lambda: _run_python(block, names),
        "py": lambda: _compile_python(block),
        "sh": lambda: [_check_command(command) for command in commands_of(block)],
        "json": lambda: json.loads(block.text),
        "toml": lambda: tomllib.loads(block.text),
        "text": lambda: None,
    }
    assert language in checks, f"{block.place}: a block of the unknown language {language!r}"
    checks[language]()


def _run_python(block: Block, names: dict[str, Any]) -> None:
    if any(part in block.text for part in NOT_RUN_PYTHON):
        _compile_python(block)
        return
    # Padded with empty lines, so that a traceback shows the line of the page.
    text = block.text
    for long, short in SHORTER_PYTHON.items():
        text = text.replace(long, short)
    code = compile("\n" * block.line + text, block.page, "exec")
    exec(code, names)  # noqa: S102 - running the documentation is the test


def _compile_python(block: Block) -> None:
    """What does not run is no less Python, and names what exists."""
    assert any(part in block.text for part in NOT_RUN_PYTHON), (
        f"{block.place}: runs nowhere; say why in NOT_RUN_PYTHON"
    )
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxr_explain"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{block.place}: {node.module} has no {alias.name}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cxr":
            assert hasattr(importlib.import_module("cxr_explain"), node.attr), (
                f"{block.place}: no cxr.{node.attr}"
            )


def _check_command(command: Command) -> None:
    words = command.words
    if not words or words[0] in HARMLESS:
        return
    checks = {
        "cxr-explain": lambda: _run_command(command),
        "make": lambda: _check_make(command),
        "python": lambda: _check_python(command),
        "pip": lambda: _check_pip(command),
        "pytest": lambda: _check_pytest(command),
    }
    assert words[0] in checks, f"{command.place}: an unknown command {words[0]!r}"
    checks[words[0]]()


def _run_command(command: Command) -> None:
    from cxr_explain.cli.app import app

    parse(command)
    if any(part in command.text for part in NOT_RUN):
        return
    text = command.text
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    words = Command(command.place, text).words[1:]
    if words[0] == "phantom" and "--out" in words:  # each section of a page stands alone
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"{command.place}: {command.text}\n{result.output}\n{result.exception!r}"


def parse(command: Command) -> None:
    """Let the app read the options of a command, without running it.

    Raises:
        AssertionError: an option or a command that the app does not have, or a value that it refuses.
    """
    from cxr_explain.cli.app import app

    group: Any = typer.main.get_command(app)
    words, path = command.words[1:], "cxr-explain"
    while words and words[0] in getattr(group, "commands", {}):
        group, path, words = group.commands[words[0]], f"{path} {words[0]}", words[1:]
    inner = sorted(getattr(group, "commands", {}))
    assert not inner or not words or words[0].startswith("-"), (
        f"{command.place}: {path} has {inner}, not {words[0]}"
    )
    try:
        group.make_context(path, words)
    except typer.Exit:  # --help, --version
        pass
    except Exception as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        raise AssertionError(f"{command.place}: {command.text}: {message}") from error


def _check_make(command: Command) -> None:
    targets = set(
        re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    asked = {word for word in command.words[1:] if "=" not in word}
    assert asked <= targets, f"{command.place}: no target {sorted(asked - targets)} in the Makefile"


def _check_python(command: Command) -> None:
    words = command.words[1:]
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), f"{command.place}: no module {words[1]}"
    elif words[0] != "-c":
        assert (ROOT / words[0]).is_file(), f"{command.place}: no file {words[0]}"


def _check_pip(command: Command) -> None:
    """The extras that are asked for exist, and so do the files of constraints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in command.words:
        if asked := re.fullmatch(r"(?:cxr-explain|\.)\[(.*)\]", word):
            missing = set(asked[1].split(",")) - set(project["optional-dependencies"])
            assert not missing, f"{command.place}: no extra {sorted(missing)}"
    assert "-c" not in command.words or (ROOT / command.words[command.words.index("-c") + 1]).is_file()


def _check_pytest(command: Command) -> None:
    for word in command.words[1:]:
        assert not word.startswith("tests/") or (ROOT / word).exists(), f"{command.place}: no {word}"


def test_what_is_not_run_is_still_there() -> None:
    text = {block.language: "" for page in PAGES_WITH_BLOCKS for block in blocks_of(page)}
    for page in PAGES_WITH_BLOCKS:
        for block in blocks_of(page):
            shell = block.language in {"", "sh"}
            text[block.language] += "\n".join(c.text for c in commands_of(block)) if shell else block.text
    shell = text.get("sh", "") + text.get("", "")
    assert [part for part in (*NOT_RUN, *SHORTER) if part not in shell + " "] == []
    python = text.get("python", "") + text.get("py", "")
    assert [part for part in (*NOT_RUN_PYTHON, *SHORTER_PYTHON) if part not in python] == []


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match=r"No such option.*--top"):
        parse(Command("here:1", "cxr-explain explain a.png --topk 3"))


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match=r"here:1: cxr-explain weights has .*, not find"):
        parse(Command("here:1", "cxr-explain weights find all"))


def test_a_block_of_an_unknown_language_is_found() -> None:
    with pytest.raises(AssertionError, match=r"here\.md:3: a block of the unknown language 'klingon'"):
        _check(Block("here.md", 3, "klingon", "x\n"), {})
