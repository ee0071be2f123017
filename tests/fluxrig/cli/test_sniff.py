"""`fluxrig sniff`: run as people and programs run it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

RECORDING = Path(__file__).parents[3] / "fluxrig" / "cli" / "demo" / "scada.pcap"
CODE = "import typer; from fluxrig.cli.sniff import sniff; app = typer.Typer(); app.command()(sniff); app()"
COMMAND = [sys.executable, "-c", CODE]


def sniff(*arguments, stdout=subprocess.PIPE):
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def lines():
    result = sniff(RECORDING, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_json(lines):
    """With --json each line is a message, with the fields that programs rely on."""
    first = next(one for one in lines if one["data"].get("read") and one["data"]["op"]["fc"] == 3)
    data = first["data"]
    assert first["schema"] == "ot.transaction/1"
    assert first["ts"] == data["response"]["ts"]
    assert data["target"].keys() == {"unit", "table", "address", "quantity"}
    assert len(data["read"]["values"]) == data["target"]["quantity"]
    assert data["response"].keys() == data["request"].keys() == {"ts", "frame", "length"}
    assert data["flow"]["client"].keys() == data["flow"]["server"].keys() == {"ip", "port"}
    assert data["latency_us"] == (data["response"]["ts"] - data["request"]["ts"]) // 1000
    assert lines[-1]["schema"] == "ot.capture/1"


def test_people(lines):
    """Without, there is a line for each exchange and a summary that counts them."""
    result = sniff(RECORDING)
    exchanges = sum(one["schema"] == "ot.transaction/1" for one in lines)
    assert sum(" > " in line for line in result.stdout.splitlines()) == exchanges
    assert "exchanges" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give capture files, or an interface"),
        ([RECORDING, "-i", "lo"], "give capture files, or an interface"),
        ([RECORDING, "--filter", "tcp prt 502"], "found 'prt'"),
    ],
)
def test_wrong_use(arguments, reason):
    """Wrong use is exit code 2 and a reason."""
    result = sniff(*arguments)
    assert result.returncode == 2
    assert reason in " ".join(result.stderr.replace("│", " ").split())


def test_reader_that_leaves():
    """A reader such as `head` may leave early, and nothing is complained about."""
    command = [*COMMAND, str(RECORDING), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), error) == (0, b"")


def test_kinds(lines):
    """Every kind of event that the recording gives is there, and `ref` leads from a value to its exchange."""
    assert {one["schema"] for one in lines} == {
        f"ot.{kind}/1" for kind in ("transaction", "value", "asset", "link", "capture")
    }
    exchanges = {one["id"] for one in lines if one["schema"] == "ot.transaction/1"}
    assert {one["ref"] for one in lines if one["schema"] == "ot.value/1"} <= exchanges


def test_csv(lines):
    """With --csv there is a header, then a row for each exchange, with all its values."""
    result = sniff(RECORDING, "--csv")
    assert (result.returncode, result.stderr) == (0, "")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    exchanges = [one["data"] for one in lines if one["schema"] == "ot.transaction/1"]
    assert len(rows) == len(exchanges)
    for row, data in zip(rows, exchanges, strict=True):
        assert int(row["fc"]) == data["op"]["fc"]
        assert row["status"] == data["status"]
        assert row["read"].split() == [str(int(value)) for value in data.get("read", {}).get("values", [])]
        assert row["address"] == str(data["target"]["address"])


def test_summary():
    """The summary has assets, links, functions and exceptions, with counts that add up."""
    text = sniff(RECORDING).stdout
    for title in ("Assets", "Links", "Functions", "Exceptions"):
        assert f"\n{title} " in text
    assert "127.0.0.1:5020" in text
    assert "illegal_data_address" in text
    assert "lost:" not in text


def test_losses(tmp_path):
    """What was lost is said in the summary."""
    path = tmp_path / "cut.pcap"
    path.write_bytes(RECORDING.read_bytes()[:-10])
    assert "capture_damaged" in sniff(path).stdout


def test_unknown_link_layer(tmp_path):
    """A capture whose frames can't be read is not passed off as one without Modbus."""
    path = tmp_path / "ppp.pcap"
    whole = RECORDING.read_bytes()
    path.write_bytes(whole[:20] + (9).to_bytes(4, "little") + whole[24:])
    result = sniff(path)
    frames = json.loads(sniff(path, "--json").stdout.splitlines()[-1])["data"]["link_unknown"]
    assert frames > 0
    assert f"lost: {frames:,} frames of a link layer that can't be read" in result.stdout


def test_several_files_add_up(tmp_path):
    """Several files are counted together."""
    text = sniff(RECORDING, RECORDING, "--csv").stdout
    assert len(text.splitlines()) == 1 + 2 * 818


def test_folder_and_learn(tmp_path):
    """A folder is read as one capture; with a short --learn, what comes later is new."""
    (tmp_path / "a.pcap").write_bytes(RECORDING.read_bytes())
    text = sniff(tmp_path, "--learn", "1ms").stdout
    assert "new_function" in text
    assert "new_writer" in text
