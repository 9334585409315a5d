"""Where option values come from: command line > RSOV_* environment > config file > built-in default.

All sources hold texts; the same converters check them, and an error names the source (P26, P27).
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsov.commands import values as v
from rsov.commands.app import COMMANDS
from rsov.errors import UsageError
from rsov.jobs.options import OptionError
from rsov.term import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rsov.commands.table import Option

PROJECT_FILE = "rsov.toml"
MAX_CONFIG_BYTES = 1 << 20
"""A config file is read whole; a megabyte of options is a mistake (P27)."""
NOT_IN_CONFIG = {"output", "inputs_file", "dry_run", "overwrite", "log_file"}
"""What belongs to one call: a forgotten file must not overwrite or redirect anything."""
NOT_IN_PROJECT = {"allow_vrt", "isolate"}
"""A folder from a stranger may hold an rsov.toml: it cannot lower the guards."""


@dataclass
class Settings:
    """Converted values by option name, and where each was set."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Complete errors about an option with the variable or config line that set it."""
        try:
            yield
        except OptionError as error:
            error.where = error.where or self.origins.get(error.option, "")
            raise


def settle(
    command: str,
    options: Iterable[Option],
    given: Mapping[str, Any],
    *,
    config: Path | None = None,
    use_config: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Convert every option that is set anywhere.

    Raises:
        UsageError: a wrong value (naming its source), an unknown key, an unreadable config file.
    """
    table = {option.name: option for option in options}
    settings = Settings()
    texts: dict[str, Any] = {}
    if use_config:
        file = config or find_project_file(Path.cwd())
        if file is not None:
            for name, (value, line) in read_config(file, command, table, trusted=config is not None).items():
                texts[name] = value
                settings.origins[name] = f"{file}:{line} [{command}]"
    for name in table:
        for variable in (f"RSOV_{command.upper()}_{name.upper()}", f"RSOV_{name.upper()}"):
            if environ.get(variable):
                texts[name] = environ[variable]
                settings.origins[name] = f"{variable} in the environment"
                break
    for name, value in given.items():
        if value not in (None, [], (), 0) or value is False:
            texts[name] = value
            settings.origins.pop(name, None)
    with settings.blamed():
        for name, value in texts.items():
            settings.values[name] = _convert(table[name], value)
    return settings


def _convert(option: Option, value: Any) -> Any:
    if option.convert is None:
        if option.name == "verbose":
            return value if isinstance(value, int) else v.integer(option.name, value)
        return value if isinstance(value, bool) else v.switch(option.name, _text(option, value))
    if isinstance(value, (list, tuple)):
        if len(value) > 1 and not option.repeat:
            value = [_text(option, item) for item in value]
        value = ",".join(_text(option, item) for item in value)
    return option.convert(option.name, _text(option, value))


def _text(option: Option, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionError(option.name, f"must not be {type(value).__name__} {value!r}")
    return str(value)


def find_project_file(folder: Path) -> Path | None:
    """The first ``rsov.toml`` upwards from ``folder``; a ``.git`` or the home folder ends the search."""
    for parent in (folder, *folder.parents):
        candidate = parent / PROJECT_FILE
        if candidate.is_file():
            return candidate
        if (parent / ".git").exists() or parent == Path.home():
            return None
    return None


def read_config(
    file: Path, command: str, table: Mapping[str, Option], *, trusted: bool
) -> dict[str, tuple[Any, int]]:
    """Values and line numbers of ``[command]`` in a TOML file; tables of other commands are theirs."""
    text = _read_text(file)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets too
        place = re.search(r"at line (\d+)", str(error))
        where = f"{file}:{place[1]}" if place else str(file)
        raise UsageError(
            "E-config-syntax",
            f"{file} is not valid TOML",
            where=where,
            why=str(error),
            fix=f'under [{command}] write lines such as prompts = "forest,road"',
        ) from error
    section = document.get(command, {})
    if not isinstance(section, dict):
        raise UsageError("E-config-key", f"{command} must be a table, [{command}]", where=str(file))
    for name in document:
        if name not in COMMANDS:
            raise _unknown(name, file, _line(text, name, section=""), "", list(COMMANDS))
    found: dict[str, tuple[Any, int]] = {}
    for key, value in section.items():
        line = _line(text, key, command)
        name = key.replace("-", "_")
        if name not in table or name in NOT_IN_CONFIG:
            raise _unknown(key, file, line, command, [n for n in table if n not in NOT_IN_CONFIG])
        if name in NOT_IN_PROJECT and not trusted:
            raise UsageError(
                "E-config-security",
                f"{key} cannot be set by a project file",
                where=f"{file}:{line} [{command}]",
                fix=f"--{name.replace('_', '-')} on the command line, or --config {file}",
            )
        found[name] = (value, line)
    return found


def _read_text(file: Path) -> str:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a device or a pipe may never end
            raise UsageError("E-config-read", f"{file} is no file", where="--config")
        if found.st_size > MAX_CONFIG_BYTES:
            raise UsageError(
                "E-config-size", f"{file} is larger than {size_text(MAX_CONFIG_BYTES)}: not a config file"
            )
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            "E-config-read", f"{file} cannot be read", where="--config", why=error.strerror or ""
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            "E-config-syntax", f"{file} is not UTF-8 text", where=f"byte {error.start}"
        ) from error


def _unknown(key: str, file: Path, line: int, section: str, known: list[str]) -> UsageError:
    near = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.6)
    where = f"{file}:{line}" + (f" [{section}]" if section else "")
    fix = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}" if len(known) < 5 else ""
    return UsageError("E-config-key", f'unknown key "{key}"', where=where, fix=fix)


def _line(text: str, key: str, section: str) -> int:
    """Line of a key (or of a section's head); tomllib does not say."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\s*\[\s*\"?([^\]\"]+?)\"?\s*\]", line)
        if head:
            current = head.group(1)
            if not section and current.split(".")[0] == key:
                return number
        elif current == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return 1
