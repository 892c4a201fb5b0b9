"""Stands in for stages/preflight.py: refuses where there is a file `refuse`."""

from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.process.signals import stop_signals


@stop_signals()
def main() -> int:
    if Path("refuse").exists():
        raise FaceoffError("this machine is refused, as the file `refuse` asks")
    codec.write(records.PREFLIGHT_PATH, records.Preflight(None, ()))
    return 0


if __name__ == "__main__":
    run_entry(main)
