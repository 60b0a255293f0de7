"""What processes that compute say, as it is read."""

from pathlib import Path

from campaigns.analysis import processes

MANY = 2**27  # characters: more than any answer has


def test_a_line_as_long_as_answers_may_be_is_read_within_the_time_of_a_question(tmp_path: Path) -> None:
    script = tmp_path / "long.py"
    script.write_text(f"import sys; sys.stdout.write('\"' + 'x' * {MANY} + '\"\\n[1]\\n')")

    with processes.started(str(script), 20) as process:
        lines = len(process.line()), process.line(), process.line()

    assert lines == (MANY, [1], None)
