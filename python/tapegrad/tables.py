"""Tables: reading CSV files, and turning their columns into numbers for a model."""

from __future__ import annotations

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ._preprocess import OneHot as OneHot
from ._preprocess import Standardize as Standardize
from ._preprocess import train_test_split as train_test_split

BLANKS = frozenset({"", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null"})
MAX_CATEGORIES = 50
_MOSTLY_NUMERIC = 0.9  # from this share of numbers on, a text among them is taken for a mistake


@dataclass
class Table:
    """The fields of a CSV file as texts, stripped of surrounding space: one list per column, in the header's order."""

    path: str
    names: list[str]
    columns: dict[str, list[str]]
    lines: list[int]  # the line of the file on which each row starts

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """The texts of a column. Raises ValueError that lists the columns there are."""
        if name not in self.columns:
            raise ValueError(f"{self.path}: no column {name!r}; columns: {', '.join(self.names)}")
        return self.columns[name]

    def where(self, row: int, name: str) -> str:
        """The place of a field, for messages."""
        return f"{self.path}, line {self.lines[row]}, column {name!r}"


def read_csv(
    path: str | os.PathLike,
    delimiter: str | None = None,
    *,
    names: Sequence[str] | None = None,
    comment: str | None = None,
) -> Table:
    """Reads a CSV file; quoted fields may hold delimiters and newlines.

    delimiter: one character; by default the most frequent of comma, semicolon, tab and bar in the first line.
    names: the columns of a file without a header line; by default the first line names them.
    comment: lines that start with this text are skipped, as empty lines always are.

    Raises ValueError that names the file and the line (the byte offset for text that is not UTF-8) when a line has too
    few or too many fields, the header is missing or repeats a name, there are no rows, a quote is not closed, or the
    file holds NUL bytes.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        data = file.read()
    text = _decode(path, data)
    if not text.strip():
        raise ValueError(f"{path}: the file is empty")
    comments = (comment,) if comment else ()
    if delimiter is None:
        first = next((line for line in text.splitlines() if line.strip() and not line.startswith(comments)), "")
        delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    headed, names = names is None, _distinct("names", names or [])
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 1
    try:
        for fields in reader:
            if not fields or (len(fields) == 1 and len(names) != 1 and not fields[0].strip()):
                pass  # an empty line
            elif fields[0].startswith(comments):
                pass
            elif not names:
                names = _header(path, line, fields)
            elif len(fields) != len(names):
                raise ValueError(f"{path}, line {line}: expected {len(names)} fields, got {len(fields)}")
            else:
                rows.append(fields)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: {'a header but ' if headed else ''}no rows")
    columns = {
        name: [field.strip() for field in column] for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    return Table(path, names, columns, lines)


def _decode(path: str, data: bytes) -> str:
    nul = data.find(b"\0")
    if nul >= 0:
        raise ValueError(f"{path}, line {data.count(10, 0, nul) + 1}: a NUL byte at offset {nul}; is this a text file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: not UTF-8, byte 0x{data[error.start]:02x} at offset {error.start}"
        ) from None


def _header(path: str, line: int, fields: list[str]) -> list[str]:
    names = [name.strip() for name in fields]
    if all(_number(name) is not None for name in names):
        raise ValueError(
            f"{path}, line {line}: the first line must name the columns, but it holds only numbers; "
            "name the columns of a file without a header by names=[...]"
        )
    return _distinct(f"{path}, line {line}", names)


def _distinct(where: str, names: Sequence[str]) -> list[str]:
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{where}: {count} columns are named {name!r}")
    return list(names)


def _number(text: str) -> float | None:
    """The finite number a text stands for, or None. Python's digit groups ("1_000") are not numbers here."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def column_numbers(table: Table, name: str) -> np.ndarray | None:
    """The column as float64 with nan for blanks, or None when it holds text (or nothing but blanks).

    Raises ValueError that names line and value when at least 90% of its fields, but not all, are numbers.
    """
    texts = table.column(name)
    values = np.full(len(texts), np.nan)
    strays = []
    present = 0
    for row, text in enumerate(texts):
        if text in BLANKS:
            continue
        present += 1
        value = _number(text)
        if value is None:
            strays.append(row)
        else:
            values[row] = value
    if present == 0 or len(strays) > (1 - _MOSTLY_NUMERIC) * present:
        return None
    if strays:
        raise ValueError(
            f"{table.where(strays[0], name)}: {texts[strays[0]]!r} is not a number, as {present - len(strays)} of the "
            f"column's {present} values are; correct it, leave it blank, or leave the column out"
        )
    return values


@dataclass
class NumericColumn:
    """A column of numbers: blanks become the median, then (x - mean) / std."""

    name: str
    median: float
    mean: float
    std: float
    kind: str = "numeric"

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> NumericColumn:
        """Takes the statistics from `values`; a constant column gets std 1 and so becomes zeros."""
        median = float(np.nanmedian(values))
        filled = np.where(np.isnan(values), median, values)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = float(filled.mean()), float(filled.std())
        if not math.isfinite(mean) or not math.isfinite(std):
            raise ValueError(f"column {name!r}: its numbers are too large to standardise")
        return cls(name, median, mean, std if std > 1e-12 * abs(mean) else 1.0)

    @property
    def width(self) -> int:
        return 1

    def transform(self, values: np.ndarray) -> np.ndarray:
        """values (N,) with nan for blanks -> (N, 1)."""
        return ((np.where(np.isnan(values), self.median, values) - self.mean) / self.std)[:, None]


@dataclass
class TextColumn:
    """A column of texts: one column of 0 and 1 per category.

    Blanks are a category ("") when the training rows have them, else they count as the most frequent category. With
    `other`, categories beyond the most frequent ones share a last column; without, an unknown category is all zeros.
    """

    name: str
    categories: list[str]  # most frequent first
    other: bool
    kind: str = "text"

    @classmethod
    def fit(cls, name: str, texts: list[str], max_categories: int = MAX_CATEGORIES) -> TextColumn:
        counts = Counter("" if text in BLANKS else text for text in texts)
        ranked = sorted(counts, key=lambda text: (-counts[text], text))
        return cls(name, ranked[:max_categories], len(ranked) > max_categories)

    @property
    def width(self) -> int:
        return len(self.categories) + self.other

    def transform(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """texts -> (N, width), and how many of them (blanks aside) are in no category and have no `other` to go to."""
        places = {text: place for place, text in enumerate(self.categories)}
        blank = places.get("", 0)
        last = len(self.categories) if self.other else -1
        codes = np.array([blank if text in BLANKS else places.get(text, last) for text in texts], dtype=np.int64)
        hot = np.zeros((len(texts), self.width))
        known = codes >= 0
        hot[np.flatnonzero(known), codes[known]] = 1.0
        return hot, int((~known).sum())


@dataclass
class Counts:
    """What transform() had to fill in: numbers of fields by column name."""

    blanks: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)


@dataclass
class Features:
    """Turns a table's columns into the rows of numbers a model takes; made by fit(), kept as to_dict()."""

    columns: list[NumericColumn | TextColumn]

    @classmethod
    def fit(cls, table: Table, names: list[str], rows: np.ndarray, max_categories: int = MAX_CATEGORIES) -> Features:
        """Learns the preprocessing of the columns `names` from the given rows alone.

        Columns that are blank in all of these rows are left out. Raises ValueError when none is left.
        """
        columns = []
        for name in names:
            values = column_numbers(table, name)
            if values is not None and not np.isnan(values[rows]).all():
                columns.append(NumericColumn.fit(name, values[rows]))
            elif values is None:
                texts = table.column(name)
                chosen = [texts[row] for row in rows]
                if not BLANKS.issuperset(chosen):
                    columns.append(TextColumn.fit(name, chosen, max_categories))
        if not columns:
            raise ValueError(f"{table.path}: no column to learn from besides the target")
        return cls(columns)

    @property
    def width(self) -> int:
        """The number of inputs the model gets."""
        return sum(column.width for column in self.columns)

    def transform(self, table: Table) -> tuple[np.ndarray, Counts]:
        """All rows of a table as float32 (N, width), and what was filled in.

        Raises ValueError that names the file and the columns it lacks, or the place of a text in a column of numbers.
        """
        missing = [column.name for column in self.columns if column.name not in table.columns]
        if missing:
            raise ValueError(f"{table.path}: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}")
        counts = Counts()
        parts = []
        for column in self.columns:
            texts = table.column(column.name)
            blanks = sum(text in BLANKS for text in texts)
            if blanks:
                counts.blanks[column.name] = blanks
            if column.kind == "numeric":
                parts.append(column.transform(_required_numbers(table, column.name)))
            else:
                part, unknown = column.transform(texts)
                parts.append(part)
                if unknown:
                    counts.unknown[column.name] = unknown
        return np.concatenate(parts, axis=1).astype(np.float32), counts

    def to_dict(self) -> list[dict]:
        """Plain lists and dictionaries, for JSON."""
        return [vars(column).copy() for column in self.columns]

    @classmethod
    def from_dict(cls, columns: list[dict]) -> Features:
        kinds = {"numeric": NumericColumn, "text": TextColumn}
        return cls([kinds[column["kind"]](**column) for column in columns])


def _required_numbers(table: Table, name: str) -> np.ndarray:
    """The column as float64 with nan for blanks. Raises ValueError at the first text."""
    values = np.full(len(table), np.nan)
    for row, text in enumerate(table.column(name)):
        if text not in BLANKS:
            value = _number(text)
            if value is None:
                raise ValueError(f"{table.where(row, name)}: {text!r} is not a number, as the model expects here")
            values[row] = value
    return values


@dataclass
class Target:
    """What a table's model predicts: one of `classes`, or a number, standardised by `mean` and `std` while training."""

    name: str
    task: str  # "classification" or "regression"
    classes: list[str] = field(default_factory=list)
    mean: float = 0.0
    std: float = 1.0

    @property
    def width(self) -> int:
        """The number of outputs of the model."""
        return len(self.classes) if self.task == "classification" else 1

    def encode(self, table: Table) -> np.ndarray:
        """The target column: int64 class indices (-1: blank, or a class not learned), or float64 (nan: blank)."""
        if self.task == "regression":
            return _required_numbers(table, self.name)
        places = {name: place for place, name in enumerate(self.classes)}
        texts = [_class_name(text) for text in table.column(self.name)]
        return np.array([-1 if text in BLANKS else places.get(text, -1) for text in texts], dtype=np.int64)


def find_target(table: Table, name: str, task: str | None = None) -> Target:
    """Decides what kind of target a column is, and finds its classes.

    Texts, and whole numbers of at most 20 different values, are classes; other numbers are a regression. `task`
    ("classification" or "regression") overrides this. Raises ValueError when the column does not fit the task: text
    where a number is needed (naming the place), a single value, or classes that hardly ever occur twice.
    """
    texts = table.column(name)
    if BLANKS.issuperset(texts):
        raise ValueError(f"{table.path}: column {name!r} is blank in every row")
    if task == "regression":
        values = _required_numbers(table, name)
    else:
        values = column_numbers(table, name)
    if task is None:
        found = np.empty(0) if values is None else np.unique(values[~np.isnan(values)])
        task = "classification" if len(found) <= 20 and (found == np.round(found)).all() else "regression"
    present = {_class_name(text) for text in texts} - BLANKS
    if len(present) < 2:
        raise ValueError(f"{table.path}: column {name!r} has only one value, {present.pop()!r}: nothing to learn")
    if task == "regression":
        return Target(name, task)
    if len(present) > max(20, len(table) // 2):
        raise ValueError(
            f"{table.path}: column {name!r} has {len(present)} different values in {len(table)} rows: "
            "too many to be classes"
        )
    numeric = all(_number(text) is not None for text in present)
    return Target(name, task, sorted(present, key=float if numeric else None))


def _class_name(text: str) -> str:
    """One spelling for each class: "1", "1.0" and "01" are one."""
    value = _number(text)
    return text if value is None else (str(int(value)) if value == int(value) else repr(value))


def split_rows(rows: np.ndarray, test_size: float, seed: int, labels: np.ndarray | None = None):
    """Shuffles `rows` by `numpy.random.default_rng(seed)` and cuts them into (training, test) rows, both sorted.

    With labels (one per row of `rows`) each class is cut in the same proportion; a class of one row is for training.
    Raises ValueError when either part would be empty.
    """
    random = np.random.default_rng(seed)
    groups = [rows] if labels is None else [rows[labels == label] for label in np.unique(labels)]
    test = []
    for group in groups:
        shuffled = random.permutation(group)
        test.append(shuffled[: min(round(test_size * len(group)), len(group) - 1)])
    test = np.sort(np.concatenate(test))
    if len(test) == 0:
        raise ValueError(f"{len(rows)} rows are too few to hold out a share of {test_size:g} for testing")
    return np.setdiff1d(rows, test), test
