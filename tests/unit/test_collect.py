"""Packs from elsewhere, which may be hostile: what is taken, what is one line, and that nothing counts twice."""

import dataclasses
import json
import re
import shutil
import stat
import zipfile

import pytest

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.report.sites import remade
from stages.harness.sites import archive, collect, names
from tests import comparisons, project, results, sites

SESSION = "sites/a/20260102-030405-"
SCHEMA = codec.SCHEMA_VERSION


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A project with one session's results, and the pack of it."""
    folder = sites.make_project(tmp_path_factory.mktemp("collect") / "project")
    sites.measure(folder, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sites.packed(folder / "one.zip")
    return folder


@pytest.fixture
def here(measured, monkeypatch):
    """The project, with nothing collected."""
    monkeypatch.chdir(measured)
    yield measured
    shutil.rmtree(measured / "sites", ignore_errors=True)


@pytest.fixture
def one(here):
    return here / "one.zip"


def refusal(file, site="a"):
    """The line that a pack is refused with, of which nothing is left."""
    with pytest.raises(FaceoffError) as caught:
        collect.collect(file, site)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 600
    assert [*names.SITES_DIR.rglob("*")] == []
    return line


@pytest.mark.parametrize("pack", sorted((project.ROOT / "docs/results").glob("*.zip")), ids=lambda pack: pack.stem)
def test_packs_of_docs_results_are_taken_whole_and_their_page_tells_of_each(here, pack):
    found = collect.collect(pack, "elsewhere")
    assert found.is_new and {each.status for each in found.session.results} == {"ok"}
    [row] = [line for line in (pack.parent / "README.md").read_text().splitlines() if f"]({pack.name})" in line]
    assert found.session.machine.hardware.cpu.model in row


def test_a_pack_is_laid_down_as_it_is_and_read_as_ones_own(one):
    found = collect.collect(one, "a")
    assert found.is_new and str(found.folder).startswith(SESSION)
    assert (found.session.site, found.session.machine) == ("a", results.machine())
    assert [each.status for each in found.session.results] == ["ok"] * 3
    assert (found.folder / records.MACHINE_PATH).read_bytes() == records.MACHINE_PATH.read_bytes()


def test_a_second_session_is_added_and_the_same_one_is_told(one, tmp_path):
    collect.collect(one, "a")
    sites.measure(one.parent, 1)
    try:
        later = collect.collect(sites.packed(tmp_path / "two.zip"), "a")
    finally:
        sites.measure(one.parent, 0)
    assert later.is_new and len(names.session_dirs("a")) == 2
    before = (later.folder / names.INDEX).stat().st_mtime_ns
    again = collect.collect(tmp_path / "two.zip", "a")
    assert not again.is_new and (later.folder / names.INDEX).stat().st_mtime_ns == before
    assert len(names.session_dirs("a")) == 2


def test_two_packs_of_one_session_that_differ_are_one_line(one, tmp_path):
    collect.collect(one, "a")
    other = sites.rewritten(one, tmp_path / "other.zip", {"metrics/host/fp32-bs16/train-3.json": None})
    with pytest.raises(FaceoffError, match=r"refused: it differs from the pack of this session .*, in 1 of its files"):
        collect.collect(other, "a")


def test_copies_of_a_machine_that_begin_in_the_same_second_are_two_sessions(one, tmp_path):
    collect.collect(one, "a")
    sites.measure(one.parent, 0, host=10.01)
    try:
        found = collect.collect(sites.packed(tmp_path / "two.zip"), "a")
    finally:
        sites.measure(one.parent, 0)
    assert found.is_new and {each.name[:15] for each in names.session_dirs("a")} == {"20260102-030405"}
    assert len(names.session_dirs("a")) == 2


def test_trainings_that_another_site_has_would_count_twice(one):
    collect.collect(one, "a")
    with pytest.raises(FaceoffError, match=rf"3 of its 3 trainings are in {SESSION}\w+ too, and would count twice"):
        collect.collect(one, "b")
    assert names.known_sites() == ["a"]


@pytest.mark.parametrize("left", [None, b"{}"])
def test_a_session_that_was_damaged_since_is_named_and_not_the_pack_blamed(one, tmp_path, left):
    found = collect.collect(one, "a")
    index = found.folder / names.INDEX
    index.unlink() if left is None else index.write_bytes(left)
    with pytest.raises(FaceoffError, match=rf"{index}, of what was collected before, is not readable any more: remove"):
        collect.collect(one, "a")
    if left is not None:
        with pytest.raises(FaceoffError, match=rf"{index}, of what was collected before"):
            collect.collect(one, "b")


@pytest.mark.parametrize("path", ["sites", "sites/a"])
def test_a_file_where_a_folder_should_be_is_one_line(one, path):
    file = one.parent / path
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    try:
        with pytest.raises(FaceoffError, match="File exists: see to it that this user may"):
            collect.collect(one, "a")
    finally:
        file.unlink()


def test_dvcs_own_word_is_no_name_of_a_site(one):
    assert "workspace is what DVC calls" in refusal(one, "workspace")


@pytest.mark.parametrize("name", ["host", "cuda-10.0", "A", "../a", "", "a/b", "a.b", "-a", "a" * 64, "a\n"])
def test_a_name_that_no_site_may_have(one, name):
    line = refusal(one, name)
    assert "is an image" in line if name == "host" else "no name of a site" in line


# ------------------------------------------------------------------------------------------------------ hostile zips


def written(tmp_path, *members):
    """A zip of (name or ZipInfo, content)."""
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../params.yaml", "metrics/../../x.json", "/etc/passwd.json", "C:/x.json", "metrics\\..\\x.json",
        "metrics//x.json", "./params.yaml", "metrics/./x.json", "metrics/x.json\x1b[2J",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(here, tmp_path, name):
    assert re.search(r"points outside of it|is no plain name", refusal(written(tmp_path, (name, b""))))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("metrics/dvc.yaml", "DVC's own files"),
        ("jobs/toy/DVC.LOCK", "DVC's own files"),
        ("jobs/toy/data.dvc", "DVC's own files"),
        ("jobs/toy/.env", "hidden"),
        (".git/hooks/post-checkout", "hidden"),
        ("jobs/toy/x ", "a dot or a space"),
        ("metrics/model.pt", "is none of"),
        ("stages/compare.py", "is none of"),
        ("metrics", "is none of"),
        ("metrics/" + "a" * 130 + ".json", "longer or deeper"),
        ("metrics/" + "a/" * 12 + "x.json", "longer or deeper"),
        ("metrics/a/", "is a folder"),
    ],
)
def test_a_file_that_no_pack_holds_is_refused(here, tmp_path, name, problem):
    assert problem in refusal(written(tmp_path, (name, b"")))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR])
def test_links_and_devices_are_refused(here, tmp_path, kind):
    member = zipfile.ZipInfo("params.yaml")
    member.external_attr = (kind | 0o777) << 16
    assert "is a link or a device" in refusal(written(tmp_path, (member, b"/etc/passwd")))


@pytest.mark.parametrize(
    "pair",
    [
        ("params.yaml", "params.yaml"),
        ("metrics/A.json", "metrics/a.json"),
        ("metrics/\u00e9.json", "metrics/e\u0301.json"),
        ("jobs/a", "jobs/a/b"),
        ("jobs/a/b", "jobs/a"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(here, tmp_path, pair):
    assert "is in it twice, or is a file and a folder" in refusal(written(tmp_path, *((each, b"") for each in pair)))


def test_an_encrypted_member_is_refused(here, tmp_path):
    path = written(tmp_path, ("params.yaml", b"x"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    path.write_bytes(content)
    assert refusal(path).endswith("refused: 'params.yaml' is encrypted")


def test_bombs_are_refused_before_anything_is_written(here, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_write", lambda *_: pytest.fail("something was written"))
    monkeypatch.setattr(archive, "MOST_BYTES_OF_ONE", 2**20)
    monkeypatch.setattr(archive, "ALWAYS_BYTES", 2**21)
    zeros = bytes(2**20)
    assert "no file of a pack has more than 1 MiB" in refusal(written(tmp_path, ("metrics/a.json", zeros + b"0")))
    many = [(f"metrics/{number}.json", zeros) for number in range(3)]
    assert "it unpacks to more than 2 MiB" in refusal(written(tmp_path, *many))
    monkeypatch.setattr(archive, "MOST_MEMBERS", 2)
    assert "it holds 3 files, and a pack at most 2" in refusal(written(tmp_path, *many))


@pytest.mark.parametrize("comment", [b"", b"with a comment"])
def test_a_list_of_files_without_end_is_refused_before_it_is_read(here, tmp_path, monkeypatch, comment):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as made:
        for number in range(100):
            made.writestr(f"metrics/{number}.json", b"")
        made.comment = comment
    monkeypatch.setattr(archive, "MOST_BYTES_OF_DIRECTORY", 2**12)
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("it was read"))
    assert re.search(r"its list of files takes \S+ KiB: expected 4 KiB at most", refusal(path))


def test_a_zip_whose_list_is_told_of_elsewhere_is_refused(here, tmp_path):
    path = written(tmp_path, ("params.yaml", b"x"))
    content = path.read_bytes()
    end = content.index(b"PK\x05\x06")
    path.write_bytes(content[:end] + b"PK\x06\x07" + bytes(16) + content[end:])
    assert "it is a zip of the kind for more than 4 GiB" in refusal(path)


def test_what_is_no_zip_or_half_of_one_is_one_line(here, one, tmp_path):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK no zip")
    assert "no whole zip" in refusal(bad)
    bad.write_bytes(one.read_bytes()[:-100])
    assert "no whole zip" in refusal(bad)
    content = bytearray(one.read_bytes())
    content[len(content) // 2] ^= 0xFF
    bad.write_bytes(content)
    assert re.search("no whole zip|is not what pack.json says", refusal(bad))
    assert refusal(tmp_path / "gone.zip").endswith("refused: no such file")
    assert "not to be read" in refusal(tmp_path)


# ---------------------------------------------------------------------------------------------- hostile and old records


def test_a_zip_that_pack_did_not_make_is_refused(here, tmp_path):
    assert "it has no pack.json" in refusal(written(tmp_path, ("params.yaml", b"")))


@pytest.mark.parametrize("change", [b"{}", None])
def test_what_is_not_as_the_index_tells_is_refused(one, tmp_path, change):
    changed = sites.rewritten(one, tmp_path / "x.zip", {"metrics/machine.json": change}, index=False)
    assert "'metrics/machine.json' is not what pack.json says: what it holds was changed" in refusal(changed)


def test_what_the_index_does_not_tell_of_is_refused(one, tmp_path):
    more = sites.rewritten(one, tmp_path / "x.zip", {"metrics/more.json": b"{}"}, index=False)
    assert "'metrics/more.json' is not what pack.json says" in refusal(more)


def index_with(one, **changes):
    with zipfile.ZipFile(one) as pack:
        return json.dumps(json.loads(pack.read("pack.json")) | changes).encode()


@pytest.mark.parametrize("version", [SCHEMA - 1, SCHEMA + 1, str(SCHEMA), True, None])
def test_a_pack_of_another_schema_is_one_line(one, tmp_path, version):
    index = index_with(one, schema_version=version)
    line = refusal(sites.rewritten(one, tmp_path / "x.zip", {"pack.json": index}))
    said = f"packed by another faceoff: of schema version {version!r}, expected {SCHEMA}: measure and pack it again"
    assert said in line


@pytest.mark.parametrize("changes", [{"session": "20260102-030405-00000000"}, {"digest": "0"}, {"extra": 1}])
def test_an_index_that_was_changed_is_refused(one, tmp_path, changes):
    line = refusal(sites.rewritten(one, tmp_path / "x.zip", {"pack.json": index_with(one, **changes)}))
    assert ("pack.json: " in line and line.endswith("pack it again where it was measured")) or "unknown key" in line


def test_a_session_by_another_name_than_its_records_tell_is_refused(one, tmp_path):
    with zipfile.ZipFile(one) as pack:
        contents = {name: pack.read(name) for name in pack.namelist() if name != "pack.json"}
    index = sites.index_of("20260102-030405-00000000", contents)
    assert "not of 20260102-030405-00000000" in refusal(
        sites.rewritten(one, tmp_path / "x.zip", {"pack.json": index}, index=False)
    )


def test_records_of_an_older_schema_are_refused(one, tmp_path):
    document = json.loads(records.MACHINE_PATH.read_text()) | {"schema_version": SCHEMA - 1}
    changed = sites.rewritten(one, tmp_path / "x.zip", {"metrics/machine.json": json.dumps(document).encode()})
    line = refusal(changed)
    assert line.endswith(f"metrics/machine.json: not of schema version {SCHEMA}; pack it again where it was measured")


ALIASES = b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("params.yaml", ALIASES, "params.yaml: has an alias"),
        ("jobs/toy/job.yaml", ALIASES, "jobs/toy/job.yaml: has an alias"),
        ("docker/host/image.yaml", ALIASES, "docker/host/image.yaml: has an alias"),
        ("params.yaml", b"repeats: [" + b"1," * 30_000 + b"]", "params.yaml: a matrix of more than 20,000 cells"),
        ("params.yaml", b"#" * 300_000, "params.yaml: longer than 256 KiB"),
        ("params.yaml", b"[" * 200_000, "params.yaml: nests deeper than 50 levels"),
        ("params.yaml", b"a: 2026-13-45", "params.yaml: not readable as YAML"),
        ("params.yaml", b"image: [x", "params.yaml: not readable as YAML"),
        ("params.yaml", b'image: "\\e[2J"', "params.yaml: key"),
        ("params.yaml", b'job: "\\ud800"', "params.yaml: not readable as YAML"),
        ("metrics/machine.json", b'{"a": ["\\uDBff x"]}', "metrics/machine.json: '\\udbff' is half a character"),
        ("metrics/machine.json", b"[" * 100_000, "metrics/machine.json: not readable as JSON"),
        ("metrics/machine.json", b'{"schema_version": ' + b"9" * 5_000 + b"}", "metrics/machine.json: not readable"),
    ],
)
def test_a_record_or_definition_made_to_trip_its_reader_is_one_line(one, tmp_path, name, content, problem):
    line = refusal(sites.rewritten(one, tmp_path / "x.zip", {name: content}))
    assert problem in line and "\x1b" not in line


@pytest.mark.parametrize("cell", ["=HYPERLINK(A1)", "+1+1", "@SUM(A1)", " =1", "-cmd|' /C calc'!A0"])
def test_a_cell_of_a_table_that_is_a_formula_is_refused_and_a_number_is_none(one, tmp_path, cell):
    path = "metrics/host/fp32-bs16/predictions-1.csv"
    table = f'item,label,predicted\na,-1,-0.5\nb,"{cell}",1\n'.encode()
    line = refusal(sites.rewritten(one, tmp_path / "x.zip", {path: table}))
    assert f"{path}, line 3: {cell!r} is a formula to a spreadsheet" in line


def test_step_times_that_no_number_holds_are_one_line(one, tmp_path):
    steps = ("span,microseconds\nhead," + "9" * 5_000 + "\n").encode()
    path = "metrics/host/fp32-bs16/{}-1.{}"
    train = codec.read(one.parent / path.format("train", "json"), records.Result)
    cell = dataclasses.replace(train.steps, sha256=sites.sha256(steps))
    codec.write(tmp_path / "train.json", dataclasses.replace(train, steps=cell))
    changes = {path.format("steps", "csv"): steps, path.format("train", "json"): (tmp_path / "train.json").read_bytes()}
    assert "its records are not readable: ValueError" in refusal(sites.rewritten(one, tmp_path / "x.zip", changes))


def test_times_that_cannot_be_computed_with_are_one_line(one, tmp_path):
    path = "metrics/host/fp32-bs16/train-{}.json"
    changes = {}
    for repeat in (1, 2, 3):
        train = codec.read(one.parent / path.format(repeat), records.Result)
        spans = tuple(dataclasses.replace(each, seconds=1e308) for each in train.spans)
        codec.write(tmp_path / "train.json", dataclasses.replace(train, spans=spans))
        changes[path.format(repeat)] = (tmp_path / "train.json").read_bytes()
    assert "its records are not readable: " in refusal(sites.rewritten(one, tmp_path / "x.zip", changes))


def test_a_session_of_which_nothing_ran_whole_is_refused(one, tmp_path):
    trainings = dict.fromkeys((f"metrics/host/fp32-bs16/train-{repeat}.json" for repeat in (1, 2, 3)), None)
    line = refusal(sites.rewritten(one, tmp_path / "x.zip", trainings))
    assert "no training ran whole, so there is nothing to keep" in line


def test_a_price_without_a_currency_is_one_line(one, tmp_path):
    params = (one.parent / "params.yaml").read_text() + ""
    price = {key: value for key, value in sites.PRICE.items() if key != "currency"}
    changed = project.yaml.safe_load(params)
    changed["provider"]["price"] = price
    line = refusal(sites.rewritten(one, tmp_path / "x.zip", {"params.yaml": json.dumps(changed).encode()}))
    assert "params.yaml: provider.price: key 'currency' is missing" in line


def test_what_was_made_of_its_records_is_made_anew(one, tmp_path):
    compared = dataclasses.replace(comparisons.pair(), settings=comparisons.pair().settings[:1])
    codec.write(tmp_path / "comparison.json", compared)
    script = b"<script>alert(1)</script>"
    came = {str(path): script for path in remade.MADE}
    came[str(records.COMPARISON_PATH)] = (tmp_path / "comparison.json").read_bytes()
    found = collect.collect(sites.rewritten(one, tmp_path / "x.zip", came), "a", remade.remake)
    there = {str(path): (found.folder / path).read_bytes() for path in remade.MADE if (found.folder / path).exists()}
    assert {*there} == {*came} - {str(records.CURVES_PATH), str(records.COMPARISON_PATH)}
    assert not any(b"<script" in each for each in there.values())
    assert b"host/fp32-bs16,host,fp32-bs16,1,ok" in there["metrics/results.csv"]
    assert b"commit" not in there["reports/faceoff.html"].lower()


@pytest.mark.parametrize("comparison", [b"{}", b"[" * 10_000, None])
def test_records_that_no_page_can_be_made_of_leave_none(one, tmp_path, comparison):
    pack = sites.rewritten(one, tmp_path / "x.zip", {str(records.COMPARISON_PATH): comparison})
    found = collect.collect(pack, "a")
    assert re.search("it has no comparison|its records make none", remade.remake(found.session, found.folder))
    assert not (found.folder / records.PAGE_PATH).exists()


def test_by_the_command_each_outcome_is_one_line(here, one):
    first, again = (project.run_stage(here, "collect", str(one), "--as", "a") for _ in range(2))
    assert first.returncode == 0 and re.fullmatch(
        r"faceoff: no report of session \S+: it has no comparison: the run was cut off\n", first.stderr
    )
    assert re.fullmatch(
        SESSION + r"\w{8}: 3 of 3 cells whole, on AMD EPYC 7B12, .*; site a has 1 session now.",
        first.stdout.splitlines()[0],
    )
    assert again.returncode == 0 and again.stdout.endswith("is there already, the same: nothing was changed.\n")
    bad = project.run_stage(here, "collect", str(here / "params.yaml"), "--as", "a")
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (1, "", 1)
    assert f"faceoff: {here}/params.yaml: refused: no whole zip" in bad.stderr
