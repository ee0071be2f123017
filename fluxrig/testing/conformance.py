"""The conformance kit: promises that every gear keeps, whatever it does.

async def test_conforms() -> None:
    await check_gear(lambda context: Deadband(Config(…), context), MANIFEST, inputs=[batch])
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from fluxrig.codec import decode, encode
from fluxrig.errors import Disconnected, EndOfStream, Fatal, NotReady
from fluxrig.gear import ERROR_PORT, Batch, Context, Gear, Manifest, Outputs
from fluxrig.message import FluxMsg
from fluxrig.testing.workbench import Workbench, context

GearMaker: TypeAlias = Callable[[Context], Gear[Any]]

LIMIT_S = 10.0


async def check_gear(make: GearMaker, manifest: Manifest, inputs: Sequence[Batch] = ()) -> None:
    """Hold a gear to the contract of `fluxrig.gear`; an AssertionError names the promise it breaks.

    `make` builds the gear against whatever peer the test has running. `inputs` are batches that it can take.
    """
    async with asyncio.timeout(LIMIT_S * 6):
        _check_manifest(make, manifest)
        await _check_construction_is_quiet(make)
        await _check_close_is_safe(make)
        if manifest.source:
            await _check_source(make, manifest)
        for port in manifest.inputs:
            await _check_process(make, manifest, inputs, port)
        await _check_no_task_is_left(make)


def _check_manifest(make: GearMaker, manifest: Manifest) -> None:
    gear = make(context())
    assert manifest.load() is type(gear), f"the manifest names {manifest.gear}, the maker made {type(gear)}"
    assert isinstance(gear.config, manifest.config), "the gear's config is not of the manifest's type"
    assert pickle.loads(pickle.dumps(gear.config)) == gear.config, "the config can't go to a worker process"  # noqa: S301
    assert manifest.source == (type(gear).run is not Gear.run), "`source` must say whether there is a `run`"
    assert bool(manifest.inputs) == (type(gear).process is not Gear.process), (
        "`inputs` must say whether there is a `process`"
    )
    assert ERROR_PORT not in manifest.outputs, "every gear has `error`; the manifest doesn't name it"


async def _check_construction_is_quiet(make: GearMaker) -> None:
    before = asyncio.all_tasks()
    make(context())
    assert asyncio.all_tasks() == before, "__init__ starts a task; that belongs in open()"


async def _check_close_is_safe(make: GearMaker) -> None:
    gear = make(context())
    await _soon(gear.close(), "close() before open()")
    await _open(gear)
    await _soon(gear.close(), "close()")
    await _soon(gear.close(), "a second close()")


async def _check_source(make: GearMaker, manifest: Manifest) -> None:
    workbench = Workbench()
    gear = make(context())
    await _open(gear)
    task = asyncio.create_task(gear.run(workbench.emit))
    await workbench.first_or_end(task, LIMIT_S)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert not isinstance(result, Exception) or isinstance(result, NotReady | Disconnected | EndOfStream), (
        f"run() raised {result!r}"
    )
    await _soon(gear.close(), "close() after run()")
    for port, messages in workbench.emitted.items():
        assert port in (*manifest.outputs, ERROR_PORT), f"run() emits on {port!r}, not in the manifest"
        _check_messages(messages)


async def _check_process(make: GearMaker, manifest: Manifest, inputs: Sequence[Batch], port: str) -> None:
    assert inputs, "a gear with inputs is checked with at least one batch"
    gear = make(context())
    await _open(gear)
    for batch in inputs:
        before = [encode(message) for message in batch]
        outputs = await gear.process(batch, port)
        assert isinstance(outputs, Outputs), "process() gives Outputs"
        assert [encode(message) for message in batch] == before, "process() changed a message it was given"
        for name, messages in outputs.ports.items():
            assert not messages or name in (*manifest.outputs, ERROR_PORT), (
                f"process() emits on {name!r}, not in the manifest"
            )
            _check_messages(messages)
        assert all(reason for _, reason in outputs.rejected), "a rejection says why"
    await _soon(gear.close(), "close() after process()")


async def _check_no_task_is_left(make: GearMaker) -> None:
    before = asyncio.all_tasks()
    gear = make(context())
    await _open(gear)
    await gear.close()
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not left, f"close() leaves tasks running: {left}"


def _check_messages(messages: Sequence[FluxMsg]) -> None:
    for message in messages:
        assert decode(encode(message)).id == message.id, "what a gear emits has a deterministic encoding"
        assert len(message.id) == 16, "an id has 16 bytes"


async def _open(gear: Gear[Any]) -> None:
    for _ in range(3):
        try:
            await _soon(gear.open(), "open()")
        except NotReady:
            continue
        except Fatal as error:
            raise AssertionError(f"open() gives up: {error}") from error
        return


async def _soon(awaitable: Any, what: str) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            await awaitable
    except TimeoutError:
        raise AssertionError(f"{what} does not end within {LIMIT_S:g} s") from None
