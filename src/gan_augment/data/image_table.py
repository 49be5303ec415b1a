"""A table of image files with their class, part and group: CSV, or the `dataset.json` of StyleGAN."""

import csv
import json
import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import defaultdict
from collections.abc import Mapping, Sequence
from io import StringIO
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from gan_augment.data.listing import count, is_image, leads_out, list_files, refuse_outside, shown
from gan_augment.data.names import check_one_label, not_a_part, part_of, same_name
from gan_augment.data.source import UNLABELLED, Place
from gan_augment.records.received import read_regular

COLUMNS = ("file", "label", "split", "group")
# How the columns of others are called that have the file and the label.
LIKE_FILE = re.compile("file|image|img|path|photo|picture", re.IGNORECASE)
LIKE_LABEL = re.compile("^dx$|^y$|label|class|target|categ|diagnos|species|breed|finding", re.IGNORECASE)
DELIMITERS = ",;\t|"
MOST_BYTES = 2**28  # of a table
UTF_16 = (BOM_UTF16_LE, BOM_UTF16_BE)  # Excel writes it, and UTF-8, with such a mark
MOST_LINES = 20  # problems listed in an error
EXTRA = "\n"  # stands for the name of cells that no column has; names are without spaces around them
ONE_HOT = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}

Row = Mapping[str, str]
Columns = Mapping[str, str | Sequence[str]]  # file, label, split, group -> the table's column; of label also several


def read_table(
    root: Path, table: str, columns: Columns | None, follow_links: bool
) -> tuple[dict[str, Place], dict[str, str] | None]:
    """Return the place of each image file in a table, and its group; None without such a column.

    Files are relative to the root. One that is not there is looked for without its extension, in other spellings, and,
    if the table gives no folder, in all folders.

    Raises:
        ValueError: If the table cannot be read, or leaves a file or a label open.
    """
    header, rows = _read(table)
    named = _name_columns(table, header, rows, columns)
    if not rows:
        raise ValueError(f"data.table={table} has no row: write one for each image")

    where: dict[str, str] = {}
    places: dict[str, Place] = {}
    groups: dict[str, str] = {}
    outside: list[str] = []
    problems: list[str] = []
    index: dict[str, list[str]] | None = None
    for line, row in rows:
        said, part = row[str(named["file"])].strip(), row.get(str(named.get("split")), "").strip()
        path, problem = os.path.join(root, said), ""
        if not os.path.isfile(path):
            index = _index(root, follow_links) if index is None else index
            found = index.get(same_name(said.replace("\\", "/")), [])
            problem = f"{shown(said)!r} may be {' or '.join(map(shown, found))}: write the whole name"
            if len(found) == 1:
                path, problem = os.path.join(root, found[0]), ""
            elif not found:
                problem = f"no file {shown(said)!r} in {root}"
        file = os.path.relpath(path, root)
        label, wrong = _label(row, named["label"])
        if not problem and file in where:
            problem = f"{shown(file)} is in {where[file]} too"
        if row[EXTRA].strip():
            problem = "more cells than columns: quote a cell that has a delimiter in it"
        elif not problem and part_of(part) != UNLABELLED and (wrong or not label):
            problem = wrong or "no label"
        elif not problem and "split" in named and part_of(part) is None:
            problem = f"split {not_a_part(part)}"
        if problem:
            problems.append(f"{line}: {problem}")
        elif not follow_links and leads_out(path, root):
            outside.append(file)
        where.setdefault(file, line)
        places[file], groups[file] = (part_of(part) or "", label), row.get(str(named.get("group")), "").strip()
    if problems:
        more = [f"and {len(problems) - MOST_LINES} more"] if len(problems) > MOST_LINES else []
        head = f"data.table={table} has {count(problems, 'problem')}:"
        raise ValueError("\n".join([head, *problems[:MOST_LINES], *more]))
    refuse_outside(outside, root)
    check_one_label(f"data.table={table}", {label for _, label in places.values()})
    return places, groups if "group" in named else None


def _read(table: str) -> tuple[list[str], list[tuple[str, Row]]]:
    """Return the names of a table's columns, and each row with its place in words."""
    file, kind = Path(str(table)).expanduser(), "CSV"
    try:
        content = read_regular(file, MOST_BYTES)
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
        if "\0" in text:  # UTF-32, or UTF-16 without its mark
            raise UnicodeError
        if file.suffix.lower() == ".json":
            kind = "the dataset.json of StyleGAN"
            return ["file", "label"], _read_json(json.loads(text)["labels"])
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
        rows: list[tuple[str, Row]] = []
        for cells in filter(any, reader):
            padded = cells + [""] * (len(header) - len(cells))
            row = dict(zip(header, padded, strict=False)) | {EXTRA: "".join(cells[len(header) :])}
            rows.append((f"line {reader.line_num}", row))
    except UnicodeError as error:
        raise ValueError(f"data.table={table} is not in UTF-8: save it so, in Excel as 'CSV UTF-8'") from error
    except (OSError, csv.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"data.table={table} cannot be read as {kind}: {error}") from error
    return header, rows


def _read_json(labels: Any) -> list[tuple[str, Row]]:
    """Read the pairs of a file and its class, a number or a one-hot vector; raise if they are something else."""
    if not isinstance(labels, list):
        raise ValueError("it has no labels")
    rows: list[tuple[str, Row]] = []
    for number, (file, label) in enumerate(labels):
        if isinstance(label, list) and label.count(1) == 1 and label.count(0) == len(label) - 1:
            label = label.index(1)
        if not isinstance(label, int | str):
            raise ValueError(f"the label of {file} is {label}: one class is due, as a number or a one-hot vector")
        rows.append((f"entry {number}", {"file": str(file), "label": str(label), EXTRA: ""}))
    return rows


def _name_columns(
    table: str, header: Sequence[str], rows: Sequence[tuple[str, Row]], columns: Columns | None
) -> dict[str, str | list[str]]:
    """Return the table's column for each of file, label, split and group; for one-hot labels, several columns."""
    if columns is not None and not (isinstance(columns, Mapping) and set(columns) <= set(COLUMNS)):
        raise ValueError(f"data.columns={columns}: use some of {', '.join(COLUMNS)} with a column each")
    spelled = {same_name(name): name for name in reversed(header)}
    named: dict[str, str | list[str]] = {name: spelled[name] for name in COLUMNS if name in spelled}
    for name, given in (columns or {}).items():
        several = isinstance(given, list | tuple)
        wanted = [str(one) for one in (given if several else [given])]
        if unknown := [one for one in wanted if same_name(one) not in spelled]:
            raise ValueError(f"data.columns names {', '.join(unknown)}, but data.table={table} has {', '.join(header)}")
        if several and name != "label":
            raise ValueError(f"data.columns: {name} is {given}: use one column; only a one-hot label has several")
        found = [spelled[same_name(one)] for one in wanted]
        named[name] = found if several else found[0]
    if not {"file", "label"} <= set(named):
        raise ValueError(f"data.table={table} has the columns {header}: {_which_columns(header, rows)}")
    spellings = [same_name(name) for name in header]
    used = chain.from_iterable([one] if isinstance(one, str) else one for one in named.values())
    if twice := [name for name in used if spellings.count(same_name(name)) > 1]:
        raise ValueError(f"data.table={table} has several columns {twice[0]}: give them different names")
    return named


def _which_columns(header: Sequence[str], rows: Sequence[tuple[str, Row]]) -> str:
    """Say how to name columns, with a guess: by their names, or else the first is the file and the next the label."""
    remedy = "name them file, label and optionally split and group"
    one_hot = [name for name in header if rows and all(same_name(row[name]) in ONE_HOT for _, row in rows)]
    names = [name for name in header if name and name not in one_hot]
    files = sorted(names, key=lambda name: not LIKE_FILE.search(name))[:1]
    labels = sorted((name for name in names if name not in files), key=lambda name: not LIKE_LABEL.search(name))[:1]
    if len(one_hot) > 1 and not (labels and LIKE_LABEL.search(labels[0])):
        labels = one_hot
    if not (files and labels):
        return remedy
    file, *quoted = (name if re.fullmatch(r"[A-Za-z_]\w*", name) else f'"{name}"' for name in (*files, *labels))
    label = quoted[0] if len(quoted) == 1 else f"[{', '.join(quoted)}]"
    return f"{remedy}, or say which is which, such as 'data.columns={{file: {file}, label: {label}}}'"


def _label(row: Row, columns: str | list[str]) -> tuple[str, str]:
    """Return the label of a row, and what is wrong with it, each empty for nothing."""
    if isinstance(columns, str):
        return row[columns].strip(), ""
    if odd := [name for name in columns if same_name(row[name]) not in ONE_HOT]:
        return "", f"{odd[0]} is {row[odd[0]]!r}: use 0 or 1 in each column of a one-hot label"
    labels = [name for name in columns if ONE_HOT[same_name(row[name])]]
    if len(labels) > 1:
        return "", f"the labels {', '.join(labels)}: an image has one label here, and several are not supported"
    return "".join(labels), ""


def _index(root: Path, follow_links: bool) -> dict[str, list[str]]:
    """Return the image files that a table may mean by a name: without folder or extension, in any spelling."""
    index: dict[str, list[str]] = defaultdict(list)
    for file in filter(is_image, list_files(root, follow_links)[0]):
        path = PurePosixPath(file)
        for name in {same_name(str(one)) for one in (path, path.with_suffix(""), path.name, path.stem)}:
            index[name].append(file)
    return index
