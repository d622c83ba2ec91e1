"""tapegrad.tables: reading CSV files, column kinds, preprocessing, targets and splits."""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapegrad.tables import Features, Target, column_numbers, find_target, read_csv, split_rows


@pytest.fixture
def table(tmp_path):
    def write(text, **options):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_csv(path, **options)

    return write


def test_quotes_blank_lines_bom_and_line_numbers(table):
    t = table('\ufeff\na, "b, c",d\r\n1,"x, ""y""",\r\n\r\n2,"two\nlines",z\n  \n3,w,v\n')
    assert t.names == ["a", "b, c", "d"]
    assert t.columns == {"a": ["1", "2", "3"], "b, c": ['x, "y"', "two\nlines", "w"], "d": ["", "z", "v"]}
    assert t.lines == [3, 5, 8] and len(t) == 3


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_delimiter_is_found(table, delimiter):
    t = table(f"a{delimiter}b c{delimiter}d\n1{delimiter}2{delimiter}3\n")
    assert t.names == ["a", "b c", "d"]
    assert table("a:b\n1:2", delimiter=":").names == ["a", "b"]


def test_a_file_without_header_and_with_comments(table):
    """The layout of UCI's files: adult.test begins with a line of another kind."""
    t = table("|1x3 Cross validator\n\n39, x, <=50K.\n| and\n50, ?, >50K.\n", names=["age", "job", "y"], comment="|")
    assert t.columns == {"age": ["39", "50"], "job": ["x", "?"], "y": ["<=50K.", ">50K."]}
    assert t.lines == [3, 5]
    assert table("#,;;;;\na,b\n#1,2\n1,2\n", comment="#").columns == {"a": ["1"], "b": ["2"]}
    assert table("1,2\n", names=("a", "b")).names == ["a", "b"]
    for names, message in (
        (["a"], "line 1: expected 1 fields, got 2"),
        (["a", "a"], "^names: 2 columns are named 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            table("1,2\n", names=names)
    with pytest.raises(ValueError, match=r"t\.csv: no rows"):
        table("#1,2\n", names=["a", "b"], comment="#")
    with pytest.raises(ValueError, match=r"only numbers; name the columns .* by names=\[\.\.\.\]"):
        table("1,2\n3,4\n")


def test_a_single_column_keeps_its_blanks(table):
    assert table("a\n1\n \n3\n").columns["a"] == ["1", "", "3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n1,2,3\n", "line 4: expected 2 fields, got 3"),
        ('a,b\n"x\ny",2\n1\n', "line 4: expected 2 fields, got 1"),
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("a,b\n", "a header but no rows"),
        ("1,2.5\n3,4\n", "line 1: the first line must name the columns, but it holds only numbers"),
        ("a,b,a\n1,2,3\n", "line 1: 2 columns are named 'a'"),
        ("a,,\n1,2,3\n", "line 1: 2 columns are named ''"),
        (b"a,b\n1,2\n3,\x004\n", "line 3: a NUL byte at offset 10"),
        (b"a,b\n1,caf\xe9\n", "line 2: not UTF-8, byte 0xe9 at offset 9"),
        ('a,b\n1,2\n3,"x\n', "line 3: unexpected end of data"),
        ('a,b\n1,"x"y\n', "line 2: "),
        ("a\n" + "x" * 200000, r"line 2: field larger than field limit"),
    ],
)
def test_malformed_files_name_file_and_line(table, text, message):
    with pytest.raises(ValueError, match=rf"t\.csv(: |, ){message}"):
        table(text)


def test_missing_file_and_column(table, tmp_path):
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match=r"t\.csv: no column 'x'; columns: a, b"):
        table("a,b\n1,2\n").column("x")


def test_column_kinds(table):
    t = table("n,t,m,e,u\n1,x,1e3,,1_0\n-2.5, y,?,NA,2\nNaN,3,.5,,3\n")
    np.testing.assert_array_equal(column_numbers(t, "n"), [1, -2.5, np.nan])
    assert column_numbers(t, "t") is None
    np.testing.assert_array_equal(column_numbers(t, "m"), [1000, np.nan, 0.5])
    assert column_numbers(t, "e") is None  # nothing but blanks
    assert column_numbers(t, "u") is None  # 1_0 is no number, and two of three are not most


def test_a_stray_text_among_numbers_is_an_error(table):
    rows = [str(i) for i in range(20)]
    rows[13] = "l3"
    with pytest.raises(
        ValueError, match=r"t\.csv, line 15, column 'a': 'l3' is not a number, as 19 of the column's 20"
    ):
        column_numbers(table("a\n" + "\n".join(rows)), "a")
    rows[13] = "inf"
    with pytest.raises(ValueError, match="line 15, column 'a': 'inf'"):
        column_numbers(table("a\n" + "\n".join(rows)), "a")


def test_features_by_hand(table):
    t = table("x,c,k\n1,red,5\n3,blue,5\n,red,5\n8,,5\n100,green,6\n")
    features = Features.fit(t, ["x", "c", "k"], np.array([0, 1, 2, 3]))
    out, counts = features.transform(t)
    filled = np.array([1, 3, 3, 8, 100.0])  # the median of 1, 3, 8
    expected = (filled - filled[:4].mean()) / filled[:4].std()
    np.testing.assert_allclose(out[:, 0], expected, rtol=1e-6)
    # most frequent first, then by name: red, "", blue; green was not seen
    np.testing.assert_array_equal(out[:, 1:4], [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(out[:, 4], [0, 0, 0, 0, 1])  # constant in training: centred only
    assert out.dtype == np.float32 and features.width == 5
    assert counts.blanks == {"x": 1, "c": 1} and counts.unknown == {"c": 1}
    again = Features.from_dict(json.loads(json.dumps(features.to_dict())))
    np.testing.assert_array_equal(again.transform(t)[0], out)


def test_category_cap_has_an_other_column(table):
    t = table("c\n" + "\n".join(["a"] * 3 + ["b"] * 2 + ["c", "d"]))
    features = Features.fit(t, ["c"], np.arange(7), max_categories=2)
    out, counts = features.transform(t)
    np.testing.assert_array_equal(out.argmax(1), [0, 0, 0, 1, 1, 2, 2])
    assert features.width == 3 and counts.unknown == {}
    assert features.transform(table("c\nzebra\n?\n"))[0].tolist() == [[0, 0, 1], [1, 0, 0]]  # other; most frequent


def test_features_leave_out_empty_columns(table):
    t = table("a,b,c\n1,,\n2,,x\n3,,\n")
    assert [c.name for c in Features.fit(t, ["a", "b", "c"], np.array([0, 2])).columns] == ["a"]
    with pytest.raises(ValueError, match="no column to learn from"):
        Features.fit(t, ["b"], np.arange(3))


def test_transform_names_missing_columns_and_bad_values(table):
    features = Features.fit(table("a,b,c\n1,2,x\n2,3,y\n"), ["a", "b", "c"], np.arange(2))
    with pytest.raises(ValueError, match=r"t\.csv: missing columns b, c"):
        features.transform(table("a\n1\n"))
    with pytest.raises(ValueError, match=r"t\.csv, line 3, column 'b': 'two' is not a number, as the model expects"):
        features.transform(table("a,b,c\n1,1,x\n1,two,x\n"))


def test_huge_numbers(table):
    t = table("a\n1e308\n-1e308\n1e308\n")
    with pytest.raises(ValueError, match="'a': its numbers are too large"):
        Features.fit(t, ["a"], np.arange(3))


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["x", "y", "x", ""], "classification", ["x", "y"]),
        (["1", "0", "01", "1.0"], "classification", ["0", "1"]),
        (["10", "9", "-1", "9"], "classification", ["-1", "9", "10"]),
        (["1.5", "2", "3", "2"], "regression", []),
        ([str(i) for i in range(21)], "regression", []),
    ],
)
def test_kind_of_target(table, values, task, classes):
    t = table("y,x\n" + "\n".join(f"{v},1" for v in values))
    target = find_target(t, "y")
    assert (target.task, target.classes) == (task, classes)
    assert Target(**json.loads(json.dumps(vars(target)))) == target


def test_task_overrides_and_encoding(table):
    t = table("y\n1\n2\nNA\n3\n2\n")
    assert find_target(t, "y").encode(t).tolist() == [0, 1, -1, 2, 1]
    target = find_target(t, "y", "regression")
    np.testing.assert_array_equal(target.encode(t), [1, 2, np.nan, 3, 2])
    assert find_target(table("y\n0.5\n1.5\n"), "y", "classification").classes == ["0.5", "1.5"]


def test_bad_targets(table):
    with pytest.raises(ValueError, match=r"line 3, column 'y': 'a' is not a number"):
        find_target(table("y\n1\na\n"), "y", "regression")
    with pytest.raises(ValueError, match="'y' has only one value, '7'"):
        find_target(table("y,x\n7,1\n7.0,2\n,3\n"), "y")
    with pytest.raises(ValueError, match="'y' is blank in every row"):
        find_target(table("y,x\n,1\nNA,2\n"), "y")
    with pytest.raises(ValueError, match="30 different values in 30 rows: too many"):
        find_target(table("y\n" + "\n".join(f"n{i}" for i in range(30))), "y")
    with pytest.raises(ValueError, match="no column 'z'; columns: y"):
        find_target(table("y\n1\n2\n"), "z")


def test_split_is_seeded_stratified_and_complete():
    rows = np.arange(5, 105)
    labels = np.array([0] * 80 + [1] * 19 + [2])
    train, test = split_rows(rows, 0.2, 7, labels)
    assert sorted([*train, *test]) == rows.tolist()
    assert np.bincount(labels[test - 5], minlength=3).tolist() == [16, 4, 0]
    np.testing.assert_array_equal(split_rows(rows, 0.2, 7, labels)[1], test)
    assert not np.array_equal(split_rows(rows, 0.2, 8, labels)[1], test)
    assert len(split_rows(rows, 0.25, 0)[1]) == 25
    with pytest.raises(ValueError, match="too few to hold out"):
        split_rows(np.arange(2), 0.1, 0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(alphabet='a1.,;"\n\r\t -?é', max_size=60).map(str.encode)))
def test_any_bytes_are_read_or_refused(tmp_path, data):
    path = tmp_path / "fuzz.csv"
    path.write_bytes(data)
    try:
        t = read_csv(path)
        features = Features.fit(t, t.names, np.arange(len(t)))
        assert np.isfinite(features.transform(t)[0]).all()
        target = find_target(t, t.names[0])
        assert len(target.encode(t)) == len(t)
    except ValueError as error:
        assert "fuzz.csv" in str(error) or "column" in str(error)


def test_california(data_root):
    path = data_root / "california" / "housing.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    t = read_csv(path)
    assert len(t) == 20640 and find_target(t, "median_house_value").task == "regression"
    features = Features.fit(t, [n for n in t.names if n != "median_house_value"], np.arange(len(t)))
    out, counts = features.transform(t)
    assert counts.blanks == {"total_bedrooms": 207} and out.shape == (20640, 13)
    np.testing.assert_allclose(out[:, :8].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out[:, :8].std(axis=0), 1, atol=1e-4)


def test_pathlike_and_name(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert read_csv(tmp_path / "x.csv").path == os.fspath(tmp_path / "x.csv")
