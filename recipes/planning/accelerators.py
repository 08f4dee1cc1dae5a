"""Published peak rates, memory and links of accelerators, for plans without a measurement.

Dense (not sparse) bfloat16 TFLOP/s with float32 sums, memory in units of 10^9 bytes, memory and
link bandwidth in 10^9 bytes a second; the link is what one accelerator sends to the others of its
node in one direction. From NVIDIA's data sheets: A100 (2022), H100 (2023), H200 (2024), HGX B200
(2025), L40S (2023), L4 (2023), A10 (2022), RTX A6000 (2021), and its Ampere (2021) and Ada (2022)
GPU architecture white papers for the GeForce cards, whose products with float32 sums run at half
the rate of those with float16 sums. Sheets that give rates with sparsity were halved.
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.checks import require


@dataclass(frozen=True)
class Accelerator:
    """One kind of device."""

    tflops: float  # peak of dense bfloat16 products, 10^12 operations a second
    memory_gb: float  # 10^9 bytes
    bandwidth_gbs: float  # of its memory, 10^9 bytes a second
    link_gbs: float  # to the others of a node, one direction, 10^9 bytes a second
    link: str  # its kind


ACCELERATORS: dict[str, Accelerator] = {
    "B200": Accelerator(2250, 180, 7700, 900, "NVLink 5"),
    "H200": Accelerator(989, 141, 4800, 450, "NVLink 4"),
    "H100": Accelerator(989, 80, 3350, 450, "NVLink 4"),
    "H100-PCIe": Accelerator(756, 80, 2000, 64, "PCIe 5"),
    "A100-80GB": Accelerator(312, 80, 2039, 300, "NVLink 3"),
    "A100-40GB": Accelerator(312, 40, 1555, 300, "NVLink 3"),
    "L40S": Accelerator(362, 48, 864, 32, "PCIe 4"),
    "L4": Accelerator(121, 24, 300, 32, "PCIe 4"),
    "A10": Accelerator(125, 24, 600, 32, "PCIe 4"),
    "A6000": Accelerator(155, 48, 768, 32, "PCIe 4"),
    "RTX-4090": Accelerator(165, 24, 1008, 32, "PCIe 4"),
    "RTX-3090": Accelerator(71, 24, 936, 32, "PCIe 4"),
}


def accelerator(name: str) -> Accelerator:
    """Look up an accelerator by its name, whatever its case.

    Raises:
        ValueError: There is none of that name.
    """
    known = {key.lower(): value for key, value in ACCELERATORS.items()}
    require(name.lower() in known, "gpu", f"one of {', '.join(ACCELERATORS)}", name)
    return known[name.lower()]
