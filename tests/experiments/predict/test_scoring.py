"""Reading the photographs of a batch."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from datasets.framing import Framing
from datasets.remarks import Remarks
from experiments.predict.scoring import _load
from experiments.run.image_folder import print_notes
from tests.odd_image_files import png16


def test_a_doubtful_bit_depth_causes_one_warning(tmp_path, capsys):
    record = SimpleNamespace(wide_bit_depth=16, bit_depth=8)
    framing = Framing((4, 4), 1, is_texture=True)
    detector: Any = SimpleNamespace(
        record=record,
        rgb=lambda image: image,
        predictor=SimpleNamespace(framing=framing),
    )
    remarks = Remarks(lambda line: print_notes([line]))
    for i in range(3):
        path = png16(tmp_path / f"{i}.png", np.full((4, 4, 3), 4080, np.uint16))
        loaded = _load(path, detector, remarks, 0)
        assert isinstance(loaded, np.ndarray) and (loaded == 15).all()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path / '0.png'} has values up to 4080")
    assert "16 times too dark" in line
