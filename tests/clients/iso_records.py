"""The ISO databases that pycountry carries, as records: real names in many scripts."""

from typing import Any

import pycountry

Record = dict[str, Any]


def _present(**fields: Any) -> Record:
    """Only what the database knows: a missing field is missing, not null."""
    return {name: value for name, value in fields.items() if value is not None}


def _country(entry: Any) -> Record:
    names = [entry.name, getattr(entry, "common_name", None), getattr(entry, "official_name", None)]
    return _present(
        id=entry.alpha_2,
        name=entry.name,
        common_name=getattr(entry, "common_name", None),
        names=[name for name in names if name],
        flag=entry.flag,
        code={"alpha_3": entry.alpha_3, "numeric": int(entry.numeric)},
    )


def _subdivision(entry: Any) -> Record:
    return _present(
        id=entry.code,
        name=entry.name,
        type=entry.type,
        country=entry.country_code,
        parent=entry.parent_code,
    )


def _language(entry: Any) -> Record:
    return _present(
        id=entry.alpha_3,
        name=entry.name,
        scope=entry.scope,
        type=entry.type,
        alpha_2=getattr(entry, "alpha_2", None),
    )


def _by_id(records: list[Record]) -> dict[str, Record]:
    return {record["id"]: record for record in records}


def load_iso_records() -> dict[str, dict[str, Record]]:
    """{collection: {id: record}} of about 250 countries, 5,000 subdivisions, 8,000 languages."""
    return {
        "countries": _by_id([_country(entry) for entry in pycountry.countries]),
        "subdivisions": _by_id([_subdivision(entry) for entry in pycountry.subdivisions]),
        "languages": _by_id([_language(entry) for entry in pycountry.languages]),
    }
