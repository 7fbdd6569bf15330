"""`modicum memory ...` as a user meets it: what is shown and written, what is refused, what is not imported."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.cli import main
from modicum.data.pictures import open_pictures
from modicum.memory import rebuild, view
from modicum.memory.pixels import embed_pixels
from modicum.memory.store import Store
from modicum.memory.types import Batch, MemoryInfo, item_id
from modicum.models import embed, load_encoder, save_encoder

CLASSES = {"cat": 7, "dog": 5, "old house": 3}


def write_pictures(folder: Path, seed: int = 0) -> Path:
    """15 pictures of noise in three class folders."""
    rng = np.random.default_rng(seed)
    for name, count in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with pictures/ and an empty memory `things`."""
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "pictures")
    assert main(["memory", "create", "things", "--encoder", "pixels"]) == 0
    return tmp_path


def memory(line: str, code: int = 0) -> None:
    assert main(["memory", *line.split()]) == code


def items(store: str = "things") -> list[dict[str, Any]]:
    """The items of a memory as `list --json` writes them."""
    assert main(["memory", "list", store, "--json", "items.json"]) == 0
    record = json.loads(Path("items.json").read_text())
    assert record["schema"] == 1
    found: list[dict[str, Any]] = record["items"]
    return found


def test_added_pictures_are_listed_with_label_source_and_name(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = time.time()
    memory("add things pictures")
    assert "added 15 of 15 pictures to things as source 'pictures'" in capsys.readouterr().out
    found = items()
    paths = sorted(str(path.relative_to("pictures")) for path in Path("pictures").rglob("*.png"))
    assert sorted(item["name"] for item in found) == paths
    for item in found:
        assert item["id"] == item_id("pictures", item["name"])
        assert item["label"] == item["name"].rpartition("/")[0]
        assert (item["source"], item["text"]) == ("pictures", None)
        assert before <= item["time"] <= time.time()
    assert [item["id"] for item in found] == sorted(item["id"] for item in found)


def test_embeddings_are_those_of_the_library(work: Path) -> None:
    memory("add things pictures")
    pictures = open_pictures("pictures", size=32, channels=3)
    with Store.open("things") as store:
        rows = store.vectors(store.ids_of("pictures", pictures.ids))
    assert np.array_equal(rows, embed_pixels(pictures.pixels))


def test_with_plain_there_is_a_line_for_every_item_and_nothing_else(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    memory("add things pictures --plain --batch 4")
    shown = capsys.readouterr()
    assert re.fullmatch(r"(ack \d+\n){15}", shown.out)
    assert "added 15 of 15" in shown.err
    assert sorted(int(line.split()[1]) for line in shown.out.splitlines()) == [item["id"] for item in items()]


def test_acknowledgements_come_after_their_commit(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a line is printed, another connection sees the item."""
    seen = []

    def look(text: str, flush: bool = False) -> None:
        with sqlite3.connect("things/memory.sqlite3") as other:
            there = {row[0] for row in other.execute("SELECT id FROM item")}
        wanted = {int(line.split()[1]) for line in text.splitlines()}
        seen.append(wanted <= there and flush and len(there) == sum(map(len, told)) + len(wanted))
        told.append(wanted)

    told: list[set[int]] = []
    monkeypatch.setattr("modicum.commands.memory.add.print", lambda *words, file=None, flush=False: look(*words, flush=flush)
                        if file is None else None, raising=False)  # fmt: skip
    memory("add things pictures --plain --batch 4")
    assert seen == [True] * 4


def test_the_same_command_again_adds_nothing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("add things pictures")
    first = items()
    Image.fromarray(np.full((32, 32, 3), np.arange(32, dtype=np.uint8)[None, :, None])).save("pictures/cat/new.png")
    capsys.readouterr()
    memory("add things pictures")
    assert "added 1 of 16 pictures to things as source 'pictures'; 15 were there already" in capsys.readouterr().out
    assert [item for item in items() if item["name"] != "cat/new.png"] == first


def test_a_picture_that_changed_is_named_and_taken_anew_on_request(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("add things pictures")
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (40, 48, 3), dtype=np.uint8)).save("pictures/dog/2.png")
    capsys.readouterr()
    memory("add things pictures")
    shown = capsys.readouterr().out
    assert "changed since they were added: 1 picture (dog/2.png), left as they were; --replace takes them anew" in shown
    assert "added 0 of 15 pictures" in shown
    memory("add things pictures --replace")
    assert "added 1 of 15 pictures to things as source 'pictures', 1 of them anew; 14 were there" in capsys.readouterr().out
    with Store.open("things") as store:
        row = store.vectors(store.ids_of("pictures", ["dog/2.png"]))
    pictures = open_pictures("pictures", size=32, channels=3)
    assert np.array_equal(row[0], embed_pixels(pictures.pixels)[pictures.ids.index("dog/2.png")])


def test_a_changed_picture_that_cannot_be_used_keeps_its_item(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One is broken, one of a single colour value, one really another: only the last is replaced."""
    memory("add things pictures")
    before = {item["name"]: item for item in items()}
    Path("pictures/cat/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (40, 40), (9, 9, 9)).save("pictures/cat/1.png")
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (40, 48, 3), dtype=np.uint8)).save("pictures/dog/2.png")
    capsys.readouterr()
    memory("add things pictures --replace")
    assert "added 1 of 15 pictures to things as source 'pictures', 1 of them anew" in capsys.readouterr().out
    after = {item["name"]: item for item in items()}
    assert {name for name in before if before[name] != after[name]} == {"dog/2.png"}
    assert after["dog/2.png"]["id"] == before["dog/2.png"]["id"]


def test_pictures_that_cannot_be_used_are_named_and_the_rest_is_added(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pictures/cat/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (40, 40), (10, 20, 30)).save("pictures/dog/plain.png")
    Image.new("RGB", (40, 40), (9, 9, 9)).save("pictures/dog/grey.png")
    capsys.readouterr()
    memory("add things pictures")
    shown = capsys.readouterr().out
    assert "left out: cat/broken.png: " in shown
    assert "left out: dog/grey.png: pixels gives zeros for it, which have no direction" in shown
    assert "added 16 of 18 pictures" in shown  # (10, 20, 30) is of one colour but not of one value


def test_texts_come_from_a_table(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = " ".join(["word"] * 10_000)
    Path("texts.csv").write_text(f"path,text\ncat/0.png,a cat\ndog/1.png,{long}\ncat/1.png,\n")
    memory("add things pictures --texts texts.csv")
    texts = {item["name"]: item["text"] for item in items() if item["text"] is not None}
    assert texts == {"cat/0.png": "a cat", "dog/1.png": long}
    capsys.readouterr()
    memory("list things --label dog")
    assert long[:60] + "..." in " ".join(capsys.readouterr().out.split())


def test_an_encoder_of_ones_own_is_kept_in_the_store(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    encoder = build_encoder("conv4-32", ImageSpec(28, 1)).eval()
    save_encoder(encoder, "run/encoder", "# a card\n")
    memory("create other --encoder run --metric l2")
    Path("run").rename("gone")
    memory("add other pictures")
    pictures = open_pictures("pictures", size=28, channels=1)
    with Store.open("other") as store:
        assert (store.info.encoder, store.info.metric, store.info.dim) == ("run", "l2", encoder.n_features)
        assert np.array_equal(store.vectors(store.ids_of("pictures", pictures.ids)), embed(encoder, pictures.pixels))
    capsys.readouterr()
    memory("search other pictures/cat/0.png --k 1")
    assert str(item_id("pictures", "cat/0.png")) in capsys.readouterr().out


def test_the_memory_of_a_run_has_its_encoder_beside_it(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `train` leaves them: RUN/memory and RUN/memory-encoder. With a slash at its end, or moved, it has it too."""
    save_encoder(build_encoder("conv4-32", ImageSpec(28, 1)).eval(), "mine/encoder", "# a card\n")
    memory("create run/memory --encoder mine")
    Path("run/memory/encoder").rename("run/memory-encoder")
    Path("mine").rename("gone")
    memory("add run/memory/ pictures")
    memory("move run/memory/ moved")
    Path("run").rename("gone-too")
    capsys.readouterr()
    memory("search moved pictures/cat/0.png --k 1")
    assert str(item_id("pictures", "cat/0.png")) in capsys.readouterr().out


def test_a_memory_made_meanwhile_keeps_its_encoder(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes the same memory between the check and the making: it is refused here, and whole there."""
    save_encoder(build_encoder("conv4-32", ImageSpec(28, 1)).eval(), "mine/encoder", "# a card\n")
    real = Store.create

    def twice(folder: str, info: MemoryInfo) -> Store:
        real(folder, info).close()
        return real(folder, info)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "create", twice)
        memory("create other --encoder mine", code=2)
    assert "there is a memory already" in capsys.readouterr().err
    Path("mine").rename("gone")
    memory("add other pictures")


def test_a_folder_that_holds_an_encoder_of_something_else_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_encoder(build_encoder("conv4-32", ImageSpec(28, 1)), "run/encoder", "# a card\n")
    memory("create run --encoder pixels", code=2)
    assert "store: run holds other files and no memory" in capsys.readouterr().err
    memory("create other --encoder run")
    Path("other/memory.sqlite3").unlink()  # as after an interruption before the database was made
    memory("create other --encoder run")
    memory("add other pictures")


def test_a_shipped_encoder_is_kept_by_name(work: Path) -> None:
    memory("create other --encoder pictures")
    memory("add other pictures")
    assert not Path("other/encoder").exists()
    pictures = open_pictures("pictures", size=32, channels=3)
    with Store.open("other") as store:
        rows = store.vectors(store.ids_of("pictures", pictures.ids))
    assert np.array_equal(rows, embed(load_encoder("pictures"), pictures.pixels))


def test_digits_and_tables_are_data_too(work: Path) -> None:
    memory("add things digits")
    assert len(items()) == 1797
    Path("table.csv").write_text("path,label\npictures/cat/0.png,lion\npictures/dog/0.png,wolf\n")
    memory("add things table.csv --source zoo")
    found = {item["name"]: item["label"] for item in items() if item["source"] == "zoo"}
    assert found == {"pictures/cat/0.png": "lion", "pictures/dog/0.png": "wolf"}


def test_search_finds_the_picture_itself_first(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("add things pictures")
    capsys.readouterr()
    memory("search things pictures/cat/0.png pictures/dog --k 3 --json found.json")
    record = json.loads(Path("found.json").read_text())
    assert [row["image"] for row in record["rows"]] == ["pictures/cat/0.png", *(f"pictures/dog/{i}.png" for i in range(5))]
    for row in record["rows"]:
        best, *others = row["neighbours"]
        assert f"pictures/{best['name']}" == row["image"]
        assert best["similarity"] == pytest.approx(1, abs=1e-12)
        assert len(others) == 2
        assert all(near["similarity"] < 0.5 for near in others)
    shown = capsys.readouterr().out
    assert "1.0000" in shown
    assert str(item_id("pictures", "cat/0.png")) in shown


def test_a_search_begins_no_index_and_says_how_to_make_one(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory of 15 stands for a large one: its search ends before an index is built, and so builds none."""
    memory("add things pictures")
    for module, name in ((rebuild, "EXACT_ROWS"), (rebuild, "FLUSH"), (view, "FLUSH")):
        monkeypatch.setattr(module, name, 5)
    note = "note: 15 of 15 items were searched one by one; `modicum memory rebuild things` makes an index for them"
    for _ in range(2):
        memory("search things pictures/cat/0.png --k 1")
        assert note in capsys.readouterr().err
    assert not list(Path("things/cache").glob("*.faiss*"))
    memory("rebuild things")
    memory("search things pictures/cat/0.png --k 1")
    assert "note" not in capsys.readouterr().err


def test_pictures_to_search_for_that_cannot_be_read_are_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("add things pictures")
    Path("text.png").write_text("no picture")
    capsys.readouterr()
    memory("search things text.png pictures/cat/0.png nothing.png --k 1 --json found.json", code=1)
    err = capsys.readouterr().err
    assert "cannot search: text.png: not a picture of an allowed type" in err
    assert "cannot search: nothing.png: there is no such file" in err
    assert len(json.loads(Path("found.json").read_text())["rows"]) == 1


def test_removing_by_id_name_and_source(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("add things pictures")
    memory("add things pictures --source more")
    one = item_id("pictures", "cat/0.png")
    capsys.readouterr()
    memory(f"remove things {one} {item_id('more', 'dog/1.png')} {one}")
    assert "removed 2 items; 28 left" in capsys.readouterr().out
    memory("remove things --source pictures --names cat/1.png cat/2.png cat/1.png")
    assert "removed 2 items; 26 left" in capsys.readouterr().out
    memory("remove things --source more")
    assert "removed 14 items; 12 left" in capsys.readouterr().out
    assert {item["source"] for item in items()} == {"pictures"}
    assert not {"cat/0.png", "cat/1.png", "cat/2.png"} & {item["name"] for item in items()}


def test_relabelling_by_id_name_and_source(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("add things pictures")
    memory(f"relabel things {item_id('pictures', 'cat/0.png')} --label lion")
    memory("relabel things --source pictures --names dog/0.png --text barking")
    found = {item["name"]: (item["label"], item["text"]) for item in items()}
    assert found.pop("cat/0.png") == ("lion", None)
    assert found.pop("dog/0.png") == ("dog", "barking")
    assert all(value == (name.partition("/")[0], None) for name, value in found.items())
    capsys.readouterr()
    memory("relabel things --source pictures --label all")
    assert "relabelled 15 items: label 'all'" in capsys.readouterr().out
    assert {item["label"] for item in items()} == {"all"}


def test_list_shows_some_and_says_how_many_are_left(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("add things pictures")
    cases = [
        ("", "", 15), ("--rows 4", "and 11 more", 4), ("--label cat --rows 2", "and 5 more", 2),
        ("--label dog --source pictures --rows 1", "and 4 more", 1), ("--label wolf", "", 0),
    ]  # fmt: skip
    for line, left, rows in cases:
        capsys.readouterr()
        memory(f"list things {line}")
        shown = capsys.readouterr().out
        assert len(re.findall(r"^ *\d{8,}", shown, re.M)) == rows
        assert left in shown
    assert "no items: there is no label 'wolf'" in shown
    memory("list things --rows 0")
    assert capsys.readouterr().out == "15 items\n"
    memory("list things --source picture")
    assert capsys.readouterr().out == "no items: there is no source 'picture' (did you mean 'pictures'?)\n"


def test_stats_counts_by_source_and_label(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("add things pictures")
    capsys.readouterr()
    memory("stats things --json stats.json")
    (row,) = json.loads(Path("stats.json").read_text())["rows"]
    assert (row["items"], row["sources"], row["dim"], row["encoder"]) == (15, {"pictures": 15}, 3072, "pixels")
    assert row["labels"] == [["cat", 7], ["dog", 5], ["old house", 3]]
    assert row["bytes"] >= 15 * 3072 * 4
    shown = capsys.readouterr().out
    assert re.search(r"old house +3\n", shown)


def test_stats_of_a_memory_whose_files_come_and_go(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is listed and then gone, as SQLite's log or a temporary file of another process may be, counts nothing."""
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: [*listed(self, pattern), self / "gone.tmp"])
    memory("stats things --json stats.json")
    assert json.loads(Path("stats.json").read_text())["rows"][0]["bytes"] >= Path("things/memory.sqlite3").stat().st_size


def test_verify_finds_a_changed_embedding_and_rebuild_makes_the_index_anew(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory("add things pictures")
    memory("search things pictures/cat/0.png --k 1")
    capsys.readouterr()
    memory("verify things --json whole.json")
    assert "things is whole: 15 items" in capsys.readouterr().out
    assert json.loads(Path("whole.json").read_text())["rows"][0]["problems"] == []
    memory("rebuild things")
    assert "rebuilt: 15 items, index exact" in capsys.readouterr().out
    with sqlite3.connect("things/memory.sqlite3") as other:
        (data,) = other.execute("SELECT data FROM vector ORDER BY place LIMIT 1").fetchone()
        other.execute("UPDATE vector SET data = ? WHERE place = (SELECT min(place) FROM vector)", [b"\0" * 4 + data[4:]])
    memory("verify things --json damaged.json", code=1)
    shown = capsys.readouterr().out
    assert "its checksum does not match" in shown
    assert "Put a snapshot or copy in its place" in shown
    assert json.loads(Path("damaged.json").read_text())["rows"][0]["whole"] is False


def test_moving_to_another_folder_keeps_everything(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_encoder(build_encoder("conv4-32", ImageSpec(28, 1)), "run/encoder", "# a card\n")
    memory("create other --encoder run")
    memory("add other pictures")
    memory("move other copy")
    assert "copied 15 items to copy; other is as it was" in capsys.readouterr().out
    assert items("copy") == items("other")
    memory("verify copy")
    memory("add copy pictures")
    assert "added 0 of 15" in capsys.readouterr().out


def test_a_memory_on_milvus_has_the_same_commands(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reason = 'is not installed (pip install "modicum[milvus]")'
    pytest.importorskip("pymilvus", reason=f"pymilvus {reason}")
    pytest.importorskip("milvus_lite", reason=f"milvus-lite {reason}")
    memory("add things pictures")
    memory("move things milvus+m.db#things")
    assert items("milvus+m.db#things") == items()
    memory("create milvus+m.db#more --encoder pixels")
    capsys.readouterr()
    memory("add milvus+m.db#more pictures --plain")
    assert capsys.readouterr().out.count("ack ") == 15
    memory("search milvus+m.db#more pictures/cat/0.png --k 2 --json there.json")
    memory("search things pictures/cat/0.png --k 2 --json here.json")
    assert json.loads(Path("there.json").read_text()) == json.loads(Path("here.json").read_text())
    memory("relabel milvus+m.db#more --source pictures --names cat/0.png --label lion")
    memory("remove milvus+m.db#more --source pictures --names cat/1.png")
    capsys.readouterr()
    memory("stats milvus+m.db#more")
    assert re.search(r"lion +1\n", capsys.readouterr().out)
    memory("verify milvus+m.db#more")
    memory("rebuild milvus+m.db#more")
    assert "Milvus keeps its index itself" in capsys.readouterr().out
    memory("move milvus+m.db#things back")
    assert items("back") == items()
    memory("search milvus+m.db#more pictures/cat/0.png --index exact", code=2)
    assert "Milvus has its own index" in capsys.readouterr().err


def own_embeddings() -> None:
    """A memory of two embeddings that no encoder made."""
    with Store.create("own", MemoryInfo(4)) as store:
        store.add(
            Batch(np.array([1, 2]), np.eye(2, 4, dtype=np.float32), "s", ["a", "b"], [None, "x"], [None, None], ["", ""])
        )


def another_encoder() -> None:
    """A memory whose encoder in the store was exchanged."""
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_encoder(build_encoder("conv4-32", ImageSpec(28, 1)), f"run{seed}/encoder", "# a card\n")
    memory("create other --encoder run1")
    memory("add other pictures")
    save_encoder(load_encoder("run2"), "other/encoder", "# a card\n")


def broken_encoder() -> None:
    """A memory of an encoder that gives NaN."""
    encoder = build_encoder("conv4-32", ImageSpec(28, 1)).eval()
    with torch.no_grad():
        next(encoder.parameters()).fill_(float("nan"))
    save_encoder(encoder, "nan/encoder", "# a card\n")
    memory("create broken --encoder nan")


def damaged() -> None:
    """A memory whose database was overwritten in the middle, and one that was cut to nothing but text."""
    memory("add things pictures")
    memory("move things torn")
    data = bytearray(Path("torn/memory.sqlite3").read_bytes())
    data[20_000:] = b"\xff" * (len(data) - 20_000)
    Path("torn/memory.sqlite3").write_bytes(data)
    Path("text").mkdir()
    Path("text/memory.sqlite3").write_text("no database")


def filled() -> None:
    """The memory `things` with the pictures in it."""
    memory("add things pictures")


def tables() -> None:
    """Tables of texts that cannot be used."""
    Path("no-text.csv").write_text("path,label\ncat/0.png,x\n")
    Path("unknown.csv").write_text("path,text\ncat/0.png,x\ncow/0.png,y\n")


WRONG = [
    (None, "create things --encoder pixels", r"store: things is a memory already"),
    (None, "create pictures --encoder pixels", r"store: pictures holds other files and no memory"),
    (None, "create new --encoder pixls", r"encoder: .*found 'pixls' \(did you mean 'pixels'\?\)"),
    (None, "create new --encoder no/such/run", r"encoder: expected characters, pictures, pixels"),
    (
        None,
        "add nowhere pictures",
        r"nowhere: not a memory \(it has no memory.sqlite3\); make one with `modicum memory create`",
    ),
    (None, "add pictures pictures", r"pictures: not a memory"),
    (None, "add things nowhere", r"data: there is no nowhere"),
    (None, "add things pictures/cat", r"lie in no class folder"),
    (None, "list nowhere", r"nowhere: not a memory"),
    (None, "stats nowhere", r"nowhere: not a memory"),
    (None, "search things pictures/cat/0.png", r"store: things is empty; put pictures into it with `modicum memory add`"),
    (None, "remove things 12345", r"ids: no item has the id 12345"),
    (None, "remove things --source pictures", r"source: no item is of 'pictures'; there is none"),
    (filled, "search things pictures/cat/0.png --k 16", r"k: things has 15 items; expected at most 15, found 16"),
    (filled, "remove things 12345 1", r"ids: no item has the id 12345, 1"),
    (filled, "remove things --source picture", r"source: no item is of 'picture'; there is 'pictures'"),
    (filled, "remove things --source pictures --names cat/0.png cow", r"names: source 'pictures' has no item 'cow'"),
    (filled, "relabel things 12345 --label x", r"ids: no item has the id 12345"),
    (filled, "relabel things --source s --label x", r"source: the memory has no source 's'; it has: 'pictures'"),
    (filled, "move things pictures", r"pictures.* there"),
    (filled, "move things milvus+m.txt", r"store: expected milvus\+http"),
    (tables, "add things pictures --texts no-text.csv", r"texts: no-text.csv has the columns path, label; expected path"),
    (
        tables,
        "add things pictures --texts unknown.csv",
        r"texts: unknown.csv names 1 pictures that pictures lacks: cow/0.png",
    ),
    (tables, "add things pictures --texts nowhere.csv", r"nowhere.csv"),
    (own_embeddings, "add own pictures", r"store: own holds embeddings of your own"),
    (own_embeddings, "search own pictures/cat/0.png --k 1", r"store: own holds embeddings of your own"),
    (another_encoder, "add other pictures", r"encoder: .*is not the encoder that other was made with \(fingerprint "),
    (another_encoder, "search other pictures/cat/0.png", r"embeddings of two encoders cannot be compared"),
    (broken_encoder, "add broken pictures", r"gave features that are not finite; its weights are damaged"),
    (damaged, "list torn", r"the memory's database is damaged .*Put a snapshot in its place, or recover"),
    (damaged, "add torn pictures --source more", r"the memory's database is damaged"),
    (damaged, "stats text", r"damaged|not a memory"),
]


@pytest.mark.parametrize(("prepare", "line", "message"), WRONG, ids=[line for _, line, _ in WRONG])
def test_wrong_input_is_one_message_and_changes_nothing(
    work: Path, capsys: pytest.CaptureFixture[str], prepare: Any, line: str, message: str
) -> None:
    if prepare is not None:
        prepare()
    before = items()
    capsys.readouterr()
    memory(line, code=2)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert re.search(message, shown.err.rpartition("error: ")[2])
    assert items() == before
    assert not (work / "new").exists()


def test_what_was_acknowledged_before_the_disk_was_full_stays(work: Path) -> None:
    """The limit of a file's size stands for a full disk; SQLite's log is the file that meets it."""
    pytest.importorskip("resource", reason="this system has no limit of a file's size")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY)); "
        "from modicum.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "memory", "add", "things", "pictures", "--plain", "--batch", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "error: cannot write things/memory.sqlite3" in done.stderr
    assert "hat was acknowledged before is unchanged" in done.stderr
    acknowledged = {int(line.split()[1]) for line in done.stdout.splitlines()}
    assert 0 < len(acknowledged) < 15
    assert {item["id"] for item in items()} == acknowledged
    memory("add things pictures")
    memory("verify things")
    assert len(items()) == 15


QUICK = ["list things", "stats things", "relabel things --source pictures --label x", "remove things --source pictures"]


@pytest.mark.parametrize("line", QUICK)
def test_reading_and_removing_import_neither_torch_nor_numpy_nor_a_parser(work: Path, line: str) -> None:
    memory("add things pictures")
    code = (
        "import sys; from modicum.cli import main; code = main(sys.argv[1:]); "
        "loaded = {'torch', 'numpy', 'jsonargparse', 'faiss', 'PIL', 'pymilvus'} & set(sys.modules); "
        "sys.exit(str(loaded) if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, "memory", *line.split()], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_adding_with_pixels_imports_no_torch(work: Path) -> None:
    code = "import sys; from modicum.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    words = [sys.executable, "-c", code, "memory", "add", "things", "pictures"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    assert len(items()) == 15
