#!/bin/sh
# What explaining costs on a GPU, on a bare machine that has Python and its own torch with CUDA.
#
#   sh benchmarks/gpu.sh [OPTIONS OF benchmarks.gpu]
#
# Only what is missing is installed, into .venv-gpu, which sees the machine's torch and never replaces it: from the
# folder WHEELS (by default ./wheels) where there is one, so that no network is needed, else as pip is configured.
# On a machine with a network, of the same Python and processor, the folder is made by
#
#   sh benchmarks/gpu.sh wheels
#
# PYTHON names another interpreter. All of it takes less than five minutes; `timeout` ends what takes longer.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheels=${WHEELS:-wheels}
# What the model, reading and an audit need; MONAI, Matplotlib and the command line's packages are not used here.
needed="torchvision torchxrayvision numpy pydicom pylibjpeg pylibjpeg-openjpeg pyjpegls python-gdcm pillow scipy
  scikit-image pyarrow safetensors requests"

if [ "${1:-}" = wheels ]; then
  "$python" -m pip download -q -c constraints.txt -d "$wheels" --only-binary :all: $needed
  rm -f "$wheels"/torch-* "$wheels"/nvidia_* "$wheels"/triton-*
  exit
fi

"$python" -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
[ -d .venv-gpu ] || "$python" -m venv --system-site-packages .venv-gpu
own=$(.venv-gpu/bin/python -c 'import torch; print(torch.__version__.split("+")[0])')
from=
[ ! -d "$wheels" ] || from="--no-index --find-links $wheels"
.venv-gpu/bin/python -m pip install -q --disable-pip-version-check $from "torch==$own" $needed
exec timeout 290 .venv-gpu/bin/python -m benchmarks.gpu "$@"
