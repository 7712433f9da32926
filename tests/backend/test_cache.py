"""The folder of compiled code: private, refused where others can write it, and no trouble whatever lies in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etn_gpu.backend import cache
from etn_gpu.backend.cpu import jit
from etn_gpu.backend.cuda import cubins
from etn_gpu.backend.cuda.nvrtc import Compiled
from etn_gpu.errors import BackendError, CacheError

TEXT = "define void @nothing() {\n  ret void\n}\n"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


class Compiler:
    """As much of NVRTC as the cache sees."""

    version, options = (13, 0), ("-O3",)

    def compile(self, text: str, origin: str, architecture: int) -> Compiled:
        return Compiled(f"\x7fELF of {text}".encode(), "")


def object_code() -> bytes:
    return jit.object_code(TEXT)


def cubin() -> bytes:
    return cubins.compiled(Compiler(), "text", "a.cu", 90).read_bytes()  # type: ignore[arg-type]


@pytest.fixture(params=[object_code, cubin])
def code(request: pytest.FixtureRequest) -> Callable[[], bytes]:
    """Machine code of either kind, from the cache if it is there."""
    made: Callable[[], bytes] = request.param
    return made


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "new" / "folder"
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(path))
    return path


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077, 0o377])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_private_whatever_the_umask(code: Callable[[], bytes], umask: int, folder: Path) -> None:
    code()
    assert [mode(path) for path in (folder.parent, folder, only_file(folder))] == [0o700, 0o700, 0o600]


def test_folders_of_earlier_versions_are_used(code: Callable[[], bytes], folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    first, path = code(), only_file(folder)
    written = path.stat().st_ino
    assert code() == first
    assert only_file(folder).stat().st_ino == written


@pytest.mark.parametrize("permissions", [0o775, 0o757, 0o777, 0o1777])
def test_a_folder_that_others_can_write(code: Callable[[], bytes], folder: Path, permissions: int) -> None:
    code()
    folder.chmod(permissions)
    message = rf"{folder} holds machine code .* others can write it: its mode is 0?{permissions:o}\. Run `chmod go-w"
    with pytest.raises(CacheError, match=message):
        code()


def test_an_empty_folder_that_others_can_write(code: Callable[[], bytes], folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(CacheError, match="others can write it"):
        code()
    assert list(folder.iterdir()) == []


def test_a_folder_by_way_of_a_link(code: Callable[[], bytes], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = folder.parent.parent / "link"
    link.symlink_to(folder)
    folder.mkdir(parents=True)
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(link))
    first = code()
    assert code() == first
    folder.chmod(0o777)
    with pytest.raises(CacheError, match="others can write it"):
        code()


def test_a_folder_in_whose_place_everybody_can_put_another(code: Callable[[], bytes], folder: Path) -> None:
    code()
    folder.parent.chmod(0o777)
    with pytest.raises(CacheError, match=rf"everybody can put another .*: {folder.parent} has mode 0777.*chmod o-w"):
        code()
    folder.parent.chmod(0o1777)
    code()


@pytest.mark.parametrize("permissions", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write(code: Callable[[], bytes], folder: Path, permissions: int) -> None:
    code()
    path = only_file(folder)
    path.chmod(permissions)
    with pytest.raises(CacheError, match=rf"{path} holds machine code .* its mode is 0{permissions:o}\. .* remove it"):
        code()


@root_only
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_belongs_to_somebody_else(code: Callable[[], bytes], folder: Path, what: str) -> None:
    code()
    path = folder if what == "folder" else only_file(folder)
    os.chown(path, 12345, -1)
    with pytest.raises(CacheError, match=rf"{path} .* belongs to the user 12345, not to you \(0\)\. Remove"):
        code()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def link(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def forbid(path: Path) -> None:
    path.chmod(0)


@pytest.mark.parametrize("damage", [truncate, lambda path: path.write_bytes(b""), link, pipe, forbid])
def test_anything_but_a_whole_regular_file_is_made_again(
    code: Callable[[], bytes], folder: Path, damage: Callable[[Path], None]
) -> None:
    first = code()
    path = only_file(folder)
    damage(path)
    assert code() == first
    assert code() == first
    if damage is not forbid:
        assert path.is_file()
        assert not path.is_symlink()
    assert list(folder.iterdir()) == [path]


def test_a_folder_in_place_of_a_file(code: Callable[[], bytes], folder: Path) -> None:
    first = code()
    path = only_file(folder)
    path.unlink()
    path.mkdir()
    assert code() == first
    assert list(folder.iterdir()) == [path], "no temporary file is left behind"


def test_code_under_the_name_of_another() -> None:
    other = TEXT.replace("nothing", "different")
    first, second = jit.object_code(TEXT), jit.object_code(other)
    paths = list(cache.folder().iterdir())
    content = [path.read_bytes() for path in paths]
    for path, wrong in zip(paths, reversed(content), strict=True):
        path.write_bytes(wrong)
    assert (jit.object_code(TEXT), jit.object_code(other)) == (first, second)


def test_a_write_that_fails_leaves_nothing_behind(
    code: Callable[[], bytes], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **names: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert code() == code()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("where", ["/dev/null", "/dev/null/folder", "/proc/nowhere"])
def test_a_folder_that_cannot_be_made(code: Callable[[], bytes], where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, where)
    assert code() == code()


def test_a_user_without_a_home(code: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(cache.ENVIRONMENT_VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert code() == code()


def test_nowhere_to_write_code_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, "/dev/null/folder")
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(BackendError, match=r"temporary folder .*No space left.*: set ETN_GPU_CACHE to a folder"):
        cubin()
