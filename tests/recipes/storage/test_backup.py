from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.storage.backup import _forwarded, main, restore
from recipes.storage.transfer import main as transfer_main
from slm.storage.sync import push
from slm.text.sentencepiece_tokenizer import TextTokenizer
from tests.slm.training import tiny_run
from tests.support import forked
from tests.support.builders import SENTENCE, metrics_of, write_corpus

# Counts to 6 from where count.txt stands, a file a count, and dies at 3 when it is told to.
COUNTER = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1]); folder.mkdir(exist_ok=True, parents=True)
path = folder / "count.txt"
count = int(path.read_text()) if path.exists() else 0
while count < 6:
    count += 1
    (folder / ".count.partial").write_text(str(count))
    os.replace(folder / ".count.partial", path)
    if len(sys.argv) > 2 and count == 3:
        os.kill(os.getpid(), 9)
"""


def count(folder: Path, *arguments: str) -> list[str]:
    return ["--", sys.executable, "-c", COUNTER, str(folder), *arguments]


def test_a_killed_run_goes_on_on_a_fresh_machine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url, first, second = f"file://{tmp_path}/remote", tmp_path / "one", tmp_path / "two"
    assert main([str(first), url, *count(first, "die")]) == 128 + signal.SIGKILL
    assert main([str(second), url, *count(second)]) == 0
    assert (second / "count.txt").read_text() == "6"
    printed = capfd.readouterr().err
    assert f"nothing at {url} yet: starting anew" in printed
    assert "fetched 1 files" in printed
    assert restore(tmp_path / "three", url).startswith("fetched 1 files")
    assert (tmp_path / "three" / "count.txt").read_text() == "6"


def test_a_folder_that_is_here_is_not_overwritten(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "count.txt").write_text("1")
    push(tmp_path / "old", url, progress=False)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "count.txt").write_text("5")
    assert "resuming from it" in restore(tmp_path / "here", url)
    assert (tmp_path / "here" / "count.txt").read_text() == "5"


def test_a_restore_that_was_cut_off_is_taken_up_again(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "count.txt").write_text("1")
    push(tmp_path / "old", url, progress=False)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".restoring").touch()
    assert restore(tmp_path / "here", url).startswith("fetched 1 files")
    assert [path.name for path in (tmp_path / "here").iterdir() if path.name[0] != "."] == [
        "count.txt"
    ]


def test_a_terminated_backup_ends_the_command_and_saves(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    script = (
        "import pathlib, signal, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "def end(number, frame):\n"
        "    (folder / 'ended.txt').write_text('by a signal')\n"
        "    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "(folder / 'ready.txt').write_text('ready')\n"
        "time.sleep(600)\n"
    )
    backup = [str(folder), f"file://{tmp_path}/remote", "--every", "0.2"]
    command = [sys.executable, "-c", script, str(folder)]
    process = forked.start(main, [*backup, "--", *command], output=tmp_path / "printed.txt")
    saved = tmp_path / "remote" / "ready.txt"
    while not saved.exists():
        assert process.is_alive(), forked.printed(tmp_path / "printed.txt")
        time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 3
    assert saved.read_text() == "ready"
    assert (tmp_path / "remote" / "ended.txt").read_text() == "by a signal"


def test_a_place_that_fails_is_told_at_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "remote").mkdir()
    url = f"file://{tmp_path}/remote"
    folder = tmp_path / "run"
    command = f"import os; os.mkdir({str(folder)!r}); open({str(folder / 'a')!r}, 'w').close(); "
    command += f"os.rmdir({str(tmp_path / 'remote')!r}); open({str(tmp_path / 'remote')!r}, 'w')"
    assert main([str(folder), url, "--", sys.executable, "-c", command]) == 1
    assert "not saved" in capfd.readouterr().err


def test_a_missing_command_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "memory://x"]) == 2
    assert "expected a command after --" in capfd.readouterr().err


@pytest.mark.slow
def test_training_goes_on_to_the_bit_from_object_storage(tmp_path: Path) -> None:
    """A language model whose machine is lost after a checkpoint ends as one that ran through."""
    store = write_corpus(tmp_path / "store").folder
    (tmp_path / "text").mkdir()
    text = TextTokenizer.train([SENTENCE] * 2, tmp_path / "text").save(tmp_path / "text")
    url = f"file://{tmp_path}/kept"

    def finish(folder: Path, command: str) -> int:
        """End a run's command, so that the backup saves what it left."""
        return main([str(folder), url, "--", sys.executable, "-c", command])

    lost = (tiny_run.train_until_killed, tmp_path / "lost", store, text, 15)
    assert forked.run(*lost) == -signal.SIGKILL
    assert finish(tmp_path / "lost", "import os; os.kill(os.getpid(), 9)") == 128 + signal.SIGKILL
    assert finish(tmp_path / "fresh", "") == 0
    tiny_run.train(tmp_path / "fresh", store, text)
    tiny_run.train(tmp_path / "whole", store, text)
    losses = [[line["loss"] for line in metrics_of(tmp_path / name)] for name in ("fresh", "whole")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 12


def test_transfer_moves_a_corpus_there_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, url = tmp_path / "corpus", f"file://{tmp_path}/remote"
    (corpus / "audio").mkdir(parents=True)
    (corpus / "audio" / "a.wav").write_bytes(b"RIFF")
    (corpus / "manifest.jsonl").write_text('{"audio": "audio/a.wav"}\n')
    assert transfer_main([str(corpus), url]) == 0
    assert transfer_main([url, str(tmp_path / "copy")]) == 0
    assert (tmp_path / "copy/audio/a.wav").read_bytes() == b"RIFF"
    assert "2 files moved" in capsys.readouterr().out
    (corpus / "manifest.jsonl").write_text('{"audio": "/elsewhere/a.wav"}\n')
    assert transfer_main([str(corpus), url]) == 2
    assert "expected recordings below the manifest's folder" in capsys.readouterr().err
    assert transfer_main([str(corpus), str(corpus)]) == 2


def test_without_groups_of_processes_the_command_itself_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where there is no killpg, and Ctrl-C reaches the command by itself."""
    monkeypatch.delattr(os, "killpg")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with _forwarded(process):
        os.kill(os.getpid(), signal.SIGINT)
        assert process.poll() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
