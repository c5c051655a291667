"""Global names that a code object may read before it has bound them: a data-flow analysis of bytecode.

Bytecode, not syntax, because the compiler has settled every question of scope by then, and branches, loops,
``with`` and ``try`` are plain jumps.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType

_LOADS = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_NAME", "DELETE_GLOBAL"})
_DELETES = frozenset({"DELETE_NAME", "DELETE_GLOBAL"})
_STORES = frozenset({"STORE_NAME", "STORE_GLOBAL"})
_ENDS = frozenset(
    {
        "RETURN_VALUE",
        "RETURN_CONST",
        "RAISE_VARARGS",
        "RERAISE",
        "JUMP_FORWARD",
        "JUMP_BACKWARD",
        "JUMP_BACKWARD_NO_INTERRUPT",
        "JUMP_ABSOLUTE",
        "INTERPRETER_EXIT",
    }
)
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_CO_OPTIMIZED = 1

Names = frozenset[str]
_NONE: Names = frozenset()


def unbound_reads(code: CodeType, bound: Names = _NONE) -> dict[str, int]:
    """Return the global names that `code`, run once from its top, may read before it binds them.

    Parameters
    ----------
    code : code object
        Of a module, of a class body, or of a function all of whose variables are global.
    bound : frozenset of str
        Names that are bound before it starts.

    Returns
    -------
    dict of str to int
        Name to the first line that reads it, in the order of the code. What functions inside `code` read
        counts as read where they are defined.
    """
    return _flow(code, bound, None)


def global_reads(code: CodeType) -> dict[str, int]:
    """Return the global names that `code` and all code inside it reads, in any order; name to first line.

    Unlike the extraction of cloudpickle 3.1, this sees the bodies of classes.
    """
    found: dict[str, int] = {}
    for instruction in _instructions(code):
        if instruction.opname in _LOADS:
            found.setdefault(instruction.argval, _line(instruction, code))
    for inner in inner_code(code):
        reads = global_reads(inner) if inner.co_flags & _CO_OPTIMIZED else _flow(inner, _NONE, _NONE)
        for name, line in reads.items():
            found.setdefault(name, line)
    return found


def stores(code: CodeType) -> Names:
    """Return the global names that `code` binds or deletes, functions and classes in it included.

    Parameters
    ----------
    code : code object
        Of a module, or of a function all of whose variables are global.
    """
    return frozenset(_stores(code, {"STORE_NAME", "DELETE_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"}))


def _stores(code: CodeType, kinds: set[str]) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in kinds:
            yield instruction.argval
    for inner in inner_code(code):
        yield from _stores(inner, {"STORE_GLOBAL", "DELETE_GLOBAL"})


def inner_code(code: CodeType) -> Iterator[CodeType]:
    """Yield the code objects of functions and classes right inside `code`."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant


def _flow(code: CodeType, bound: Names, outer: Names | None) -> dict[str, int]:
    """`unbound_reads`, for a class body if `outer` (what functions in it may rely on) is given."""
    instructions = _instructions(code)
    at = {instruction.offset: index for index, instruction in enumerate(instructions)}
    handlers = _handlers(code, at, len(instructions))
    states: list[Names | None] = [None] * len(instructions)
    states[0] = bound
    pending = [0]

    def reach(index: int, state: Names) -> None:
        known = states[index]
        if known is not state:
            met = state if known is None else known & state
            if met != known:
                states[index] = met
                pending.append(index)

    while pending:
        index = pending.pop()
        instruction, state = instructions[index], states[index]
        assert state is not None
        # A store does not fail, so the handler of `with ... as name` finds the name bound.
        if instruction.opname in _STORES:
            state = state if instruction.argval in state else state | {instruction.argval}
        elif instruction.opname in _DELETES:
            state = state - {instruction.argval}
        for target in handlers[index]:
            reach(target, state)
        if instruction.opcode in _JUMPS:
            reach(at[instruction.argval], state)
        if instruction.opname not in _ENDS and index + 1 < len(instructions):
            reach(index + 1, state)

    found: dict[str, int] = {}
    for instruction, reached in zip(instructions, states, strict=True):
        if reached is None:
            continue
        reads: dict[str, int] = {}
        if instruction.opname in _LOADS:
            reads = {instruction.argval: _line(instruction, code)}
            known = reached
        elif isinstance(instruction.argval, CodeType):
            inner, known = instruction.argval, reached if outer is None else outer
            if inner.co_flags & _CO_OPTIMIZED:
                reads = global_reads(inner)
            else:
                reads, known = _flow(inner, known, known), _NONE
        for name, line in reads.items():
            if name not in known:
                found.setdefault(name, line)
    return found


def _instructions(code: CodeType) -> list[dis.Instruction]:
    return list(dis.get_instructions(code))


def _handlers(code: CodeType, at: dict[int, int], count: int) -> list[list[int]]:
    """Return, for each instruction, the handlers that an exception in it may reach."""
    found: list[list[int]] = [[] for _ in range(count)]
    for entry in dis.Bytecode(code).exception_entries:  # type: ignore[attr-defined]
        target = at[entry.target]
        for offset in range(entry.start, entry.end, 2):
            if offset in at:
                found[at[offset]].append(target)
    return found


def _line(instruction: dis.Instruction, code: CodeType) -> int:
    positions = instruction.positions
    return (positions.lineno if positions is not None else None) or code.co_firstlineno
