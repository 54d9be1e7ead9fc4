"""The page that serves a network is true: its server runs, and answers with the probabilities of `stabzoo predict`."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from fixtures import ROOT
from stabzoo.deploy.opening import open_deployed
from stabzoo.deploy.predicting import predict
from stabzoo.zoo import PRETRAINED

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow

NAME = "zerosnet20_opt.digits"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page's server."""
    folder = tmp_path_factory.mktemp("serve")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "serve.md").read_text(), re.DOTALL)
    (folder / "serve.py").write_text(code)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "serve:app", "--port", str(port)]
    environment = {**os.environ, "MODEL": f"local-dir:{PRETRAINED / NAME}"}
    process = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        for _ in range(300):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/predict"
    finally:
        process.terminate()
        process.wait(30)


def test_a_served_prediction(server: str, tmp_path: Path) -> None:
    """The same probabilities, class by class; and the digit."""
    digits = load_digits()
    pixels = (digits.images[3] * 255 / 16).astype("uint8")
    Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR).save(tmp_path / "3.png")
    with urllib.request.urlopen(server, (tmp_path / "3.png").read_bytes(), timeout=30) as answer:
        served = json.load(answer)
    found = predict(open_deployed(PRETRAINED / NAME), tmp_path)
    assert list(served) == list(found.classes)
    assert list(served.values()) == pytest.approx(found.probabilities[0].tolist(), abs=1e-6)
    assert max(served, key=lambda name: served[name]) == str(digits.target[3])


def test_what_is_no_image(server: str) -> None:
    """Is refused, and the server goes on."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server, b"no image", timeout=30)
    with refused.value as answer:
        assert answer.code == 415
