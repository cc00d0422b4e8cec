"""Lists the imports of a WebAssembly module; exit code 1 if there is one, or if there is no code to judge."""

import sys

CUSTOM_SECTION, IMPORT_SECTION, CODE_SECTION = 0, 2, 10
# The standard library alone makes a large module, and its lack of imports proves nothing of the crate: so many of
# the crate's own functions must be there by name.
CRATE = b"refpoint_protocol"
FUNCTIONS_MIN = 500


def leb128(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def name(data, at):
    length, at = leb128(data, at)
    return data[at : at + length].decode(), at + length


def limits(data, at):
    flags, at = leb128(data, at)
    for _ in range(2 if flags & 1 else 1):
        _, at = leb128(data, at)
    return at


def imports(section):
    count, at = leb128(section, 0)
    for _ in range(count):
        module, at = name(section, at)
        field, at = name(section, at)
        kind, at = section[at], at + 1
        yield f"{module}.{field}"
        if kind == 0:  # function: its type
            _, at = leb128(section, at)
        elif kind == 1:  # table: element type, limits
            at = limits(section, at + 1)
        elif kind == 2:  # memory: limits
            at = limits(section, at)
        elif kind == 3:  # global: type, mutability
            at += 2
        else:
            raise ValueError(f"import of unknown kind {kind}")


def main(path):
    data = open(path, "rb").read()
    if data[:8] != b"\0asm\1\0\0\0":
        raise ValueError(f"{path} is not a WebAssembly module")
    found, code, functions, at = [], 0, 0, 8
    while at < len(data):
        identifier, at = data[at], at + 1
        size, at = leb128(data, at)
        if identifier == IMPORT_SECTION:
            found += imports(data[at : at + size])
        elif identifier == CODE_SECTION:
            code += size
        elif identifier == CUSTOM_SECTION and name(data, at)[0] == "name":
            functions += data.count(CRATE, at, at + size)
        at += size
    for entry in found:
        print(f"{path}: imports {entry}", file=sys.stderr)
    print(f"{path}: {code} bytes of code, {functions} functions of protocol, {len(found)} imports")
    if functions < FUNCTIONS_MIN:
        print(f"{path}: too little of protocol to judge; was it linked whole?", file=sys.stderr)
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
