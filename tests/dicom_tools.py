"""Independent programs that read DICOM: David Clunie's dciodvfy, and OFFIS' dcmtk."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_dciodvfy = [
    pytest.mark.dicom3tools,
    pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not installed"),
]
needs_dcmtk = [
    pytest.mark.dcmtk,
    pytest.mark.skipif(shutil.which("dsrdump") is None, reason="Debian's dcmtk is not installed"),
]


def dciodvfy_errors(file: Path) -> list[str]:
    """What dciodvfy calls an error in a file; a file that it cannot read at all is one."""
    run = subprocess.run(["dciodvfy", str(file)], capture_output=True, check=False)
    lines = (run.stdout + run.stderr).decode(errors="replace").splitlines()
    return [line for line in lines if line.startswith(("Error", "Abort"))]
