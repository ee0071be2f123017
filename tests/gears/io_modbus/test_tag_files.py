"""Tags in files beside the Rack file: what is wrong in them is found by `fluxrig check`, at its own place."""

from pathlib import Path

import pytest

from fluxrig.catalog import installed
from fluxrig.errors import ConfigError
from fluxrig.rackfile import load

RACK = """\
rack: line-3
uns: acme/lyon
gears:
  press:
    kind: io_modbus
    endpoint: tcp://10.0.0.5
{press}
  keep: {{kind: stdout}}
wires:
  - press -> keep
"""


@pytest.fixture
def check(tmp_path):
    """Write a Rack file and files beside it, and give the gear's configuration or the faults."""

    def run(press, **files):
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        (tmp_path / "rack.yaml").write_text(RACK.format(press=press))
        try:
            return load(tmp_path / "rack.yaml", installed(), {}, secrets=False).gears["press"].config, []
        except ConfigError as error:
            return None, [str(fault).removeprefix(f"{tmp_path}/") for fault in error.faults]

    return run


def test_a_list_is_read_whatever_parts_its_cells(check):
    """Commas, semicolons and tabs; quotes, comments, empty lines and cells."""
    table = [
        ["Name", "Address", "type", "order", "scale", "unit", "comment", "every", "write", "allowed"],
        ["pressure", "40001", "float32", "CDAB", "", "bar", '"of the, main; cylinder"', "", "", ""],
        [" speed ", "holding/10", "", "", "0.1", "1/min", "", "50ms", "true", "1|2.5"],
        ["ready", "40012.3", "", "", "", "", '"says ""go"""', "", "", ""],
    ]
    for separator in ",;\t":
        lines = "\n# a comment\n\n".join(separator.join(row) for row in table)
        config, faults = check("    tag_list: tags.csv", tags_csv=lines)
        assert faults == []
        tags = config.units[0].tags
        assert list(tags) == ["pressure", "speed", "ready"]
        assert (str(config.units[0].decoded["ready"].at), tags["pressure"].unit) == ("holding/11.3", "bar")
        assert (tags["speed"].every, tags["speed"].allowed, tags["speed"].scale) == (0.05, [1, 2.5], 0.1)


def test_every_bad_line_is_told_with_line_and_column(check):
    """All at once, each at its cell, beside what is wrong in the Rack file itself."""
    lines = """\
name,at,type,order
a,holdin/0,uint16,
b,holding/1,unit16,
c,holding/70000,,
a,holding/3,,
,holding/4,,
d,,,
e,holding/5,float32,ABDC
f,holding/6,uint16,,surplus
g,"holding/7,,
h,holding/8,float32,
i,holding/9,,
j,holding/65535,uint32,
k,coil/3,uint16,
"""
    _, faults = check("    tag_list: tags.csv\n    every: 3", tags_csv=lines)
    assert [fault.partition(": ")[0] for fault in faults] == [
        "rack.yaml:8:12",
        "tags.csv:2:3",
        "tags.csv:3:13",
        "tags.csv:4:3",
        "tags.csv:5:1",
        "tags.csv:6:1",
        "tags.csv:7:1",
        "tags.csv:8:21",
        "tags.csv:9:21",
        "tags.csv:10:3",
        "tags.csv:12:1",
        "tags.csv:13:1",
        "tags.csv:14:1",
    ]
    for fault, mend in zip(
        faults[1:],
        [
            "did you mean holding",
            "did you mean 'uint16'",
            "beyond 65535",
            "at line 2 already",
            "has no name",
            "has no at",
            "did you mean 'BADC'",
            "names 4",
            "not closed",
            "overlaps 'h'",
            "would need register 65536",
            "is one bit",
        ],
        strict=True,
    ):
        assert mend in fault


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("", "tags.csv:0:0: the file is empty"),
        ("name,adress\n", "tags.csv:1:6: there is no column 'adress'; did you mean 'address'"),
        ("name,type\n", "tags.csv:1:1: the column 'at' is missing"),
        ("name,at,at\n", "tags.csv:1:9: the column 'at' is there twice"),
        ("name,at\n", "tags.csv:1:1: the file has columns, but no tags"),
    ],
)
def test_a_list_that_is_none_is_told(check, lines, fault):
    """The first line decides; what is wrong in it is told before anything else."""
    _, faults = check("    tag_list: tags.csv", tags_csv=lines)
    assert faults[0].startswith(fault)


def test_a_list_that_is_not_there_is_told_by_its_name(check):
    """Where it is named; the path counts from the Rack file."""
    _, faults = check("    tag_list: nowhere.csv")
    mend = "write its path relative to the Rack file"
    assert faults == [f"rack.yaml:7:15: 'tag_list': there is no file 'nowhere.csv'; {mend}"]


def test_a_profile_serves_many_devices_that_differ(check):
    """Settings and tags of the make; a device's own go before them, and the gear's behind."""
    profile = """\
address_base: 1
max_hole: 0
tags:
  pressure: {at: holding/1, type: float32}
  speed: {at: holding/11}
"""
    press = """\
    every: 200ms
    max_hole: 99
    devices:
      one: {unit: 1, profile: press.yaml}
      two: {unit: 2, profile: press.yaml, every: 1s, tags: {speed: {at: holding/12, scale: 0.1}}}"""
    config, faults = check(press, press_yaml=profile)
    assert faults == []
    one, two = config.units
    assert [(each.unit, each.settings.every, each.settings.max_hole) for each in (one, two)] == [
        (1, 0.2, 0),
        (2, 1.0, 0),
    ]
    assert [str(tag.at) for tag in one.decoded.values()] == ["holding/0", "holding/10"]
    assert str(two.decoded["speed"].at) == "holding/11"
    assert two.tags["speed"].scale == 0.1


def test_what_is_wrong_in_a_profile_is_told_there(check):
    """With its own line and column, each fault once however many devices use it."""
    profile = "address_bas: 1\ntags:\n  pressure: {at: holdin/1}\n  speed: {at: holding/1, type: uint61}\n"
    press = (
        "    devices:\n      one: {unit: 1, profile: press.yaml}\n      two: {unit: 2, profile: press.yaml}"
    )
    _, faults = check(press, press_yaml=profile)
    assert [fault.partition(": ")[0] for fault in faults] == [
        "press.yaml:1:1",
        "press.yaml:3:18",
        "press.yaml:4:32",
    ]
    assert "did you mean 'address_base'" in faults[0]


def test_faults_of_whole_devices_are_told_at_their_tags(check):
    """Overlaps, limits, forbidden ranges, units named twice: each at the line that is to be mended."""
    press = """\
    max_registers: 1
    forbidden: [holding/100-109]
    devices:
      one:
        unit: 1
        tags:
          a: {at: holding/0, type: float32}
          b: {at: holding/105}
      two:
        unit: 1
        tags: {a: {at: holding/0}}"""
    _, faults = check(press)
    assert [fault.partition(": ")[0] for fault in faults] == [
        "rack.yaml:13:11",
        "rack.yaml:14:11",
        "rack.yaml:15:7",
    ]
    assert "raise max_registers" in faults[0]
    assert "forbidden range holding/100-109" in faults[1]
    assert "is the device 'one'" in faults[2]


def test_tags_that_share_a_register_on_purpose_are_no_fault(check):
    """Bits, bytes, another view of the same place, and what says so."""
    press = """\
    tags:
      word: {at: holding/0}
      bit: {at: holding/0.3}
      high: {at: holding/0, type: uint8_high}
      signed: {at: holding/0, type: int16}
      both: {at: holding/0, type: uint32, overlap: true}"""
    assert check(press)[1] == []


def test_the_examples_are_right():
    """A gateway with two furnaces of one profile and a press with the list of its builder."""
    folder = Path(__file__).parents[3] / "gears" / "io_modbus" / "examples"
    config = load(folder / "gateway.yaml", installed(), {}).gears["gateway"].config
    assert {unit.name: len(unit.tags) for unit in config.units} == {"north": 5, "south": 5, "press": 5}
    assert str(config.units[0].decoded["temperature"].at) == "input/0"
    assert str(config.units[2].decoded["running"].at) == "coil/0"


def test_a_spreadsheet_of_a_machine_builder_is_understood(check, tmp_path):
    """Byte order marks, decimal commas, rows of separators, their words for columns, types and tables."""
    lines = """\
sep=;
Tag Name;Register Type;Address;Data Type;Word Order;Factor;Units;
Pressure;Holding Registers;16;REAL;cdab;0,5;bar;DB1.DBD0
;;;;;;;
Speed;input register;0x20;Int;;;1/min;

Ready;Coils;3;BOOL;;;;
Total;holding;40;LReal;ghefcdab;;;
"""
    for encoding in ("utf-8-sig", "utf-16", "utf-8"):
        (tmp_path / "list.csv").write_bytes(lines.replace("\n", "\r\n").encode(encoding))
        config, faults = check("    tag_list: list.csv")
        assert faults == []
        tags = config.units[0].decoded.values()
        assert [(tag.name, str(tag.at), tag.type, tag.order, tag.scale) for tag in tags] == [
            ("Pressure", "holding/16", "float32", "CDAB", 0.5),
            ("Speed", "input/32", "int16", "ABCD", None),
            ("Ready", "coil/3", "bool", "ABCD", None),
            ("Total", "holding/40", "float64", "GHEFCDAB", None),
        ]


def test_a_column_that_nobody_knows_hides_no_other_fault(check):
    """It is told with the lines' own faults, and how to have it passed over."""
    _, faults = check("    tag_list: t.csv", t_csv="name,at,PLC var\na,holding/70000,x\nb,holding/0,DB1\n")
    assert [fault.partition(": ")[0] for fault in faults] == ["t.csv:1:9", "t.csv:2:3"]
    assert "without a name it is passed over" in faults[0]


def test_a_comma_between_commas_is_no_decimal_comma(check):
    """Where commas part the cells, a number with one is two cells or a slip in quotes: never a guess."""
    _, [fault] = check("    tag_list: t.csv", t_csv='name,at,scale\na,holding/0,"0,5"\n')
    assert fault.startswith("t.csv:2:13: 'scale' must be a number")


def test_a_list_of_nothing_but_faults_is_told_in_part(check):
    """The first of them, and how many more there are."""
    lines = ["name,at,type", *(f"t{n},holding/{n},unit16" for n in range(1000))]
    _, faults = check("    tag_list: tags.csv", tags_csv="\n".join(lines))
    assert len(faults) == 201
    assert faults[-1].endswith(": 800 more faults are not shown; mend these first")
