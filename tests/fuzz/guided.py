"""Fuzzes one target in this process: `python -m fuzz.guided TARGET FLAG...`, with libFuzzer's flags and folders.

What guides it is the coverage of our package, and of the targets: where a decoder is written in C, that of the reading with
which it is compared. It ends the process: 0 if there was nothing, something else with a finding.
"""

import sys

import atheris

from fuzz.targets import find

if __name__ == "__main__":
    program, name, *flags = sys.argv
    with atheris.instrument_imports(include=["smartflo_bridge", "fuzz"]):
        target = find(name)
    atheris.Setup([program, *flags], target.check)
    atheris.Fuzz()
