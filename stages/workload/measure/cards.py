"""What NVIDIA says its cards reach: dense products of matrices, by number format, and the memory's bytes per second.

From data sheets, product pages and architecture white papers, at the card's boost clock, without sparsity: of a number
that is given with it alone, half; of a number for several GPUs, one's share. fp16 and bf16 are summed up in fp32, as
torch has it (P100 sums in fp16): where tensor cores are slower at that, as on GeForce cards, it is what stands here.
Names are the driver's, without the maker's and the series'. What the source does not have is left out, as is what
NVIDIA's documents differ on (the memory of the T4 and the B200) and a name that unlike cards share (RTX 3080: 10 and
12 GB). Runs inside images: Python 3.7 syntax, standard library only.
"""

import re
from typing import Dict, NamedTuple, Optional


class Card(NamedTuple):
    """One kind of card."""

    source: str
    tera: Dict[str, float]  # by number format, 1e12 operations per second
    gigabytes: Optional[float]  # 1e9 bytes per second of its memory


def _card(
    source: str,
    gigabytes: Optional[float],
    fp32: Optional[float],
    tf32: Optional[float] = None,
    fp16: Optional[float] = None,
    bf16: Optional[float] = None,
) -> Card:
    given = {"fp32": fp32, "tf32": tf32, "fp16": fp16, "bf16": bf16}
    return Card("NVIDIA's " + source, {name: each for name, each in given.items() if each is not None}, gigabytes)


_GA102 = "white paper 'NVIDIA Ampere GA102 GPU Architecture'"
_AD102 = "white paper 'NVIDIA Ada GPU Architecture'"
_GB202 = "white paper 'NVIDIA RTX Blackwell GPU Architecture'"
_GH100 = "white paper 'NVIDIA H100 Tensor Core GPU Architecture'"

CARDS = {
    r"P100-PCIE-16GB": _card("data sheet of the Tesla P100", 732, 9.3, fp16=18.7),
    r"P100-PCIE-12GB": _card("data sheet of the Tesla P100", None, 9.3, fp16=18.7),
    r"P100-SXM2-16GB": _card("data sheet of the Tesla P100", 732, 10.6, fp16=21.2),
    r"V100-SXM2-(16|32)GB": _card("data sheet of the V100", 900, 15.7, fp16=125),
    r"V100-PCIE-(16|32)GB": _card("data sheet of the V100", 900, 14, fp16=112),
    r"V100S-PCIE-32GB": _card("data sheet of the V100", 1134, 16.4, fp16=130),
    r"T4": _card("data sheet of the T4", None, 8.1, fp16=65),
    r"A100-SXM4-40GB": _card("data sheet of the A100", 1555, 19.5, 156, 312, 312),
    r"A100-SXM4-80GB": _card("data sheet of the A100", 2039, 19.5, 156, 312, 312),
    r"A100-PCIE-40GB": _card("data sheet of the A100", 1555, 19.5, 156, 312, 312),
    r"A100 80GB PCIe": _card("data sheet of the A100", 1935, 19.5, 156, 312, 312),
    r"A30": _card("data sheet of the A30", 933, 10.3, 82, 165, 165),
    r"A40": _card("data sheet of the A40", 696, 37.4, 74.8, 149.7, 149.7),
    r"A10": _card("data sheet of the A10", 600, 31.2, 62.5, 125, 125),
    r"RTX 3090": _card(_GA102, 936, 35.6, 35.6, 71, 71),
    r"L4": _card("data sheet of the L4", 300, 30.3, 60, 121, 121),
    r"L40": _card("data sheet of the L40", 864, 90.5, 90.5, 181.05, 181.05),
    r"L40S": _card("data sheet of the L40S", 864, 91.6, 183, 362.05, 362.05),
    r"RTX 4090": _card(_AD102, 1008, 82.6, 82.6, 165.2, 165.2),
    r"H100 80GB HBM3": _card(_GH100, 3352, 66.9, 494.7, 989.4, 989.4),
    r"H100 PCIe": _card(_GH100, 2039, 51.2, 378, 756, 756),
    r"H100 NVL": _card("data sheet of the H100", 3900, 60, 417.5, 835.5, 835.5),
    r"H200": _card("data sheet of the H200", 4800, 67, 494.5, 989.5, 989.5),
    r"H200 NVL": _card("data sheet of the H200", 4800, 60, 417.5, 835.5, 835.5),
    r"GH200 480GB": _card("data sheet of the GH200", 4000, None, 494, 990, 990),
    r"GH200 144G HBM3e": _card("data sheet of the GH200", 4900, None, 494, 990, 990),
    r"B200": _card("product page of the HGX B200", None, 75, 1125, 2250, 2250),
    r"GB200": _card("product page of the GB200 NVL72", 8000, 80, 1250, 2500, 2500),
    r"RTX 5080": _card(_GB202, 960, None, 56.3, 112.6, 112.6),
    r"RTX 5090": _card(_GB202, 1792, 104.8, 104.8, 209.5, 209.5),
}


def find(name: str) -> Optional[Card]:
    """Return what is known of the card that the driver calls so; None where that is not in the table, word for word.

    An A10G is no A10, a card of a laptop or for one country none of a workstation.
    """
    plain = re.sub(r"^(NVIDIA |Tesla |GeForce )+", "", name.strip())
    return next((card for pattern, card in CARDS.items() if re.fullmatch(pattern, plain)), None)
