"""UTMOS22 of one waveform, with weights that a person supplies."""

from dataclasses import dataclass, field
from typing import Any

from eval.protocols import FigureInfo, Item, MetricInfo, Score, WeightSpec
from eval.weights import require_weight

from .mos import RATE, Part, heard_part

UTMOS22 = WeightSpec(
    "utmos22_strong",
    "MIT",
    "get utmos22_strong_step7459_v1.pt from release v1.0.0 of tarepan/SpeechMOS on GitHub",
)


@dataclass
class UtmosMetric:
    """UTMOS22, strong learner, of one waveform of an item.

    The network is built here and was never run on the published weights, which do not come with
    this toolkit: check it on a clip whose score is known before a number is published.

    Args:
        part: "estimate", or "reference" for the originals that belong beside it.
    """

    part: Part = "estimate"
    _network: Any = field(default=None, repr=False)

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        suffix = "" if self.part == "estimate" else "_original"
        return MetricInfo(
            id=f"utmos22{suffix}.strong_speechmos1",
            definition=f"UTMOS22 strong learner without phonemes of the {self.part} at 16 kHz, "
            "one judge and one domain, mean over frames, level as it is",
            needs=frozenset({self.part}),
            figures=(FigureInfo("utmos22", higher_is_better=True),),
            sample_rate=RATE,
            packages=(("transformers", ""),),
            weights=(UTMOS22,),
            alternative="distillmos",
            is_large=True,
        )

    def prepare(self) -> None:
        """Loads the weights; nothing is unpickled but tensors.

        Raises:
            ValueError: The weights are missing or of another network.
        """
        if self._network is not None:
            return
        import torch

        from .utmos_network import UtmosNetwork

        network = UtmosNetwork()
        path = require_weight(UTMOS22)
        network.load_published(torch.load(path, map_location="cpu", weights_only=True))
        self._network = network.eval()

    def score(self, item: Item) -> Score:
        """Opinion from about 1 to 5; see `Metric`."""
        import torch

        self.prepare()
        waveform = torch.from_numpy(heard_part(item, self.part))
        with torch.inference_mode():
            return Score({"utmos22": float(self._network(waveform[None])[0])})

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the network behind, so that the metric can be sent to a worker process."""
        return {"part": self.part, "_network": None}
