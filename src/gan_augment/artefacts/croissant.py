"""The description of a synthetic set in Croissant, which search engines and data loaders read.

Croissant is a vocabulary of MLCommons on top of schema.org (Akhtar et al. 2024, version 1.0).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VERSION = "http://mlcommons.org/croissant/1.0"
TERMS = (  # of Croissant, which its context lists one by one
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format"),
    *("includes", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
    *("replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "isLiveDataset": "cr:isLiveDataset",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{term: f"cr:{term}" for term in TERMS},
}


def croissant(
    name: str, description: str, licence: str, table: Path, columns: Mapping[str, Sequence[Any]], images: Path | str
) -> str:
    """Describe a synthetic set as JSON-LD.

    Args:
        name: Of the set.
        description: A few sentences.
        licence: The set's licence, such as `cc-by-4.0`.
        table: The manifest, whose columns become the fields of its records; the images lie next to it.
        columns: Values of each column, from which its data type follows.
        images: The `.npz` file with the images, or a pattern for their PNG files, relative to the manifest.
    """
    pictures: dict[str, Any] = {"@type": "cr:FileSet", "includes": images, "encodingFormat": "image/png"}
    if isinstance(images, Path):
        pictures = _file(images, "application/x-npz")
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"records/{column}",
            "name": column,
            "dataType": _type_of(values),
            "source": {"fileObject": {"@id": "manifest"}, "extract": {"column": column}},
        }
        for column, values in columns.items()
    ]
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": name,
        "description": description,
        "license": licence,
        "keywords": ["synthetic", "gan-augment"],
        "version": "1.0.0",
        "distribution": [
            {"@id": "manifest", **_file(table, "text/csv")},
            {"@id": "images", "name": "images", **pictures},
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "records", "name": "records", "field": fields}],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _file(path: Path, encoding: str) -> dict[str, str]:
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": encoding,
        "sha256": checksum,
    }


def _type_of(values: Sequence[Any]) -> str:
    """Return the data type of a column: a column with a missing value is text."""
    if values and all(isinstance(value, int) for value in values):
        return "sc:Integer"
    return "sc:Float" if values and all(isinstance(value, int | float) for value in values) else "sc:Text"
