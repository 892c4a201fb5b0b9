"""What torch was compiled for, read from its files: against what today's torch says of itself, and made-up files."""

import struct
from pathlib import Path

import pytest
import torch

from stages.workload import fat_binaries

PTX, BINARY = 1, 2


def fat_binary(*entries: tuple[int, int]) -> bytes:
    """One fat binary with an entry of 64 + 16 bytes for each pair of a kind and an architecture."""
    body = b"".join(
        struct.pack("<HHIQIIHHI", kind, 0x101, 64, 16, 0, 0, 0, 0, number).ljust(80, b"x") for kind, number in entries
    )
    return struct.pack("<IHHQ", fat_binaries.MAGIC, 1, 16, len(body)) + body


def library(path: Path, *contents: bytes, section: bytes = b".nv_fatbin") -> None:
    """A 64-bit ELF file with two sections, the names and this one."""
    names, content = b"\0.names\0" + section + b"\0", b"".join(contents)
    start = 64 + len(names)
    table = start + len(content)
    headers = [(1, 3, 0, 0, 64, len(names)), (8, 1, 0, 0, start, len(content))]
    head = b"\x7fELF\x02\x01\x01".ljust(40, b"\0") + struct.pack("<QIHHHHHH", table, 0, 64, 0, 0, 64, 2, 0)
    rows = b"".join(struct.pack("<IIQQQQ", *each).ljust(64, b"\0") for each in headers)
    path.write_bytes(head + names + content + rows)


@pytest.mark.skipif(torch.version.cuda is None, reason="a torch without CUDA")
def test_the_files_hold_what_todays_torch_says_of_itself() -> None:
    folder = Path(torch.__file__).parent / "lib"
    assert fat_binaries.architectures(folder) == tuple(torch.cuda.get_arch_list()) != ()


def test_what_most_sources_were_compiled_for_counts(tmp_path: Path) -> None:
    own = fat_binary((BINARY, 70), (PTX, 50), (BINARY, 35))
    linked_in = fat_binary((BINARY, 30))
    library(tmp_path / "liba.so", own, bytes(24), linked_in)  # zeros between them, for alignment
    library(tmp_path / "libb.so", linked_in, bytes(8), own, own)
    assert fat_binaries.architectures(tmp_path) == ("sm_35", "sm_70", "compute_50")


def test_files_that_hold_none(tmp_path: Path) -> None:
    library(tmp_path / "liba.so", fat_binary((BINARY, 70)), section=b".nv_fatbin_of_another_name")
    (tmp_path / "libb.so").write_bytes(b"")
    (tmp_path / "libc.so").write_bytes(b"INPUT(-lm)\n")
    assert fat_binaries.architectures(tmp_path) == ()
    assert fat_binaries.architectures(tmp_path / "missing") == ()


def test_a_torn_file_ends_the_search(tmp_path: Path) -> None:
    library(tmp_path / "liba.so", fat_binary((BINARY, 70)), fat_binary((BINARY, 75), (BINARY, 80))[:20])
    assert fat_binaries.architectures(tmp_path) == ("sm_70",)
