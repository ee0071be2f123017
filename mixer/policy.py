"""What is kept of the audit and for how long: `policy.yaml` in the data folder, or another by `--policy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fluxrig.duration import Seconds
from fluxrig.errors import AuditError
from mixer.audit.compact import TARGET_MIB
from mixer.audit.retention import Rule
from mixer.audit.tables import TABLES

NAME: Final = "policy.yaml"
_DAY_S: Final = 86_400
_GIB: Final = 1 << 30


class Compaction(BaseModel):
    """When small files are merged."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    every: Seconds = 600.0
    """How often to look for them."""
    least: Annotated[int, Field(ge=2)] = 8
    """How many it takes in a row, so that files are not written anew for each small one."""
    target_mib: Annotated[int, Field(ge=1, le=1024)] = TARGET_MIB
    """How large merged files may become, in MiB."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """How much of one core it may take."""


class Keep(BaseModel):
    """How long and how much is kept of some tables; what is neither stays for good."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    table: str = ""
    """Empty: of each table."""
    project: str = ""
    """Empty: of each project."""
    days: Annotated[float, Field(ge=1)] | None = None
    """Partitions that ended longer ago go."""
    gib: Annotated[float, Field(gt=0)] | None = None
    """The oldest days go until a table has no more than so many GiB."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.days is None and self.gib is None:
            raise ValueError("say what to keep: days, gib, or both")
        if self.table and self.table not in TABLES:
            raise ValueError(f"there is no table {self.table!r}; choose one of {', '.join(TABLES)}")
        return self

    @property
    def rule(self) -> Rule:
        age_s = None if self.days is None else self.days * _DAY_S
        size = None if self.gib is None else int(self.gib * _GIB)
        return Rule(self.table, self.project, age_s, size)

    @property
    def reason(self) -> str:
        """What a tombstone says."""
        age = None if self.days is None else f"older than {self.days:g} days"
        size = None if self.gib is None else f"more than {self.gib:g} GiB"
        return "policy: " + ", ".join(filter(None, (age, size)))


class Policy(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    compact: Compaction | None = Compaction()
    """null: only when an operator asks for it."""
    keep: tuple[Keep, ...] = ()
    """Each rule stands for itself: what any of them takes away goes."""

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a file. Raises AuditError that says where it is wrong."""
        try:
            found = yaml.safe_load(path.read_text("utf-8"))
            return cls.model_validate({} if found is None else found)
        except OSError as error:
            raise AuditError(f"{path} can't be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise AuditError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise AuditError(f"{path}: {where}: {first['msg']}") from None
