#!/usr/bin/env python3
"""kosoku's command line with one repair for groups 12 and 13.

Those cases were written for Python 2, where text was bytes. kosoku 0.1.0 hands them a message as bytes if it came
compressed, and as str if it came plain, which a server may decide for each message (RFC 7692 section 6); they then end
with ERROR ("Strings must be encoded before hashing"). Here they get bytes either way. What they judge stays the same:
kind, length and SHA-1 of what was echoed.
"""

from kosoku import _caseindex, _cli


def with_bytes(on_message):
    def repaired(case, message, binary):
        return on_message(case, message.encode("latin-1") if isinstance(message, str) else message, binary)

    return repaired


_caseindex.initialize_shims()
import case12_x_x  # noqa: E402  kosoku's shims make it importable

for case in case12_x_x.Case12_X_X + case12_x_x.Case13_X_X:
    case.onMessage = with_bytes(case.onMessage)

if __name__ == "__main__":
    _cli.main()
