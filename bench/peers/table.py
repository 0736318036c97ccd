"""The table of ratios, as Markdown."""

from typing import Any

OURS, PEER = "Konsil", "HAPI"


def in_words(result: dict[str, Any]) -> str:
    """Return the machine's facts and the tables as Markdown."""
    servers = result["servers"]
    if set(servers) != {OURS, PEER}:
        return "\n".join(_rows({name: server["rows"] for name, server in servers.items()}))
    parts = [_facts(result), *_rows({name: server["rows"] for name, server in servers.items()}), ""]
    parts += [*_footprint(servers), "", *_agreement(servers)]
    return "\n".join(parts)


def _facts(result: dict[str, Any]) -> str:
    facts, options = result["facts"], result["options"]
    postgres = facts["postgresql"]
    text = (
        f"`{result['command']}`, {facts['started']}, commit {facts['commit']}: {options['patients']} patients, one run "
        f"of {options['seconds']:g} s each. {facts['cores']} cores "
        f"({facts['cpu']}), {facts['memory_gib']} GiB, shared by client, server and PostgreSQL "
        f"{postgres['server_version']} (fsync {postgres['fsync']}, shared_buffers {postgres['shared_buffers']}); "
        f"Python {facts['python']}; {facts['java']}, {facts['java_heap']}."
    )
    return f"{text} {result['conditions']}".strip() + "\n"


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"  # noqa: RUF001 - the dash of a table


def _rows(rows: dict[str, dict[str, Any]]) -> list[str]:
    names = list(rows)
    lines = [
        "| Workload | " + " | ".join(f"{name} /s | p50 ms | p99 ms | CPU ms" for name in names) + " | rate | CPU |",
        "|---|" + "--:|" * (4 * len(names) + 2),
    ]
    for workload in dict.fromkeys(workload for name in names for workload in rows[name]):
        found = [rows[name].get(workload) for name in names]
        figures = ("per_second", "p50_ms", "p99_ms", "server_cpu_ms")
        cells = [" | ".join(_number(row.get(key)) for key in figures) if row else "refused | | |" for row in found]
        lines.append(f"| {workload} | " + " | ".join(cells) + f" | {_ratios(found)} |")
    return lines


def _ratios(found: list[dict[str, Any] | None]) -> str:
    """Return our rate over the peer's, and the CPU time the peer spends on one unit over ours."""
    if len(found) != 2 or found[0] is None or found[1] is None:
        return " | "
    ours, peer = found
    cpu = peer["server_cpu_ms"] / ours["server_cpu_ms"] if ours.get("server_cpu_ms") else None
    return f"{ours['per_second'] / peer['per_second']:.1f} x | " + (f"{cpu:.1f} x" if cpu else "")


def _footprint(servers: dict[str, Any]) -> list[str]:
    ours, peer = servers[OURS]["footprint"], servers[PEER]["footprint"]
    names = {"cold_start_s": "cold start, s", "idle_rss_mib": "resident when idle, MiB",
             "rss_after_w3_mib": "resident after W3, MiB", "rss_at_end_mib": "resident at the end, MiB",
             "database_mib": "database after W3, MiB"}  # fmt: skip
    lines = ["| W7 footprint | Konsil | HAPI | HAPI : Konsil |", "|---|--:|--:|--:|"]
    return lines + [
        f"| {text} | {_number(ours[key])} | {_number(peer[key])} | {peer[key] / ours[key]:.1f} x |"
        for key, text in names.items()
    ]


def _agreement(servers: dict[str, Any]) -> list[str]:
    ours, peer = servers[OURS]["matches"], servers[PEER]["matches"]
    apart = [f"{name} ({ours[name]} against {peer[name]})" for name in ours if ours[name] != peer.get(name)]
    line = (
        f"Each search was first asked three times with the same values: {len(ours) - len(apart)} of {len(ours)} shapes"
    )
    line += " gave the same number of matches on the first page of both servers"
    return [line + (f"; not the same: {'; '.join(apart)}." if apart else ".")]
