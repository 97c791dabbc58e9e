"""What schemathesis does not find out by itself: which streams there are, and what overrides look like.

`tests/lab/api` has two streams. `main` is only looked at, so that it can be judged; whatever changes something is about
`other`, whose pictures are kept small, since the machine is to be asked much and not to encode much.
"""

import re
import zlib

import schemathesis


@schemathesis.serializer("application/toml")
def toml(_context, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")


@schemathesis.hook
def before_call(_context, case, _arguments):
    chance = zlib.crc32(repr((case.path_parameters, case.body, case.query)).encode(errors="replace"))
    changes = case.method not in ("GET", "HEAD")
    names = case.path_parameters or {}
    if "id" in names and (changes or chance % 4):
        if re.fullmatch(r"[a-z0-9_-]{1,32}", str(names["id"])) or chance % 2:
            names["id"] = "other" if changes or chance % 8 < 4 else "main"
    if "action" in names and chance % 3:
        names["action"] = ("start", "stop", "restart", "keyframe")[chance % 4]
    if case.operation.path.endswith("/rate") and chance % 2:
        case.query = {**(case.query or {}), "format": ("json", "series", "recording")[chance % 3]}
    if case.media_type == "application/toml" and chance % 3:
        case.body = overrides(chance)
    elif isinstance(case.body, dict):
        bound(case.body)


def overrides(chance):
    """Some that are good, some of an unknown key, some of a value that is none."""
    lines = [
        f"max_kbps = {400 + chance % 2000}",
        f"min_kbps = {chance % 300}",
        "adaptive = true",
        f"ladder = \"{('off', 'framerate', 'both')[chance % 3]}\"",
        f"max_kpbs = {chance % 1000}",
    ]
    section = ("rate", "rate", "video", "audio")[chance % 4]
    first = chance % len(lines)
    return f"[streams.other.{section}]\n" + "\n".join(sorted(set(lines[first : first + 1 + chance % 2]))) + "\n"


def bound(settings):
    """Sizes that would keep the machine from everything else."""
    for section in (settings, settings.get("video")):
        if isinstance(section, dict):
            for key, most in (("width", 320), ("height", 180), ("framerate", 30)):
                value = section.get(key)
                if isinstance(value, (int, float)) and not isinstance(value, bool) and value > most:
                    section[key] = most
