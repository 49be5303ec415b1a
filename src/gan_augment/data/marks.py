"""The mark of synthetic images: written with them, and checked before anything trains.

A PNG carries it in its texts, an `.npz` as a member. Saving the pixels again with another program may remove it. A PNG
also has the mark that photo libraries and platforms read: IPTC's digital source type in XMP. That mark is recognised in
images of other programs too.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY = "gan-augment-synthetic"  # of a PNG's texts
MEMBER = "synthetic"  # of an npz
XMP = "XML:com.adobe.xmp"  # of a PNG's texts
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"  # made by a trained model
PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <Iptc4xmpExt:DigitalSourceType>{TRAINED}</Iptc4xmpExt:DigitalSourceType>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
MAKER = f"gan-augment {version('gan-augment')}"


def png_mark(label: str, provenance: Mapping[str, Any]) -> PngInfo:
    """Return the texts that mark a PNG as synthetic: its class, and where it comes from, as plain values."""
    texts = PngInfo()
    texts.add_text(KEY, json.dumps({"label": label, **provenance}))
    texts.add_itxt(XMP, PACKET)
    texts.add_text("Software", MAKER)
    texts.add_text("Description", f"Synthetic image of class {label}, made by a generator: not a photograph")
    return texts


def read_mark(image: Image.Image) -> str | None:
    """Return the synthetic mark of a loaded image, None if it has none."""
    packet = image.info.get(XMP) or image.info.get("xmp") or ""  # a PNG's and other formats' XMP
    packet = packet.decode(errors="replace") if isinstance(packet, bytes) else str(packet)
    return image.info.get(KEY) or (TRAINED if TRAINED.rpartition("/")[2] in packet else None)


def check_marked(setting: str, num_marked: int, num_images: int, example: str, allow_synthetic: bool) -> list[str]:
    """Return a note if images are marked as synthetic, or none; the setting, with its value, says which images.

    Raises:
        ValueError: If there are marked images that are not allowed.
    """
    if not num_marked:
        return []
    marked = f"{num_marked:,} of {num_images:,} images {'is' if num_marked == 1 else 'are'} marked as synthetic"
    if not allow_synthetic:
        raise ValueError(
            f"{setting}: {marked}, for example {example}: a test on them would measure the generator; "
            "remove them, or set data.allow_synthetic=true"
        )
    return [marked]
