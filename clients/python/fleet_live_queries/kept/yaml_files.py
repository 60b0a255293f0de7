"""YAML as it is kept here: read safely, with the line of everything, and written in one way."""

from pathlib import Path
from typing import Any

import yaml

from fleet_live_queries.errors import BadInputError
from fleet_live_queries.wording import counted

MOST_BYTES = 2**20
DEEPEST = 30  # levels; nothing here needs more
OTHER_ENDS = "\x85\u2028\u2029"  # of lines, which YAML would fold; within quotes they are spelt out


class FileError(BadInputError):
    """Something is wrong in a file; the sentence begins with its place, `path:line`."""

    def __init__(self, path: Path, line: int, sentence: str) -> None:
        super().__init__(f"{path}:{line}: {sentence}" if line else f"{path}: {sentence}")


class Lined(dict[str, Any]):
    """A mapping that knows in which line it begins, and each of its members."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}

    def line_of(self, name: str) -> int:
        """Give the line of a member; of one that is not there that of the mapping."""
        return self.lines.get(name, self.line)


def text_of(path: Path) -> str:
    """Read a file. Raise FileError."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise FileError(path, 0, f"it has {counted(size, 'byte')}, {MOST_BYTES} are read at most")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(path, 0, f"it is not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise FileError(path, 0, f"it cannot be read: {error.strerror}") from error


def documents(path: Path) -> list[Any]:
    """Read every document of a file: mappings are Lined. Raise FileError."""
    text = text_of(path)
    loader = yaml.SafeLoader(text)
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise FileError(path, _line(event), f"the alias *{event.anchor} is not taken: write out what it means")
        found = []
        while loader.check_node():
            found.append(_value(path, loader, loader.get_node(), 0))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise FileError(path, mark.line + 1 if mark else 0, f"this is no YAML: {problem}") from error
    except yaml.YAMLError as error:
        raise FileError(path, 0, f"this is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise FileError(path, 0, "it is nested too deeply") from error
    finally:
        loader.dispose()
    return [one for one in found if one is not None]


def _line(thing: Any) -> int:
    return int(thing.start_mark.line) + 1


def _value(path: Path, loader: Any, node: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise FileError(path, _line(node), f"it is nested deeper than {DEEPEST} levels")
    if isinstance(node, yaml.SequenceNode):
        return [_value(path, loader, inner, depth + 1) for inner in node.value]
    if not isinstance(node, yaml.MappingNode):
        try:
            return loader.construct_object(node)
        except (ValueError, OverflowError) as error:  # a date or a number that there is not
            raise FileError(path, _line(node), f"{node.value!r} is no value: {error}") from error
    mapping = Lined(_line(node))
    for key, inner in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None:
            raise FileError(path, _line(key), "a name is a list or a mapping: names are texts")
        if name in mapping:
            raise FileError(path, _line(key), f"{name} is there twice, in line {mapping.lines[name]} as well")
        mapping[name], mapping.lines[name] = _value(path, loader, inner, depth + 1), _line(key)
    return mapping


# --- writing ---------------------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Members in the order they are given, texts of several lines as such."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists below their names, as people do."""
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    if any(end in text for end in OTHER_ENDS):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(
    dict, _Dumper.represent_dict
)  # what was read knows its lines, and is written all the same


def dumped(members: dict[str, Any]) -> str:
    """Write a document; the same members give the same text, whatever wrote them."""
    text: str = yaml.dump(
        members, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=False
    )
    return text
