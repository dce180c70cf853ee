"""The help of every command: whole at 80 columns, in panels, and ending with an example that works."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer
from typer.testing import CliRunner

from cxr_explain.cam.registry import RULES
from cxr_explain.cli.app import app
from cxr_explain.cli.commands import GROUPS
from cxr_explain.reference import DATA_SETS

RUN = CliRunner()
ROOT: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = {
    **{name: command for name, command in ROOT.commands.items() if name not in GROUPS},
    **{
        f"{group} {name}": command
        for group in GROUPS
        for name, command in ROOT.commands[group].commands.items()
    },
}
PANELS = (
    "Input",
    "Model",
    "Ranking",
    "Map",
    "Figure",
    "Objects",
    "Statistics",
    "Subgroups",
    "Output",
    "Run",
    "General",
)
NOT_RUN = {
    "dicomweb": "needs a server; tests/cli/test_cli_dicomweb.py runs it",
    "evaluate": "tests/cli/test_cli_evaluate.py runs it on less",
    "weights fetch": "needs the network",
}


def help_of(words: str, columns: int = 80) -> str:
    result = RUN.invoke(app, [*words.split(), "--help"], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.output


def joined(text: str) -> str:
    """The words of a help text, without borders and line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", ["", *GROUPS, *COMMANDS])
def test_nothing_is_cut_and_no_line_is_too_long(words: str, columns: int) -> None:
    text = help_of(words, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text
    assert not re.search(r"(?<!INPUT)(?<!COMMAND )\.\.\.", text)


@pytest.mark.parametrize("words", COMMANDS)
def test_names_choices_and_defaults_stand_there_whole(words: str) -> None:
    command, text = COMMANDS[words], joined(help_of(words))
    arguments = inspect.signature(command.callback).parameters
    assert {parameter.name for parameter in command.params} == set(arguments)
    for parameter in command.params:
        kind, default = get_args(arguments[parameter.name].annotation)[0], arguments[parameter.name].default
        assert parameter.help in text
        assert re.match(r"[A-Z-].*\.( |$)", parameter.help), f"{parameter.name} is not explained"
        for name in (*parameter.opts, *parameter.secondary_opts):
            shown = name if name.startswith("-") else parameter.metavar
            assert re.search(rf"(?<![\w-]){re.escape(shown)}(?![\w-])", text), shown
        for choice in get_args(kind) if get_origin(kind) is Literal else ():
            assert re.search(rf"[ ]{re.escape(choice)}[,.]", parameter.help), choice
        if default is inspect.Parameter.empty:
            assert "Required." in parameter.help
        elif default is not None and not isinstance(default, bool) and parameter.name != "workers":
            assert f"Default: {default}." in parameter.help


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("explain", "--weights-dir PATH Folder that holds the weights. Default: $CXR_EXPLAIN_WEIGHTS_DIR,"),
        ("explain", "--weights TEXT Model to use: a name from `cxr-explain weights list`, or a checkpoint"),
        ("explain", "One of probability, calibrated. Default: probability."),
        ("explain", "--fused / --not-fused Whether each position of the map keeps only"),
        ("explain", "Default: the last feature map. May be repeated."),
        ("audit", "--out, -o PATH Folder for the audit, or a URL such as s3://bucket/run. Required."),
        ("phantom", "--size INTEGER Side of each square image in pixels. From 64 to 4096. Default: 512."),
        ("phantom", "--seed INTEGER Seed of the first"),
        ("evaluate", "Default: grad-cam; with --study, all. May be repeated."),
    ],
)
def test_an_option_reads(words: str, text: str) -> None:
    assert text in joined(help_of(words))


@pytest.mark.parametrize("words", COMMANDS)
def test_panels_come_in_the_order_of_the_path_of_an_image(words: str) -> None:
    titles = re.findall(r"^╭─ (\w+) ─", help_of(words), re.MULTILINE)
    assert titles == [title for title in PANELS if title in titles]
    assert len(titles) > 1


def test_an_option_says_the_same_wherever_it_is() -> None:
    """But for its bounds and its default; what is another thing in each command is listed."""
    texts: dict[str, set[str]] = defaultdict(set)
    for command in COMMANDS.values():
        for parameter in command.params:
            text = re.sub(r"(?: One of| At least| Default:| Required\.).*", "", parameter.help)
            texts[parameter.opts[0]].add(text)
    different = {name for name, found in texts.items() if len(found) > 1}
    assert different == {
        "--cases",  # of a report; of a comparison
        "--format",  # of a figure; of a report
        "--images",  # of a manifest; of a run that is there
        "--masks",  # a folder; a kind of outline
        "--n",  # images; phantoms
        "--out",
        "--page",  # a page with all figures; a page that explains in the browser
        "--query",  # of a data set that is a PACS; of the studies to explain
        "--seed",  # of the bootstrap; of a phantom
        "--weights",  # a model; several to evaluate
        "--size",  # of CheXpert's images; of a phantom
        "--ids",  # how results are named; which images of an audit
        "inputs",  # images; what several figures are made of; DICOM files, or an audit
        "--split",  # of a data set; of an audit, to fit operating points on
        "--study",  # a plan of measures; a study of a PACS
        "--workers",  # threads that read; processes that draw
    }


def test_every_data_set_and_rule_has_its_name_in_the_help() -> None:
    of_command_line = [name for name, each in DATA_SETS.items() if each.given_as != "object"]
    assert f"One of {', '.join(of_command_line)}." in joined(help_of("manifest"))
    helps = {parameter.name: parameter.help for parameter in COMMANDS["manifest"].params}
    for data_set in DATA_SETS.values():
        for name, option in data_set.options.items():
            words = () if name == "split" else option.choices  # each data set has splits of its own
            assert all(re.search(rf"\b{word}\b", helps[name]) for word in words), name
    for words in ("explain", "audit", "evaluate"):
        assert f"One of {', '.join(RULES)}." in joined(help_of(words))


@pytest.mark.parametrize("words", COMMANDS)
def test_the_example_is_shown_whole_and_parsed(words: str) -> None:
    command = COMMANDS[words]
    example = " ".join(command.epilog.split())
    assert joined(help_of(words)).endswith(f"Example: {example}")
    given = shlex.split(example)
    assert given[: 1 + len(words.split())] == ["cxr-explain", *words.split()]
    context = command.make_context(words, given[1 + len(words.split()) :])
    assert set(context.params) == {parameter.name for parameter in command.params}


@pytest.mark.parametrize(
    ("examples", "made"),
    [
        (("phantom", "manifest", "weights list", "weights verify"), {"phantoms", "phantoms.csv"}),
        pytest.param(
            ("phantom", *(words for words in COMMANDS if words not in {"phantom", *NOT_RUN})),
            {
                "phantoms",
                "figures",
                "phantoms.csv",
                "run",
                "case.png",
                "panel.pdf",
                "compare.pdf",
                "bundle",
                "objects",
                "chexlocalize",
                "chexlocalize-scores",
            },
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_examples_work_one_after_the_other(
    examples: tuple[str, ...], made: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for words in examples:
        result = RUN.invoke(app, shlex.split(COMMANDS[words].epilog)[1:])
        assert result.exit_code == 0, f"{words}: {result.output}"
    assert {path.name for path in tmp_path.iterdir()} - {"state"} == made


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom cxr_explain.cli.app import app\n"
        f"for words in {[*map(str.split, ('', *GROUPS, *COMMANDS))]}:\n"
        "    try:\n        app([*words, '--help'])\n"
        "    except SystemExit as end:\n        assert not end.code\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'pydicom', 'skimage', 'monai'} & set(sys.modules)\n"
        "heavy |= {'onnx', 'onnxscript', 'onnxruntime', 'openvino'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
